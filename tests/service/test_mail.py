"""Mail to a real server, and what it answers, good and bad."""

import asyncio
import email
import email.policy
import os
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from angelia.agent import Letter
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.flow.clock import now
from angelia.model.delivery import Delivery, Later, Refused, Sent, State
from angelia.model.message import Message, Sender
from angelia.model.moments import public_id
from angelia.model.person import Address, AddressState, Person
from angelia_testing.lost_worker import house_of, planned, sent_by_two_workers, worker
from angelia_testing.peers.process import free_port
from angelia_testing.peers.sink import Sink

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def letter(to="alice@test.example", number=1, **fields):
    message = Message(message_id=number, source="ci", type="obs.build.fail", received_at=NOW, occurred_at=NOW, **({"subject": "hello"} | fields))
    return Letter(
        delivery=Delivery(delivery_id=number, person_id=1, agent="mail", address_id=1, state=State.SENDING, due_at=NOW, message_id=number),
        person=Person(person_id=1, login="alice"),
        address=Address(address_id=1, person_id=1, agent="mail", value=to, state=AddressState.OK),
        message=message,
        because=("to",),
        decided_by="site:*",
    )


async def deliver(url, *letters, **settings):
    agent = MailAgent(MailSettings(url=url, sender="hub@test.example", domain="test.example", **settings))
    outcomes = [await agent.deliver(one) for one in letters]
    await agent.close()
    return outcomes


async def test_a_mail_is_read_back_over_imap(mail_server):
    attack = "Grüße ✓ x\r\nBcc: bob@test.example =?utf-8?q?x=0ABcc:_bob@test.example?="
    body = ".\nFrom me\n" + "x" * 3000 + "\n--boundary\n<script>alert(1)</script>"
    (sent,) = await deliver(f"smtp://127.0.0.1:{mail_server.plain}", letter(subject=attack, body=body))
    assert isinstance(sent, Sent)
    (raw,) = mail_server.wait_for("alice", 1)
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["Message-ID"] == "<dlv_0000000000001@test.example>"
    assert mail["Subject"].startswith("Grüße ✓ x Bcc: bob@test.example")
    assert mail["Bcc"] is None
    text = next(mail.iter_parts()).get_content().replace("\r\n", "\n")
    assert text.startswith(".\nFrom me\n" + "x" * 3000)
    assert mail_server.fetch("bob") == []


MEANT = ["From", "To", "Subject", "Date", "Message-ID", "List-Id", "Auto-Submitted", "Precedence", "X-Angelia-Type", "X-Angelia-Severity", "X-Angelia-Source",
         "X-Angelia-Rule", "X-Angelia-Reason", "X-Hermes-Tag-A", "MIME-Version", "Content-Type"]  # fmt: skip
ADDED_ON_THE_WAY = {"Return-Path", "X-Original-To", "Delivered-To", "Received"}
HOSTILE = {  # E11.121 to E11.123
    "line ends": "x\r\nBcc: bob@test.example", "LF": "x\nBcc: bob@test.example", "CR": "x\rBcc: bob@test.example", "VT": "x\x0bBcc: bob@test.example",
    "NEL": "x\x85Bcc: bob@test.example", "line separator": "x\u2028Bcc: bob@test.example", "encoded word": "=?utf-8?q?x=0ABcc:_bob@test.example?=",
    "half an encoded word": "=?utf-8?b?", "NUL": "x\0y", "half a character": "x\ud800y", "long": "y" * 5_000, "long words": "word " * 2_000,
    "empty line": "\r\n\r\nbody", "dot": ".", "from": "From x", "folded": "x\r\n y", "colon": "Bcc: bob@test.example", "emoji": "\U0001f600" * 300,
    "name": '"admin@hub" <x@test.example>', "attachment": "a\r\nX: y.exe", "turned": "\u202ecod.exe", "boundary": "--=_b_0000000000001\r\n",
    "markup": "<script>alert(1)</script><img src=http://127.0.0.1:9/t><a href=javascript:alert(1)>x</a><style>*{position:fixed}</style><form>",
}  # fmt: skip


