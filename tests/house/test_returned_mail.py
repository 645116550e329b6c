"""Mail that comes back: a report to a signed return path ends its address; what is forged, huge or no report changes nothing."""

import asyncio
import smtplib
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.house.conftest import knows

from angelia import telemetry
from angelia.agent import Surroundings
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.flow.clock import now
from angelia.flow.lane import Lane
from angelia.inlets.mail.door import MOST_BYTES
from angelia.inlets.mail.reading import bounce_in, parsed
from angelia.inlets.mail.settings import MailInletSettings
from angelia.making import make_mail_inlets
from angelia.model.delivery import Sent, State
from angelia.model.errors import BadSettings
from angelia.model.person import AddressState
from angelia.model.return_path import delivery_of, return_path
from angelia_testing.recording import RecordingAgent

BASE = "bounce@example.org"
REPORT = """From: MAILER-DAEMON@example.org
Subject: Undelivered
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It failed.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; alice@example.org
Action: {action}
Status: {status}
Diagnostic-Code: smtp; 550 5.1.1 no such user

--b--
"""
FAILED = REPORT.format(action="failed", status="5.1.1")


@pytest.fixture
async def sent(bench):
    """The delivery of a mail to alice, and its return path."""
    await bench.person("alice")
    await bench.post(to=["alice"], subject="done")
    await bench.work()
    (delivery,) = await bench.store.list_deliveries(states=[State.DELIVERED], agent="mail")
    return return_path(BASE, bench.house.secret, delivery.delivery_id)


async def bring(inlet, to, text):
    def work():
        with smtplib.LMTP("127.0.0.1", inlet.port, timeout=60) as server:
            return server.sendmail("", [to], text.encode())

    return await asyncio.to_thread(work)


async def state(bench):
    person = await bench.store.person("alice")
    return (await bench.store.addresses(person.person_id))[0].state


async def test_a_report_of_failure_ends_the_address_and_its_owner_hears_of_it(bench, inlet, sent):
    await bring(inlet, sent, FAILED)
    await bring(inlet, sent, FAILED)  # the same again changes nothing
    assert await state(bench) is AddressState.BOUNCING
    await bench.work()
    inbox = await bench.call("GET", "/api/v1/people/alice/inbox", status=200)
    assert str(inbox).count("Your mail address does not work") == 1


