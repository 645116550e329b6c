"""A folder of messages for each channel: durable before anything is sent, taken by one process at a time."""

import io
import json
import os
import time
import uuid

MOST_WAITING = 10000
TAKEN_FOR = 300.0


def put(folder, message, name=None):
    """Durable when it returns. OSError where it can't be."""
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
    if len(waiting(folder)) >= MOST_WAITING:
        raise OSError("%s is full" % folder)
    _write(folder, name or "%020d-%s.json" % (int(time.time() * 1e6), uuid.uuid4().hex[:8]), message)


def _write(folder, name, message):
    part = os.path.join(folder, name + ".part")
    with io.open(part, "w", encoding="utf-8") as file:
        file.write(json.dumps(message))
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, os.path.join(folder, name))
    _sync(folder)


def _sync(folder):
    """So that the new name survives a power cut too; Windows does that by itself, and opens no folders."""
    if os.name == "nt":
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def waiting(folder):
    """Names of what waits, oldest first; what another process took and did not send in five minutes waits again."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        if name.endswith(".taken"):
            place = os.path.join(folder, name)
            try:
                if not 0 <= time.time() - os.path.getmtime(place) < TAKEN_FOR:
                    os.replace(place, place[: -len(".taken")] + ".json")
            except OSError:
                continue  # the other process is done with it
    return sorted(name for name in names if name.endswith(".json"))


def take(folder, name):
    """The message, for us alone, and its place; None where another process was faster or it can't be read."""
    place = os.path.join(folder, name)
    taken = place[: -len(".json")] + ".taken"
    try:
        os.replace(place, taken)
        os.utime(taken, None)
        with io.open(taken, encoding="utf-8") as file:
            return json.load(file), taken
    except OSError:
        return None
    except ValueError:
        set_aside(taken, "it can't be read")
        return None


def hand_over(folder, others):
    """What waits goes into each of the other folders, under the name that it has: a second time changes nothing."""
    for name in waiting(folder) if others else []:
        found = take(folder, name)
        if found is None:
            continue
        message, taken = found
        try:
            for other in others:
                put(other, message, name)
        except OSError:
            give_back(taken)
            raise
        done(taken)


def give_back(taken, message=None):
    """It could not be sent now; `message` is what is left of it."""
    if message is not None:
        _write(os.path.dirname(taken), os.path.basename(taken), message)
    os.replace(taken, taken[: -len(".taken")] + ".json")


def done(taken):
    """It is sent."""
    os.remove(taken)


def set_aside(taken, why):
    """It will never be sent: kept, with the reason."""
    aside = os.path.join(os.path.dirname(taken), "refused")
    if not os.path.isdir(aside):
        os.makedirs(aside, exist_ok=True)
    place = os.path.join(aside, os.path.basename(taken)[: -len(".taken")])
    os.replace(taken, place + ".json")
    with io.open(place + ".txt", "w", encoding="utf-8") as file:
        file.write("%s" % why)