async def test_hostile_text_arrives_as_text(mail_server):
    """Through a real server and back over IMAP: the headers are those that were meant, each once; nobody else gets anything; nothing sticks."""
    letters = [
        letter(
            number=number,
            subject=text,
            body=f"{text}\n.\n..\nFrom me\n--boundary",
            sender=Sender(text, text),
            tags=(("a", text),),
            params={"k": text},
        )
        for number, text in enumerate(HOSTILE.values(), 1)
    ]
    outcomes = await deliver(f"smtp://127.0.0.1:{mail_server.plain}", *letters)
    assert [type(outcome) for outcome in outcomes] == [Sent] * len(HOSTILE)
    mails = {email.message_from_bytes(raw)["Message-ID"]: raw for raw in mail_server.wait_for("alice", len(HOSTILE))}
    for number, name in enumerate(HOSTILE, 1):
        mail = email.message_from_bytes(mails[f"<{public_id('dlv', number)}@test.example>"], policy=email.policy.default)
        assert [key for key in mail.keys() if key not in ADDED_ON_THE_WAY] == MEANT, name  # noqa: SIM118 - each header, not each name
        text, markup = (part.get_content().replace("\r\n", "\n") for part in mail.iter_parts())
        assert "\n.\n..\nFrom me\n--boundary\n" in text, name
        assert all(bad not in markup.lower() for bad in ("<script", "<img", "<style", "<form", 'href="javascript')), name
        assert not list(mail.iter_attachments())[1:], name
    assert mail_server.fetch("bob") == []


@pytest.mark.parametrize("scheme", ["smtp+starttls", "smtps"])
async def test_login_over_a_verified_connection(mail_server, scheme):
    port = mail_server.submission if scheme == "smtp+starttls" else mail_server.smtps
    url = f"{scheme}://alice%40test.example:secret@localhost:{port}"
    (sent,) = await deliver(url, letter(), ca_file=mail_server.ca_file)
    assert isinstance(sent, Sent), sent
    (untrusted,) = await deliver(url, letter())
    assert isinstance(untrusted, Later)
    assert "certificate" in untrusted.why
    (wrong,) = await deliver(url.replace("secret", "wrong"), letter(), ca_file=mail_server.ca_file)
    assert isinstance(wrong, Later)
    assert "login" in wrong.why
    assert len(mail_server.wait_for("alice", 1)) == 1


async def test_a_server_without_starttls_gets_nothing():
    sink = Sink()
    sink.start()
    (outcome,) = await deliver(f"smtp+starttls://a:b@127.0.0.1:{sink.port}", letter())
    sink.stop()
    assert isinstance(outcome, Later)
    assert sink.mails == []


async def test_what_a_real_server_refuses(mail_server):
    url = f"smtp://127.0.0.1:{mail_server.plain}"
    grey, full, unknown, fine = await deliver(
        url, *(letter(f"{who}@test.example", n + 1) for n, who in enumerate(["grey", "full", "nobody", "carol"]))
    )
    assert grey == Later(grey.why, blames_destination=False)
    assert grey.why.startswith("451")
    assert (full.why[:3], full.is_address_bad) == ("552", False)
    assert (unknown.why[:3], unknown.is_address_bad) == ("550", True)
    assert isinstance(fine, Sent)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("ok", Sent), ("rcpt450", Later), ("rcpt550", Refused), ("data451", Later), ("ackloss", Later)],
)
async def test_answers_on_demand(mode, expected):
    sink = Sink(mode)
    sink.start()
    (outcome,) = await deliver(f"smtp://127.0.0.1:{sink.port}", letter(), command_timeout=5.0)
    sink.stop()
    assert isinstance(outcome, expected), outcome
    assert len(sink.mails) == (mode in ("ok", "ackloss"))


@asynccontextmanager
async def scripted(**script):
    """A server that says `script[command]` where that is given: an answer, or nothing at all ("") until the client goes. GREET is its first word."""
    answers = {"GREET": "220 x", "EHLO": "250-x\r\n250 SIZE", "DATA": "354 go on", "END": "250 taken"} | script
    said, open_ones = [], {}

    async def serve(reader, writer):
        open_ones[asyncio.current_task()] = writer

        async def say(name):
            said.append(name)
            writer.write(f"{answers.get(name, '250 ok')}\r\n".encode() if answers.get(name, "x") else b"")

        await say("GREET")
        while line := await reader.readline():
            name = line[:4].decode().strip().upper()
            await say(name)
            if name == "DATA" and answers["DATA"].startswith("354"):
                while await reader.readline() not in (b".\r\n", b""):
                    pass
                await say("END")

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"smtp://127.0.0.1:{server.sockets[0].getsockname()[1]}", said
    finally:
        server.close()
        for writer in open_ones.values():
            writer.transport.abort()
        await asyncio.gather(*open_ones, return_exceptions=True)


