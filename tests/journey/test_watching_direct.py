"""The bot's own configuration, without a hub: a watcher that mails and posts to a channel, each whatever the other does."""

import json
import time
from email import message_from_bytes
from email.policy import default

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from angelia.model.errors import BadSettings
from angelia.watch import outbox
from angelia.watch.direct_mail import direct_mail
from angelia.watch.direct_telegram import DirectTelegram, direct_telegram, fitting
from angelia.watch.outbox import Never, NotNow, Outbox
from angelia.watch.settings import load
from angelia_testing.peers.process import ANGELIA, ENVIRONMENT, Server, free_port
from angelia_testing.peers.telegram_api import CHANNEL, TOKEN, TelegramApi
from angelia_testing.waiting import wait_until


@pytest.fixture
def api():
    made = TelegramApi()
    yield made
    made.stop()


class MailServer:
    """Takes mail from who knows the password; it can be away."""

    def __init__(self):
        self.letters, self.logins, self.port = [], [], free_port()
        self.start()

    async def handle_DATA(self, server, session, envelope):
        self.letters.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=default)))
        return "250 taken"

    def _authenticated(self, server, session, envelope, mechanism, data):
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"secret")

    def start(self):
        self._server = Controller(
            self,
            "127.0.0.1",
            self.port,
            authenticator=self._authenticated,
            auth_required=True,
            auth_require_tls=False,
            auth_exclude_mechanism=["LOGIN"],
        )
        self._server.start()

    def stop(self):
        self._server.stop()


