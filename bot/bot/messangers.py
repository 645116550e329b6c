"""`send_message(text)`: never raises, never waits longer than its limit, never loses what it could write into its folder."""

import atexit
import os
import threading
import time
import uuid

from bot import channels, config, spool

LIMIT = 2.0
"""Seconds that a script waits at most for a message."""
_TRY = 10.0
_AT_ONCE = 50
_END = 10.0  # seconds in which the end of a script waits for a slow disk: what nobody has written down is lost
_writers = set()


def send_message(text, limit=LIMIT, type="instrument.message"):
    """To all that the configuration names: the hub, else mail and Telegram. True where it is sent or kept; it never raises.

    First it is written down, for each channel by itself; then threads send what waits. What they don't manage within the limit they go on
    with while the script runs; else the next message or logwatch sends it.
    """
    try:
        until = time.monotonic() + limit
        message = {"text": _text(text), "key": uuid.uuid4().hex, "type": type, "at": time.time()}
        outcome = []
        sender = _thread(_send, message, outcome)
        _writers.add(sender)
        if not _is_started(sender):
            # The interpreter is ending, or has no room for a thread: then it is written down here, and the next message sends it.
            _writers.discard(sender)
            _keep(message, outcome)
            return outcome[0]
        sender.join(max(0.0, until - time.monotonic()))
        for thread in outcome[1:]:
            thread.join(max(0.0, until - time.monotonic()))
        return bool(outcome) and outcome[0]
    except Exception:  # noqa: BLE001 - a measurement must not end for a message
        return False


def _thread(work, *arguments):
    """A thread for it, that no script waits for at its end."""
    thread = threading.Thread(target=work, args=arguments)
    thread.daemon = True
    return thread


def _is_started(thread):
    try:
        thread.start()
    except RuntimeError:
        return False
    return True


def ways(tables):
    """The channels in force: a hub alone, where there is one."""
    if isinstance(tables.get("hub"), dict) and tables["hub"].get("url"):
        return ["hub"]
    return [name for name in ("mail", "telegram") if isinstance(tables.get(name), dict) and tables[name]]


def start_sending(tables, folder):
    """A thread for each channel that sends what waits; a dead channel holds up no other."""
    names = ways(tables)
    if "hub" not in names:
        # What was written down while there was no configuration that could be read, or another one, waits for whoever is there now.
        spool.hand_over(os.path.join(folder, "hub"), [os.path.join(folder, way) for way in names])
    threads = [_thread(_drain, tables[way], way, folder) for way in names]
    return [thread for thread in threads if _is_started(thread)]


def _send(message, outcome):
    """In a thread, from the first look at the configuration on: that may lie on a share that hangs."""
    try:
        place = _keep(message, outcome)
    finally:
        _writers.discard(threading.current_thread())
    if place is not None:
        try:
            outcome.extend(start_sending(*place))
        except Exception:  # noqa: BLE001 - it is written down: the next message sends it
            pass


def _keep(message, outcome):
    """Write it down, for each channel by itself, and say first in `outcome` whether that is done: tables and folder, None where it is not."""
    try:
        tables = config.load()
        folder = config.spool_folder(tables)
        # Without any channel it waits for the day on which there is one to send it by.
        for way in ways(tables) or ["hub"]:
            spool.put(os.path.join(folder, way), message)
    except Exception:  # noqa: BLE001
        outcome.append(False)
        return None
    outcome.append(True)
    return tables, folder


@atexit.register
def _wait_for_writers():
    until = time.monotonic() + _END
    for writer in list(_writers):
        writer.join(max(0.0, until - time.monotonic()))


def _drain(table, way, spools):
    folder = os.path.join(spools, way)
    try:
        for name in spool.waiting(folder)[:_AT_ONCE]:
            found = spool.take(folder, name)
            if found is None:
                continue
            message, taken = found
            is_sent = False
            try:
                is_sent = channels.WAYS[way](table, message, _TRY)
            except channels.Never as error:
                spool.set_aside(taken, error)
                continue
            except channels.OnlyThis:
                spool.give_back(taken, message)
                continue
            except Exception:  # noqa: BLE001
                is_sent = False
            if not is_sent:
                spool.give_back(taken, message)
                return
            spool.done(taken)
    except Exception:  # noqa: BLE001 - the folder went away
        return


def _text(text):
    if isinstance(text, bytes):
        return text.decode("utf-8", "replace")
    return "%s" % (text,)