STEPS = ("GREET", "EHLO", "MAIL", "RCPT", "DATA", "END")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("answer", ["", "421 4.3.2 shutting down"])
async def test_a_server_that_stops_in_the_middle_holds_no_place(step, answer):  # faults F22, F24
    """It is asked no further, and the next letter gets a connection of its own."""
    async with scripted(**{step: answer}) as (url, said):
        connect_timeout = 0.5 if not answer and step in STEPS[:2] else 30.0
        outcomes = await deliver(url, letter(), letter(number=2), connect_timeout=connect_timeout, command_timeout=30.0 if answer else 0.5)
    assert [type(outcome) for outcome in outcomes] == [Later, Later], outcomes
    words = ("421", "closed the connection") if answer else ("in time",)
    assert all(any(word in outcome.why for word in words) for outcome in outcomes), outcomes
    assert said.count("GREET") == 2 and not set(STEPS[STEPS.index(step) + 1 :]) & set(said)


AHEAD = "250-x\r\n250-SIZE\r\n250 PIPELINING"  # RFC 2920


@pytest.mark.parametrize("step", STEPS[2:])
@pytest.mark.parametrize("answer", ["", "421 4.3.2 shutting down"])
async def test_a_server_that_takes_commands_ahead_and_stops_holds_no_place(step, answer):  # faults F22, F24
    async with scripted(EHLO=AHEAD, **{step: answer}) as (url, said):
        outcomes = await deliver(url, letter(), letter(number=2), command_timeout=30.0 if answer else 0.5)
    assert [type(outcome) for outcome in outcomes] == [Later, Later], outcomes
    assert all(("421" if answer else "in time") in outcome.why for outcome in outcomes), outcomes
    assert said.count("GREET") == 2


@pytest.mark.parametrize("data", ["354 go on", "503 5.5.1 no valid recipients"])
@pytest.mark.parametrize("step", ["MAIL", "RCPT"])
async def test_what_is_refused_though_commands_went_ahead_is_no_mail(step, data):
    """Where the server goes on in spite of its refusal it gets an empty mail to nobody; the connection serves the next letter."""
    async with scripted(EHLO=AHEAD, **{step: "550 5.1.1 no such user"}, DATA=data, END="554 no valid recipients") as (url, said):
        outcomes = await deliver(url, letter(), letter(number=2))
    assert outcomes == [Refused("550 5.1.1 no such user", is_address_bad=step == "RCPT")] * 2
    assert said[2:] == [*["MAIL", "RCPT", "DATA", *(["END"] if data.startswith("354") else []), "RSET"] * 2, "QUIT"]


async def test_answers_of_many_lines_are_one_answer():
    async with scripted(EHLO=AHEAD, MAIL="250-one\r\n250 two", END="250-taken\r\n250 as 7") as (url, said):
        outcomes = await deliver(url, letter(), letter(number=2))
    assert outcomes == [Sent("taken as 7")] * 2
    assert said.count("GREET") == 1


@pytest.mark.parametrize("extensions", [AHEAD, "250 x"])
async def test_what_a_server_says_unasked_is_not_taken_for_an_answer(extensions):
    """Too long idle, it says so beside its last answer: the next letter gets a connection of its own."""
    async with scripted(EHLO=extensions, END="250 taken\r\n421 4.4.2 idle") as (url, said):
        outcomes = await deliver(url, letter(), letter(number=2))
    assert outcomes == [Sent("taken")] * 2
    assert said.count("GREET") == 2


@pytest.mark.parametrize("answer", ["hello", "25", "250-" + "x" * 40_000])
async def test_what_is_no_answer_ends_the_connection(answer):
    async with scripted(MAIL=answer) as (url, said):
        (outcome,) = await deliver(url, letter())
    assert isinstance(outcome, Later)
    assert "RCPT" not in said


@pytest.mark.parametrize(
    ("reply", "is_address_bad"),
    [
        ("550 5.1.1 no such user", True),
        ("550 no such user", True),
        ("550 5.7.1 looks like spam", False),
        ("550 5.2.2 full", False),
        ("553 5.1.3 bad", True),
    ],
)
async def test_a_refusal_blames_the_address_only_where_it_is_meant(reply, is_address_bad):
    async with scripted(RCPT=reply) as (url, _):
        (outcome,) = await deliver(url, letter())
    assert outcome == Refused(reply, is_address_bad=is_address_bad)


async def test_nobody_answers():
    (outcome,) = await deliver(f"smtp://127.0.0.1:{free_port()}", letter())
    assert isinstance(outcome, Later)


