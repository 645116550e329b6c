"""Is all set up? `python -m bot` says what is found; `python -m bot TEXT` sends a message and says what became of it."""

import io
import json
import os
import sys

from bot import config, messangers, spool

PATIENCE = 15.0  # seconds


def main(words):
    """The exit code: 0 where there is somebody to tell, and nothing waits."""
    place = config.path()
    print("configuration: %s" % (place or "none; looked for BOT_CONFIG, " + " and ".join(config.PLACES)))
    if place is not None and not config.load():
        print("  it can't be read: %s" % _fault(place))
    if place is not None and os.name != "nt" and os.stat(place).st_mode & 0o004:
        print("  everybody may read it, with the passwords in it: chmod 600 it")
    tables = config.load()
    names, folder = messangers.ways(tables), config.spool_folder(tables)
    print("tells: %s" % (", ".join(names) or "nobody; what is sent waits in %s" % folder))
    if words:
        messangers.send_message(" ".join(words), limit=PATIENCE)
    left = dict((name, len(spool.waiting(os.path.join(folder, name)))) for name in names or ["hub"])
    for name, count in sorted(left.items()):
        print("%s: %s" % (name, "%d wait in %s" % (count, os.path.join(folder, name)) if count else "nothing waits"))
    return 0 if names and not any(left.values()) else 1


def _fault(place):
    try:
        with io.open(place, encoding="utf-8-sig") as file:
            found = json.load(file)
    except (OSError, ValueError) as error:
        return "%s" % error
    return "it holds no tables" if isinstance(found, dict) else "it is no JSON object"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
