"""Answers by mail: a signed address does one thing for one person; machines, strangers and latecomers do nothing."""

import asyncio
import re
import smtplib
from datetime import timedelta

import pytest

from angelia.agent import Surroundings
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.inlets.mail.door import ReturnTo
from angelia.inlets.mail.reading import came_to, parsed
from angelia.model.delivery import Sent, State
from angelia.model.errors import BadSettings, NotFound, StoreUnavailable
from angelia.model.moments import number_of
from angelia.model.return_path import Verb, answer_of, answer_path

BASE = "answer@example.org"
FROM = "From: Alice <alice@example.org>\n"
PLAIN = FROM + "Subject: Re: done\n\nI do it.\n"
MACHINES = {
    "RFC 3834": FROM + "Auto-Submitted: auto-replied (vacation)\n\n",
    "bulk": FROM + "Precedence: bulk\n\n",
    "old": FROM + "X-Autoreply: yes\n\n",
    "words": FROM + "Subject: Automatic reply: done\n\nI am away.\n",
    "our own letter": FROM + "X-Angelia-Type: a.b\n\n",
    "mailing list": FROM + "List-Id: <x.example.org>\n\n",
    "receipt": FROM + 'Content-Type: multipart/report; report-type=disposition-notification; boundary="b"\n\n--b--\n',
    "server": "From: MAILER-DAEMON@example.org\n\n",
    "nobody": "Subject: hello\n\n",
}


class Box:
    """A road that keeps what it is given."""

    def __init__(self):
        self.mails, self.raws = [], []

    async def send(self, sender, envelope, key):
        self.raws.append(envelope.raw.decode())
        self.mails.append(parsed(envelope.raw))
        return Sent("ok")

    async def close(self):
        pass


@pytest.fixture
async def box(bench):
    """Mail leaves with answers, into this box."""
    agent = MailAgent(MailSettings(answers=BASE, return_path="bounce@example.org"), Surroundings(secret=bench.house.secret))
    agent._road = made = Box()
    bench.relay._lanes["mail"].agent = agent
    return made


async def bring(inlet, to, text=PLAIN, sender="alice@example.org"):
    def work():
        with smtplib.LMTP("127.0.0.1", inlet.port, timeout=30) as server:
            return server.sendmail(sender, [to], text.encode())

    return await asyncio.to_thread(work)


def address_for(mail, verb):
    """From the bytes that she got."""
    if verb == "a":
        return mail["Reply-To"]
    if verb == "u":
        return mail["List-Unsubscribe"].partition("<mailto:")[2].partition(">")[0]
    text = mail.get_payload()[0].get_payload(decode=True).decode()
    found = [line.partition("mailto:")[2].partition("?")[0] for line in text.splitlines() if "mailto:" in line]
    return next(address for address in found if answer_of(address).verb == verb)


async def told(bench, message, login="alice"):
    return (await bench.why(message, login))["answers"]


async def test_a_reply_acknowledges_and_a_link_marks_as_seen(bench, box, inlet):
    await bench.person("alice")
    first = await bench.post(to=["alice"], subject="one", object="KDE/okular")
    second = await bench.post(to=["alice"], subject="two")
    await bench.work()
    by_subject = {mail["Subject"]: mail for mail in box.mails}
    await bring(inlet, address_for(by_subject["one"], "a"))
    await bring(inlet, address_for(by_subject["two"], "s"))
    (answer,) = await told(bench, first)
    assert answer["acknowledged_by"] == "mail"
    (answer,) = await told(bench, second)
    assert (answer["seen_by"], answer["acknowledged_at"]) == ("mail", None)
    await bring(inlet, address_for(by_subject["one"], "a").upper())  # again, through a server that changes the case
    assert len(await told(bench, first)) == 1


async def test_a_digest_is_answered_for_all_that_is_in_it(bench, box, inlet):
    await bench.person("alice", preferences={"preferences": {"*": {"mail": "daily"}}})
    messages = [await bench.post(to=["alice"], subject=str(number)) for number in range(3)]
    await bench.work()
    await bench.work(bench.now + timedelta(days=1))
    (mail,) = box.mails
    assert mail["X-Angelia-Digest"] and mail["List-Id"] == "<daily.digest.localhost>"
    await bring(inlet, address_for(mail, "a"))
    for message in messages:
        assert [answer["acknowledged_by"] for answer in await told(bench, message)] == ["mail"]