async def test_a_lost_answer_makes_at_most_one_repeat_with_the_same_id():  # figure R5, fault F25
    sink = Sink("ackloss")
    sink.start()
    url = f"smtp://127.0.0.1:{sink.port}"
    (first,) = await deliver(url, letter(number=77))
    sink.mode = "ok"
    (second,) = await deliver(url, letter(number=77))
    sink.stop()
    assert (type(first), type(second)) == (Later, Sent)
    ids = [email.message_from_bytes(raw)["Message-ID"] for raw in sink.mails]
    assert ids == ["<dlv_000000000002d@test.example>"] * 2


async def test_a_hundred_lost_answers_make_a_hundred_repeats_at_most():  # figure R5
    sink = Sink("ackloss")
    sink.start()
    url = f"smtp://127.0.0.1:{sink.port}"
    letters = [letter(number=number) for number in range(1, 101)]
    lost = await deliver(url, *letters)
    sink.mode = "ok"
    again = await deliver(url, *letters)
    sink.stop()
    assert {type(outcome) for outcome in lost} == {Later}
    assert {type(outcome) for outcome in again} == {Sent}
    ids = Counter(email.message_from_bytes(raw)["Message-ID"] for raw in sink.mails)
    assert len(ids) == 100
    assert set(ids.values()) == {2}


def agent_for(mail_server):
    url = f"smtp://127.0.0.1:{mail_server.plain}"
    return MailAgent(MailSettings(url=url, sender="hub@test.example", domain="test.example"))


async def test_of_three_one_who_is_refused_for_now_is_tried_again_alone(mail_server, tmp_path, monkeypatch):  # fault F23
    agent, people = agent_for(mail_server), ("alice", "grey", "carol")
    async with house_of(agent, tmp_path, monkeypatch) as house:
        await planned(house, "mail", {login: f"{login}@test.example" for login in people})

        async def sent_after(hours):
            relay = worker(house, agent)
            claimed = await relay.turn(now() + timedelta(hours=hours))
            await relay.drain()
            (left,) = await house.store.list_deliveries(states=[State.DUE], agent="mail") or [None]
            return claimed, left

        claimed, left = await sent_after(0)
        assert (claimed, left.attempts, left.last_error[:3]) == (3, 1, "451")
        assert await sent_after(0) == (0, left)
        mail_server.set_grey(is_grey=False)
        try:
            for hours in range(1, 100):  # until the server has read its table
                claimed, left = await sent_after(hours)
                assert claimed == 1
                if left is None:
                    break
        finally:
            mail_server.set_grey(is_grey=True)
    mails = {login: mail_server.wait_for(login, 1) for login in people}
    assert [len(each) for each in mails.values()] == [1, 1, 1]


async def test_a_lost_worker_makes_one_repeat_with_the_same_id(mail_server, tmp_path, monkeypatch):
    delivery = await sent_by_two_workers(agent_for(mail_server), "alice@test.example", tmp_path, monkeypatch)
    ids = [email.message_from_bytes(raw)["Message-ID"] for raw in mail_server.wait_for("alice", 2)]
    assert ids == [f"<{public_id('dlv', delivery.delivery_id)}@test.example>"] * 2


async def test_files_for_a_machine_without_a_server(tmp_path):
    url = f"maildir:{tmp_path}/mail"
    for _ in range(2):
        (sent,) = await deliver(url, letter("../../etc/x@example.org".replace("/", "-")))
    (sent,) = await deliver(url, letter("alice@example.org"))
    assert isinstance(sent, Sent)
    folders = sorted(path.name for path in (tmp_path / "mail").iterdir())
    assert folders[-1] == "alice@example.org"
    assert len(list((tmp_path / "mail" / "alice@example.org" / "new").iterdir())) == 1


async def test_a_file_counts_as_sent_once_its_folder_is_flushed(tmp_path, monkeypatch):  # promise P1
    done, flush, move = [], os.fsync, Path.rename

    def flushed(number):
        flush(number)
        done.append(Path(os.readlink(f"/proc/self/fd/{number}")).relative_to(tmp_path).as_posix())

    def moved(path, target):
        done.append("moved")
        return move(path, target)

    monkeypatch.setattr("os.fsync", flushed)
    monkeypatch.setattr(Path, "rename", moved)
    for _ in range(2):
        (sent,) = await deliver(f"maildir:{tmp_path}/mail", letter("alice@example.org"))
        assert isinstance(sent, Sent)
    box = "mail/alice@example.org"
    assert done[:3] == [box, "mail", "."]
    assert [name for name in done[3:] if "/tmp/" not in name] == ["moved", f"{box}/new", f"{box}/new"]
    assert done[3].startswith(f"{box}/tmp/")
