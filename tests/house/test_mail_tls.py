"""A server that goes away between the connection and its encryption is a failure like others, and nothing stays open."""

import gc
import socket
import struct
import threading

import pytest

from angelia.inlets.mail.mailbox import ImapMailbox, MailboxFailed
from angelia.inlets.mail.settings import MailInletSettings
from angelia.tls import client_context
from angelia.watch.direct_mail import DirectMail
from angelia.watch.outbox import NotNow


@pytest.fixture
def resetting(monkeypatch):
    """Whoever connects in this process comes to a server that resets the connection before anybody can speak over it."""
    connect, is_reset = socket.create_connection, threading.Event()

    def late(_, *arguments, **more):
        made = connect(listener.getsockname(), *arguments, **more)
        assert is_reset.wait(60)
        return made

    def serve(listener):
        connection, _ = listener.accept()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        is_reset.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        monkeypatch.setattr(socket, "create_connection", late)
        yield
        server.join(60)


def read_a_mailbox():
    box = ImapMailbox(MailInletSettings(url="imaps://alice:secret@127.0.0.1/INBOX"))
    try:
        box.open()
    finally:
        box.close()


def send_a_mail():
    DirectMail("127.0.0.1", 465, ("alice@example.org",), sender="hub@example.org").send({"subject": "done", "text": "all of it"})


@pytest.mark.usefixtures("resetting")
@pytest.mark.parametrize(("act", "failure"), [(read_a_mailbox, MailboxFailed), (send_a_mail, NotNow)])
def test_a_reset_before_the_handshake_leaves_nothing_open(act, failure):
    with pytest.raises(failure, match="reset"):
        act()
    gc.collect()  # what is open would say so here, which is an error


def test_old_versions_and_unchecked_certificates_are_not_spoken():
    context = client_context()
    assert (context.minimum_version.name, context.verify_mode.name, context.check_hostname) == ("TLSv1_2", "CERT_REQUIRED", True)