def configuration(folder, api, port, **more):
    """As the bot has it; only the address of the API is ours."""
    document = {
        "mail": {
            "user": "yumo@example.org",
            "password": "secret",
            "port": port,
            "server": "127.0.0.1",
            "recipients": ["alice@example.org", "bob@example.org"],
        },
        "telegram": {"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url},
    } | more
    path = folder / "config.json"
    path.write_text(json.dumps(document))
    path.chmod(0o600)
    return path


def watching(path, log):
    argv = [*ANGELIA, "watch", "--config", str(path), "--log", str(log)]
    return Server("watch", argv, [], path.parent, ENVIRONMENT)


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # this server is on loopback
def test_the_bots_configuration_starts_a_watcher(tmp_path, api):
    log, post = tmp_path / "protocol.log", MailServer()
    log.write_text("info 1 user started\n")
    server = watching(configuration(tmp_path, api, post.port), log)
    try:
        wait_until((tmp_path / "watch-state" / "protocol.json").exists, 40, what="the watcher")
        post.stop()
        api.busy(1)
        with log.open("a", encoding="cp1251") as file:
            file.write("error 1 pump <b>авария</b>\ninfo 3 motor fine\n")
        wait_until(lambda: api.messages, 20, what="the channel, which the dead mail server must not hold up")
        assert api.messages == ["protocol: <b>авария</b>\nerror 1 pump <b>авария</b>"]
        assert not post.letters and not api.faults
        post.start()
        wait_until(lambda: len(post.letters) == 2, 40, what="mail")
        assert [recipients for recipients, _ in post.letters] == [["alice@example.org"], ["bob@example.org"]]
        letter = post.letters[0][1]
        assert letter["Subject"] == "protocol: <b>авария</b>"
        assert letter.get_body().get_content().strip() == "error 1 pump <b>авария</b>"
        assert [file.get_content().strip() for file in letter.iter_attachments()] == ["info 1 user started"]
        assert letter["From"] == "yumo@example.org" and letter["Auto-Submitted"] == "auto-generated"
        assert post.logins == [(b"yumo@example.org", b"secret")]
        assert server.stop() == 0
        assert TOKEN not in server.log() and "secret" not in server.log()
    finally:
        server.stop()
        post.stop()


def test_what_everybody_may_read_holds_no_secret(tmp_path, api):
    path = configuration(tmp_path, api, 25)
    path.chmod(0o644)
    with pytest.raises(BadSettings, match="chmod 600"):
        load(path, ("x.log",))
    path.chmod(0o600)
    assert load(path, ("x.log",), {}).direct["mail"]["port"] == 25


def message(key="k1", subject="s", body="b"):
    return {"idempotency_key": key, "subject": subject, "body": body}


def test_retry_after_is_obeyed_and_a_minute_takes_twenty(tmp_path, api):
    bot = direct_telegram({"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    outbox = Outbox("channel", tmp_path / "out", bot.send)
    api.busy(2)
    for number in range(25):
        outbox.put(message(f"k{number}", f"s{number}"))
    outbox.put(message("k0"))
    outbox.start()
    try:
        wait_until(lambda: len(api.messages) == 20, 60)
        assert api.asked_at[1] - api.asked_at[0] >= 1.9
        time.sleep(0.5)
        assert api.messages == [f"s{number}\nb" for number in range(20)] and len(outbox.waiting()) == 5 and not api.faults
    finally:
        outbox.stop()
    again = Outbox("channel", tmp_path / "out", bot.send)
    again.put(message("k3"))  # sent before, and known
    assert len(again.waiting()) == 5


def test_lengths_are_those_of_the_api(api):
    bot = DirectTelegram(TOKEN, CHANNEL, api.url)
    for text in ("x" * 4096, "x" * 5000, "😀" * 2048, "😀" * 2049, "x" + "😀" * 3000):
        bot.send(message(subject=text[:1], body=text))
        assert len(fitting(text).encode("utf-16-le")) <= 8192
    assert not api.faults and all(text.endswith("[cut]") for text in api.messages[1:2])


BEFORE = {"name": "yumo-before.txt", "text": "info 3 насос\nerror 2 \x1b[31mред"}


def test_what_does_not_fit_goes_after_it_as_a_file_once(api, tmp_path, monkeypatch):
    bot = direct_telegram({"bot-id": TOKEN, "channel-id": CHANNEL, "api": api.url})
    bot.send(message() | {"attachment": BEFORE})
    assert api.messages == ["s\nb"] and not api.documents
    call, refused = bot._call, []

    def busy_for_the_first_file(method, **content):
        if method == "sendDocument" and not refused:
            refused.append(method)
            api.busy(1)
        call(method, **content)

    monkeypatch.setattr(bot, "_call", busy_for_the_first_file)
    outbox = Outbox("channel", tmp_path / "out", bot.send)
    outbox.put(message(subject="long", body="x" * 5_000) | {"attachment": BEFORE})
    outbox.start()
    try:
        wait_until(lambda: not outbox.waiting(), 60, what="the file")
    finally:
        outbox.stop()
    assert refused and len(api.messages) == 2 and api.messages[1].endswith("[cut]")
    assert api.documents == [("yumo-before.txt", f"info 3 насос\nerror 2 ред\nlong\n{'x' * 5_000}")]
    bot.send(message("k2", "alone", "y" * 5_000))
    assert api.documents[1] == ("record.txt", f"alone\n{'y' * 5_000}")


def test_the_records_before_an_error_are_in_the_mail_as_a_file():
    channel = direct_mail({"server": "127.0.0.1", "port": 25, "user": "yumo", "recipients": ["alice@example.org"]})
    letter = channel._letter(message() | {"attachment": BEFORE}, "alice@example.org")
    read = message_from_bytes(letter.as_bytes(), policy=default)
    (file,) = read.iter_attachments()
    assert read.get_body().get_content().strip() == "b"
    assert (file.get_filename(), file.get_content_type(), file.get_content().strip()) == (
        "yumo-before.txt",
        "text/plain",
        "info 3 насос\nerror 2 ред",
    )


def test_a_bot_that_may_not_post_loses_nothing(api):
    with pytest.raises(NotNow) as refused:
        DirectTelegram("1:wrong", CHANNEL, api.url).send(message())
    assert "1:wrong" not in str(refused.value)
    with pytest.raises(NotNow):
        DirectTelegram(TOKEN, "-1", api.url).send(message())
    with pytest.raises(NotNow) as dead:
        DirectTelegram(TOKEN, CHANNEL, f"http://127.0.0.1:{free_port()}").send(message())
    assert TOKEN not in str(dead.value)
    api.refusals.append((400, {"ok": False, "error_code": 400, "description": "Bad Request: something"}))
    with pytest.raises(Never):
        DirectTelegram(TOKEN, CHANNEL, api.url).send(message())
    api.refusals.append((400, {"ok": False, "description": "moved", "parameters": {"migrate_to_chat_id": int(CHANNEL)}}))
    bot = DirectTelegram(TOKEN, CHANNEL, api.url)
    with pytest.raises(NotNow):
        bot.send(message())
    bot.send(message())


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # this server is on loopback
@pytest.mark.parametrize("slip", [{"password": "пароль"}, {"server": f"{'x' * 64}.example.org"}], ids=["a password", "a server"])
def test_what_the_operator_has_to_mend_throws_nothing_away(slip):
    server = MailServer()
    try:
        table = {"server": "127.0.0.1", "port": server.port, "user": "yumo@example.org", "recipients": ["alice@example.org"]}
        with pytest.raises(NotNow) as waits:
            direct_mail(table | slip).send(message())
        assert not waits.value.is_alone and "пароль" not in str(waits.value)
    finally:
        server.stop()


def test_no_text_becomes_a_header():
    channel = direct_mail({"server": "127.0.0.1", "port": 25, "user": "yumo", "recipients": ["alice@example.org"]})
    letter = channel._letter(message(subject="a\r\nBcc: eve@example.org\x00", body="b\r\n.\r\nQUIT\x1b[0m"), "alice@example.org")
    assert letter["Subject"] == "a" and letter["Bcc"] is None and letter["From"] == "yumo@127.0.0.1"
    assert "\x1b" not in letter.get_content() and letter.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    "table", [{}, {"server": "x"}, {"server": "x", "recipients": ["a\nb@c"]}, {"server": "x", "recipients": ["a@b"], "port": "y"}, {"sever": 1}]
)
def test_a_wrong_table_is_said(table):
    with pytest.raises(BadSettings):
        direct_mail(table)


def test_an_outbox_survives_a_crash_and_sets_aside_what_never_goes(tmp_path):
    sent, is_down = [], [True]

    def send(fields):
        if is_down[0]:
            raise NotNow("down", 0.05)
        if fields["subject"] == "never":
            raise Never("no")
        sent.append(fields["subject"])

    first = Outbox("x", tmp_path, send)
    first.start()
    for subject in ("one", "never", "two"):
        first.put(message(subject, subject))
    first.stop()
    is_down[0] = False
    second = Outbox("x", tmp_path, send)
    second.put(message("one", "one"))
    second.start()
    wait_until(lambda: not second.waiting(), 60)
    second.stop()
    assert sent == ["one", "two"] and len(list((tmp_path / "refused").glob("*.txt"))) == 1


def test_what_was_sent_is_known_for_a_while_and_not_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(outbox, "MOST_REMEMBERED", 10)
    sent = []
    box = Outbox("x", tmp_path, lambda fields: sent.append(fields["subject"]))
    box.start()
    for number in range(55):
        box.put(message(f"k{number}", f"s{number}"))
    wait_until(lambda: not box.waiting(), 60)
    kept = (tmp_path / "sent.txt").read_text().split()
    assert 10 <= len(kept) <= 20 and kept == [f"k{number}" for number in range(55 - len(kept), 55)]
    box.put(message("k54", "again"))
    box.stop()
    again = Outbox("x", tmp_path, lambda fields: sent.append(fields["subject"]))
    again.put(message("k54", "again"))
    assert sent == [f"s{number}" for number in range(55)] and not again.waiting() and len(again._behind) == len(kept)


class Choosy:
    """Refuses some recipients, at RCPT or after DATA; tells who got which subject."""

    def __init__(self):
        self.at_recipient, self.at_data, self.got, self.port = {}, {}, [], free_port()
        self._server = Controller(self, "127.0.0.1", self.port)
        self._server.start()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.at_recipient:
            return self.at_recipient[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        (recipient,) = envelope.rcpt_tos
        if recipient in self.at_data:
            return self.at_data[recipient]
        self.got.append((recipient.partition("@")[0], message_from_bytes(envelope.content, policy=default)["Subject"]))
        return "250 taken"

    def stop(self):
        self._server.stop()


@pytest.fixture
def choosy():
    made = Choosy()
    yield made
    made.stop()


THREE = ["alice@example.org", "bob@example.org", "carol@example.org"]


def test_who_can_not_have_it_now_keeps_it_from_nobody_else(choosy, tmp_path):
    """F23: a mailbox that is full for days is tried again alone; the others hear of this, and of what comes behind it, at once and once."""
    choosy.at_recipient["alice@example.org"], choosy.at_data["bob@example.org"] = "452 4.2.2 full", "451 4.3.0 not now"
    outbox = Outbox("mail", tmp_path, direct_mail({"server": "127.0.0.1", "port": choosy.port, "user": "yumo", "recipients": THREE}).send)
    outbox.start()
    try:
        for number in range(3):
            outbox.put(message(f"k{number}", f"s{number}"))
        wait_until(lambda: len(choosy.got) == 3, 10, what="what is for carol")
        assert choosy.got == [("carol", f"s{number}") for number in range(3)] and len(outbox.waiting()) == 3
        choosy.at_recipient.clear()
        choosy.at_data.clear()
        wait_until(lambda: not outbox.waiting(), 60, what="what is for the others")
    finally:
        outbox.stop()
    assert sorted(choosy.got) == [(login, f"s{number}") for login in ("alice", "bob", "carol") for number in range(3)]


def test_who_is_refused_for_good_keeps_it_from_nobody_else(choosy):
    choosy.at_recipient["alice@example.org"], choosy.at_data["bob@example.org"] = "550 5.1.1 unknown", "554 5.7.1 looks like spam"
    channel = direct_mail({"server": "127.0.0.1", "port": choosy.port, "user": "yumo", "recipients": THREE})
    with pytest.raises(Never, match=r"alice@example\.org: 550 5\.1\.1 unknown; bob@example\.org: 554 5\.7\.1 looks like spam"):
        channel.send(message())
    assert choosy.got == [("carol", "s")]


def test_a_message_that_waits_alone_and_is_taken_away_holds_up_nothing(tmp_path):
    sent = []

    def send(fields):
        if fields["subject"] == "full":
            raise NotNow("full", 0.05, is_alone=True)
        sent.append(fields["subject"])

    outbox = Outbox("x", tmp_path, send)
    outbox.start()
    outbox.put(message("a", "full"))
    wait_until(lambda: outbox._alone, 10)
    (path,) = outbox.waiting()
    path.unlink()
    outbox.put(message("b", "next"))
    wait_until(lambda: sent == ["next"] and not outbox._alone, 10)
    outbox.stop()
