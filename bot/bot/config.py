"""The bot's configuration: JSON with `mail`, `telegram`, and, where there is a hub, `hub` (url, token)."""

import io
import json
import os

PLACES = ("config.json", os.path.join(os.path.dirname(os.path.abspath(__file__)), "config.json"))


def path():
    """BOT_CONFIG, else config.json here or beside the package; None where there is none."""
    for place in (os.environ.get("BOT_CONFIG"),) + PLACES:
        if place and os.path.isfile(place):
            return place
    return None


def load():
    """The tables; nothing where there is no file or it can't be read."""
    place = path()
    if place is None:
        return {}
    try:
        with io.open(place, encoding="utf-8-sig") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def spool_folder(config):
    """Where messages wait: `spool` in the configuration, BOT_SPOOL, else a folder beside the configuration."""
    place = config.get("spool") or os.environ.get("BOT_SPOOL")
    return place or os.path.join(os.path.dirname(os.path.abspath(path() or "config.json")), "bot-spool")
