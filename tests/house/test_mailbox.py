"""A mailbox server that says early that mail has come: nobody waits for the next look then."""

import socket
import threading

import pytest

from angelia.inlets.mail.mailbox import ImapMailbox
from angelia.inlets.mail.settings import MailInletSettings

ANSWERS = {
    "CAPABILITY": ["* CAPABILITY IMAP4rev1 IDLE"], "LOGIN": [], "SELECT": ["* 1 EXISTS", "* OK [UIDVALIDITY 7] valid"],
    "UID SEARCH": ["* SEARCH"], "UID STORE": [],
}  # fmt: skip


def speak(listener, said, before, behind):
    """One session. `said` is what goes out on top of the answer to some command, `before` and `behind` what stands around the word to go on."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rwb") as wire:

        def tell(*lines):
            wire.write("".join(f"{line}\r\n" for line in lines).encode())
            wire.flush()

        tell("* OK here")
        while line := wire.readline().decode().strip():
            tag, _, asked = line.partition(" ")
            if asked == "IDLE":
                tell(*before, "+ idling", *behind)
                wire.readline()
                tell(f"{tag} OK over")
                return
            name = next(name for name in ANSWERS if asked.startswith(name))
            tell(*ANSWERS[name], *said.get(name, ()), f"{tag} OK done")


@pytest.mark.parametrize(("said", "before", "behind", "has_come"), [
    ({}, [], [], False),
    ({}, ["* 2 EXISTS"], [], True),
    ({}, [], ["* 2 EXISTS"], True),
    ({"UID STORE": ["* 2 EXISTS"]}, [], [], True),
    ({"UID SEARCH": ["* 2 EXISTS"]}, [], [], True),
])  # fmt: skip
def test_mail_that_came_before_the_waiting_is_not_waited_for(said, before, behind, has_come):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = threading.Thread(target=speak, args=(listener, said, before, behind))
        peer.start()
        box = ImapMailbox(MailInletSettings(url=f"imap://alice:secret@127.0.0.1:{listener.getsockname()[1]}/INBOX"))
        try:
            box.open()
            assert box.newer(0) == []
            box.taken(1)
            assert box.begin_waiting() is has_come
            box.end_waiting()
        finally:
            box.close()
            peer.join(60)
