"""A configuration -> a watcher that is ready to run: the only place that knows all sinks."""

from collections.abc import Iterator
from pathlib import Path

from angelia.watch.direct_mail import direct_mail
from angelia.watch.direct_telegram import direct_telegram
from angelia.watch.outbox import DirectSink, Outbox, Send
from angelia.watch.settings import WatcherSettings
from angelia.watch.sinks import HubSink, Sink
from angelia.watch.watcher import Watcher
from angelia.watch.watching import files_of


def opened(settings: WatcherSettings) -> Watcher:
    """With the hub where there is one, else with the channels of the bot's own configuration. BadSettings where a table is wrong."""
    return Watcher(settings, _sink(settings))


def described(settings: WatcherSettings) -> Iterator[str]:
    """What would be done, in lines for a person; nothing is opened or written. BadSettings where a table is wrong."""
    ways = {"the hub": settings.hub.url} if settings.hub.url else dict.fromkeys(_sends(settings), "")
    yield "tells " + " and ".join(f"{name} {where}".strip() for name, where in ways.items())
    for watch in settings.watches:
        found = len(files_of(watch.paths))
        there = "no such file is there now" if not found else "1 file is there now" if found == 1 else f"{found} files are there now"
        yield f"{watch.name} follows {', '.join(ascii(path)[1:-1] for path in watch.paths)}: {there}"


def _sink(settings: WatcherSettings) -> Sink:
    folder: Path = settings.state / "spool"
    if settings.hub.url:
        return HubSink(settings.hub, folder)
    return DirectSink([Outbox(name, folder / name, send) for name, send in _sends(settings).items()])


def _sends(settings: WatcherSettings) -> dict[str, Send]:
    sends: dict[str, Send] = {}
    if "mail" in settings.direct:
        sends["mail"] = direct_mail(settings.direct["mail"]).send
    if "telegram" in settings.direct:
        sends["telegram"] = direct_telegram(settings.direct["telegram"]).send
    return sends
