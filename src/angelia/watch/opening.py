"""A configuration -> a watcher that is ready to run: the only place that knows all sinks."""

from pathlib import Path

from angelia.watch.direct_mail import direct_mail
from angelia.watch.direct_telegram import direct_telegram
from angelia.watch.outbox import DirectSink, Outbox, Send
from angelia.watch.settings import WatcherSettings
from angelia.watch.sinks import HubSink, Sink
from angelia.watch.watcher import Watcher


def opened(settings: WatcherSettings) -> Watcher:
    """With the hub where there is one, else with the channels of the bot's own configuration. BadSettings where a table is wrong."""
    return Watcher(settings, _sink(settings))


def _sink(settings: WatcherSettings) -> Sink:
    folder: Path = settings.state / "spool"
    if settings.hub.url:
        return HubSink(settings.hub, folder)
    sends: dict[str, Send] = {}
    if "mail" in settings.direct:
        sends["mail"] = direct_mail(settings.direct["mail"]).send
    if "telegram" in settings.direct:
        sends["telegram"] = direct_telegram(settings.direct["telegram"]).send
    return DirectSink([Outbox(name, folder / name, send) for name, send in sends.items()])