async def test_unsubscribe_ends_the_type_or_the_rule_and_mute_the_object(bench, box, inlet):
    rules = [{"id": "r1", "type": "obs", "do": {"mail": "now"}}]
    await bench.person("alice", preferences={"rules": rules})
    await bench.post("obs.build", subject="rule", object="KDE/okular")
    await bench.post("wiki.change", to=["alice"], subject="type", object="KDE/kate")
    await bench.work()
    mails = {mail["Subject"]: mail for mail in box.mails}
    await bring(inlet, address_for(mails["rule"], "u"))
    await bring(inlet, address_for(mails["type"], "u"), FROM + "\nunsubscribe")
    await bring(inlet, address_for(mails["type"], "m"))
    wants = await bench.call("GET", "/api/v1/people/alice/preferences", status=200)
    assert wants["rules"][0]["do"] == {"mail": "off"}
    assert wants["preferences"]["wiki.change"] == {"mail": "off"}
    assert wants["mutes"] == {"KDE/kate": "normal"}


async def test_unsubscribe_ends_all_that_is_in_a_digest(bench, box, inlet):
    rules = [{"id": "r1", "type": "obs", "do": {"mail": "daily"}}]
    await bench.person("alice", preferences={"preferences": {"*": {"mail": "daily"}}, "rules": rules})
    for kind in ("wiki.change", "wiki.change", "obs.build"):
        await bench.post(kind, to=["alice"])
    await bench.work()
    await bench.work(bench.now + timedelta(days=1))
    (mail,) = box.mails
    await bring(inlet, address_for(mail, "u"))
    wants = await bench.call("GET", "/api/v1/people/alice/preferences", status=200)
    assert wants["rules"][0]["do"] == {"mail": "off"}
    assert wants["preferences"] == {"*": {"mail": "daily"}, "wiki.change": {"mail": "off"}}


@pytest.mark.parametrize("kind", MACHINES)
async def test_no_machine_answers(bench, box, inlet, kind):
    await bench.person("alice")
    message = await bench.post(to=["alice"], subject="one", object="KDE/okular")
    await bench.work()
    (mail,) = box.mails
    for verb in Verb:
        await bring(inlet, address_for(mail, verb), MACHINES[kind])
    assert await told(bench, message) == []
    assert not await bench.call("GET", "/api/v1/people/alice/preferences", status=200)
    assert len(box.mails) == 1


async def test_a_report_to_an_answer_is_none_and_nothing_is_ever_sent_back(bench, box, inlet):
    """Fault F26: what comes with the null sender is no answer; nobody hears from us."""
    await bench.person("alice")
    message = await bench.post(to=["alice"], subject="one")
    await bench.work()
    for text in (PLAIN, box.raws[0]):
        await bring(inlet, address_for(box.mails[0], "a"), text, sender="")
    await bring(inlet, address_for(box.mails[0], "a"), box.raws[0])  # our own letter, sent round
    await bench.work()
    assert await told(bench, message) == []
    assert len(box.mails) == 1


EXCHANGE = """From: Microsoft Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example.org>
To: <hub@example.org>
Subject: Undeliverable: one

Delivery has failed to these recipients or groups:

alice@example.org<mailto:alice@example.org>
The email address you entered couldn't be found.

Diagnostic information for administrators:
#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##

Original message headers:

{head}
"""
LOST = """From: Mail Delivery System <MAILER-DAEMON@mx.example.org>
To: hub@example.org
Subject: Undelivered Mail
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; alice@example.org
Action: failed
Status: 5.1.1

--b
Content-Type: message/rfc822

{head}

text
--b--
"""


def report(form, letter):
    """A mail server's, with the head of the letter that failed."""
    head = letter.partition("\r\n\r\n")[0]
    head = "\n".join(line for line in head.splitlines() if not line.lower().startswith(("content-", "mime-")))
    return form.format(head=head).replace("\n", "\r\n")


@pytest.mark.parametrize("form", [EXCHANGE, LOST])
async def test_a_server_that_reports_to_where_answers_go_is_heard(bench, box, inlet, form):
    await bench.person("alice")
    message = await bench.post(to=["alice"], subject="one", object="KDE/okular")
    await bench.work()
    await bring(inlet, address_for(box.mails[0], "a"), report(form, box.raws[0]), sender="")
    (delivery,) = await bench.store.list_deliveries(states=[State.BOUNCED], agent="mail")
    assert delivery.message_id == number_of("msg", message) and await told(bench, message) == []


