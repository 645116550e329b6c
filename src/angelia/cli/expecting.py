"""expect: what a person expects of sources, and whether they spoke."""

from typing import Any

import click

from angelia.cli.reach import Reach, part

_WORDS = ("every", "cron", "zone", "grace", "source", "type", "object", "severity")
_TERMS = ("title", *_WORDS, "to")


def _path(login: str, *rest: object) -> str:
    return "/".join([f"/api/v1/people/{part(login)}/expectations", *map(str, rest)])


def _options(command: Any) -> Any:
    """The terms, as options; what is not given is None."""
    for option in reversed(
        (
            click.option("--every", default=None, help="How often, as 10m, 24h or 7d."),
            click.option("--cron", default=None, help="Or when, as '30 3 * * *' or @daily."),
            click.option("--zone", default=None, help="Time zone of --cron; else hers."),
            click.option("--grace", default=None, help="How late it may be, as 1h."),
            click.option("--source", default=None, help="Messages of this source are signs, too."),
            click.option("--type", default=None, help="Messages of this type, or below it."),
            click.option("--object", default=None, help="Messages about this object."),
            click.option("--to", multiple=True, help="Who is told beside her: a login, or group:<name>; --to '' for nobody."),
            click.option("--severity", default=None, help="Of what is told: low, normal, high or urgent."),
        )
    ):
        command = option(command)
    return command


def _said(given: dict[str, Any]) -> dict[str, Any]:
    said = {name: value for name, value in given.items() if name in _TERMS and value is not None}
    return {name: [one for one in value if one] if name == "to" else value for name, value in said.items() if value != ()}


@click.group()
def expect() -> None:
    """What a person expects of sources, and whether they spoke."""


@expect.command("add")
@click.argument("login")
@click.argument("title")
@_options
@click.pass_obj
def add(reach: Reach, /, login: str, title: str, **given: Any) -> None:
    """LOGIN expects TITLE to speak; its address for pings is shown this once."""
    reach.show(reach.call("POST", _path(login), json={"title": title} | _said(given)))


@expect.command("change")
@click.argument("login")
@click.argument("number", type=int)
@click.option("--title", default=None)
@_options
@click.pass_obj
def change(reach: Reach, /, login: str, number: int, **given: Any) -> None:
    """Other terms for one; what is not named stays."""
    known = reach.call("GET", _path(login, number))
    said = _said(given)
    for one, other in (("every", "cron"), ("cron", "every")):
        if one in said:
            said.setdefault(other, "")
    reach.show(reach.call("PUT", _path(login, number), json={name: known[name] for name in _TERMS} | said))


@expect.command("list")
@click.argument("login", default="")
@click.pass_obj
def list_all(reach: Reach, login: str) -> None:
    """LOGIN's; without one everybody's."""
    if login:
        reach.show(reach.call("GET", _path(login)), "id", "title", "state", "seen_at", "due_at")
        return
    items: list[Any] = []
    after: int | None = 0
    while after is not None:
        found = reach.call("GET", "/api/v1/expectations", params={"after": after, "limit": 1_000})
        items += found["items"]
        after = found["next"]
    reach.show({"items": items}, "login", "id", "title", "state", "seen_at", "due_at")


@expect.command("show")
@click.argument("login")
@click.argument("number", type=int)
@click.pass_obj
def show(reach: Reach, login: str, number: int) -> None:
    """One: what is expected, where it stands, when it is due."""
    reach.show(reach.call("GET", _path(login, number)))


@expect.command("history")
@click.argument("login")
@click.argument("number", type=int)
@click.pass_obj
def history(reach: Reach, login: str, number: int) -> None:
    """What happened, newest first."""
    reach.show(reach.call("GET", _path(login, number, "history")), "at", "kind", "after", "exit_code", "took", "text")


@expect.command("pause")
@click.argument("login")
@click.argument("number", type=int)
@click.pass_obj
def pause(reach: Reach, login: str, number: int) -> None:
    """Nothing is told of it, until it is resumed."""
    reach.show(reach.call("POST", _path(login, number, "pause")))


@expect.command("resume")
@click.argument("login")
@click.argument("number", type=int)
@click.pass_obj
def resume(reach: Reach, login: str, number: int) -> None:
    """It begins anew, counted from now."""
    reach.show(reach.call("POST", _path(login, number, "resume")))


@expect.command("address")
@click.argument("login")
@click.argument("number", type=int)
@click.option("--revoke", is_flag=True, help="None at all: then only messages are signs.")
@click.pass_obj
def address(reach: Reach, login: str, number: int, *, revoke: bool) -> None:
    """Another address for pings, shown this once; the old one is worth nothing from now on."""
    answer = reach.call("DELETE" if revoke else "POST", _path(login, number, "address"))
    if revoke:
        click.echo("revoked")
    else:
        reach.show(answer)


@expect.command("remove")
@click.argument("login")
@click.argument("number", type=int)
@click.pass_obj
def remove(reach: Reach, login: str, number: int) -> None:
    """Expect it no more."""
    reach.call("DELETE", _path(login, number))
    click.echo("removed")


commands = {"expect": expect}
