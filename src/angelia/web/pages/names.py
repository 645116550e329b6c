"""What the ways by which people are told are called on pages."""

from collections.abc import Callable, Iterable, Mapping

from angelia.agent import Agent, title_of

Titles = tuple[tuple[str, str], ...]


def titles_of(agents: Mapping[str, Agent]) -> Titles:
    """Name and title of each agent, as a key for what is kept by them."""
    return tuple((name, title_of(name, agent)) for name, agent in agents.items())


def naming(_: Callable[[str], str], titles: Iterable[tuple[str, str]]) -> Callable[[str], str]:
    """A function that names an agent, or a target such as `mail:alice@example.org`, in the language of `_`."""
    known = dict(titles) | {"web": _("Inbox"), "mail": _("Mail"), "feed": _("Feeds")}

    def name(target: str) -> str:
        agent, _sep, address = target.partition(":")
        title = known.get(agent, agent)
        return f"{title} {address}" if address else title

    return name