@pytest.mark.parametrize("form", [EXCHANGE, LOST])
async def test_a_report_to_the_sender_tells_by_the_copy_in_it_which_letter_failed(bench, box, inlet, form):
    """As it lies in a mailbox: sent to the address that the letter names as its sender."""
    await bench.person("alice")
    await bench.post(to=["alice"], subject="one", object="KDE/okular")
    await bench.work()
    door, (sent,) = inlet._door, await bench.store.list_deliveries(states=[State.DELIVERED], agent="mail")
    assert await door.meaning_of(parsed(report(form, box.raws[0]).encode())) == ReturnTo(sent.delivery_id)
    told = report(form, box.raws[0])
    forged = re.sub("-[a-z2-7]{16}@", f"-{'a' * 16}@", told)
    assert forged != told and await door.meaning_of(parsed(forged.encode())) is None
    # Whoever answers quotes what is answered, and is no mail server.
    answered = re.sub("^From: .*", "From: bob@example.org", told).replace("multipart/report", "multipart/mixed")
    assert await door.meaning_of(parsed(answered.encode())) is None


async def test_an_answer_is_of_one_person_one_delivery_and_one_time(bench, box, inlet):
    await bench.person("alice")
    await bench.person("bob")
    message = await bench.post(to=["alice", "bob"], subject="one")
    await bench.work()
    of_alice = next(address_for(mail, "a") for mail in box.mails if mail["To"].startswith("alice"))
    alice, bob = [(await bench.store.person(login)).person_id for login in ("alice", "bob")]
    known = answer_of(of_alice)
    forged = [
        of_alice.replace("+a", "+u"),
        of_alice[:-14] + ("x" if of_alice[-14] != "x" else "y") + of_alice[-13:],
        answer_path(BASE, b"another", Verb.ACKNOWLEDGE, known.delivery_id, alice, known.expires_at),
        answer_path(BASE, bench.house.secret, Verb.ACKNOWLEDGE, known.delivery_id, bob, known.expires_at - timedelta(days=1)),
        answer_path(BASE, bench.house.secret, Verb.ACKNOWLEDGE, 4711, alice, known.expires_at),
        BASE,
    ]
    for address in forged:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            await bring(inlet, address)
        assert refused.value.recipients[address][0] == 550
    bench.now = known.expires_at
    with pytest.raises(smtplib.SMTPRecipientsRefused, match="too late"):
        await bring(inlet, of_alice)
    bench.now = known.expires_at - timedelta(seconds=1)
    await bring(inlet, of_alice)
    assert [answer["login"] for answer in await told(bench, message)] == ["alice"]


async def test_a_mailing_list_and_a_letter_without_object_offer_less(bench, box):
    await bench.person("alice")
    await bench.call("PUT", "/api/v1/groups/qa", {"members": [], "addresses": {"mail": "qa@example.org"}}, 200)
    await bench.post(to=["alice", "group:qa"], subject="one")
    await bench.work()
    mails = {mail["To"]: mail for mail in box.mails}
    assert mails["qa@example.org"]["Reply-To"] is None and "mailto:" not in mails["qa@example.org"].as_string()
    with pytest.raises(StopIteration):
        address_for(mails["alice@example.org"], "m")


@pytest.mark.parametrize(("error", "code"), [(StoreUnavailable("down"), 451), (NotFound("gone"), 554), (RecursionError("deep"), 554)])
async def test_what_can_not_be_recorded_is_not_acknowledged(bench, box, inlet, monkeypatch, error, code):
    await bench.person("alice")
    await bench.post(to=["alice"], subject="one")
    await bench.work()

    async def fail(*_):
        raise error

    monkeypatch.setattr(inlet._door, "take", fail)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        await bring(inlet, address_for(box.mails[0], "a"))
    assert refused.value.smtp_code == code


def test_without_an_address_for_answers_letters_offer_none_and_bad_ones_are_refused():
    for wrong in ("answer", "a b@example.org", f"{'a' * 25}@example.org", "a+b@example.org"):
        with pytest.raises(BadSettings):
            MailAgent(MailSettings(answers=wrong))
    with pytest.raises(BadSettings):
        MailSettings(answers_days=0)


def test_the_address_it_came_by_is_found_in_its_head_only():
    mail = parsed(
        b"Delivered-To: answer+x@example.org\nReply-To: other@example.org\nTo: =?broken, Alice <a@example.org>,\n b@example.org\n\nTo: c@example.org\n"
    )
    assert came_to(mail)[0] == "answer+x@example.org"
    assert not {"other@example.org", "c@example.org"} & set(came_to(mail))