async def why_of(bench):
    (item,) = [one for one in (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"] if one["message"]["subject"] == "done"]
    told = await bench.why(item["message"]["id"], "alice")
    return next(one for one in told["deliveries"] if one["agent"] == "mail")


def counted():
    return telemetry.deliveries.labels("mail", "bounced", "came_back")._value.get()


async def test_the_books_say_that_it_came_back(bench, inlet, sent):
    before = counted()
    for _ in range(2):
        await bring(inlet, sent, FAILED)
    told = await why_of(bench)
    assert (told["state"], told["reason"], told["last_error"]) == ("bounced", "came_back", "smtp; 550 5.1.1 no such user")
    assert counted() == before + 1
    assert await bench.store.check() == []


async def test_a_full_mailbox_ends_its_address_on_the_third_day_only(bench, inlet):
    await bench.person("alice")
    start, full = bench.now, REPORT.format(action="failed", status="5.2.2")
    for day, after in ((0, AddressState.OK), (0, AddressState.OK), (1, AddressState.OK), (2, AddressState.BOUNCING)):
        await bench.post(to=["alice"], subject="done")
        await bench.work(start + timedelta(days=day))
        delivery = (await bench.store.list_deliveries(states=[State.DELIVERED], agent="mail"))[0]
        await bring(inlet, return_path(BASE, bench.house.secret, delivery.delivery_id), full)
        assert await state(bench) is after, day
    await bench.work()
    inbox = str(await bench.call("GET", "/api/v1/people/alice/inbox", status=200))
    assert inbox.count("A message by mail came back") == 2
    assert inbox.count("Your mail address does not work") == 1


async def test_what_came_back_goes_the_next_way(bench, inlet, house):
    """The notice goes by what else reaches her, and so does the message where she has an order of ways."""
    pager = RecordingAgent("pager")
    bench.relay._lanes["pager"] = Lane(pager)
    house.agents["pager"] = pager
    knows(house, "pager")
    await bench.person("alice", preferences={"fallback": ["mail", "pager"]})
    await bench.call("POST", "/api/v1/people/alice/addresses", {"agent": "pager", "value": "alice@example.org", "is_verified": True}, 201)
    await bench.post(to=["alice"], subject="done")
    await bench.work()
    (delivery,) = await bench.store.list_deliveries(states=[State.DELIVERED], agent="mail")
    assert pager.letters == []
    await bring(inlet, return_path(BASE, bench.house.secret, delivery.delivery_id), FAILED)
    await bench.work()
    assert "done" in [letter.message.subject for letter in pager.letters]


WORDS = "From: MAILER-DAEMON@mx.example.org\nSubject: failure notice\n\n<alice@example.org>:\nSorry, {why}\n\n--- Below this line is a copy of the message.\n\n5.1.1\n"


@pytest.mark.parametrize(
    ("why", "after"),
    [("no mailbox here by that name. (#5.1.1)", AddressState.BOUNCING), ("I wasn't able to establish a connection.", AddressState.OK)],
)
async def test_a_report_in_words_counts_and_what_names_no_reason_ends_nothing(bench, inlet, sent, why, after):
    await bring(inlet, sent, WORDS.format(why=why))
    assert await state(bench) is after
    told = await why_of(bench)
    assert (told["state"], told["reason"]) == ("bounced", "came_back")


@pytest.mark.parametrize(
    "text", [REPORT.format(action="delayed", status="4.4.1"), "Subject: I am away\nAuto-Submitted: auto-replied\n\nBack on Monday.\n"]
)
async def test_delays_and_absence_notes_are_taken_and_forgotten(bench, inlet, sent, text):
    await bring(inlet, sent, text)
    assert await state(bench) is AddressState.OK


async def test_a_forged_return_path_is_refused(bench, inlet, sent):
    forged = sent.replace("@", "x@") if sent[sent.index("@") - 1] != "x" else sent.replace("@", "y@")
    for path in (forged, BASE, return_path(BASE, b"another", delivery_of(sent, bench.house.secret)), "bounce+ключ-ложь@example.org"):
        assert delivery_of(path, bench.house.secret) is None
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        await bring(inlet, forged, FAILED)
    assert await state(bench) is AddressState.OK


async def test_huge_mail_is_refused(bench, inlet, sent):
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        await bring(inlet, sent, FAILED + "x" * 70 + "\n" + ("y" * 70 + "\n") * (MOST_BYTES // 70))
    assert refused.value.smtp_code == 552
    assert await state(bench) is AddressState.OK


@pytest.mark.parametrize("raw", [b"", b"\xff\0", b"Content-Type: multipart/report\n\nnothing", FAILED.encode()[:300]])
def test_a_broken_report_says_nothing(raw):
    assert bounce_in(parsed(raw)) is None


def test_a_return_path_survives_a_server_that_changes_its_case():
    path = return_path(BASE, b"secret", 1 << 60)
    assert len(path.partition("@")[0]) <= 64
    assert delivery_of(path.upper(), b"secret") == 1 << 60


def test_a_return_path_is_one_plain_address():
    for wrong in ("bounce", "a b@example.org", f"{'a' * 33}@example.org", "a+b@example.org"):
        with pytest.raises(BadSettings):
            MailAgent(MailSettings(return_path=wrong))


async def test_each_letter_leaves_with_its_own_return_path(bench):
    paths = {}

    class Road:
        async def send(self, sender, envelope, key):
            paths[key] = sender
            return Sent("ok")

    bench.mail = MailAgent(MailSettings(return_path=BASE), Surroundings(secret=bench.house.secret))
    bench.mail._road = Road()
    bench.relay._lanes["mail"].agent = bench.mail
    await bench.person("alice")
    for number in range(2):
        await bench.post(to=["alice"], subject=str(number))
    await bench.work()
    assert len(paths) == 2
    assert all(delivery_of(path, bench.house.secret) == key for key, path in paths.items())


async def test_the_house_takes_mail_where_a_port_is_set(house):
    settings = replace(house.settings, mail_inlet=MailInletSettings(port=2525, url="imaps://hub:secret@mail.example.org"))
    assert [made.name for made in make_mail_inlets(settings, house.store, house._door, now)] == ["mail", "mailbox"]
    assert house.mail_inlets == []
