"""Answers and bounces through a real mail server, by LMTP and out of a mailbox: what is taken is never lost, and done once."""

import asyncio
import email
import smtplib
from dataclasses import replace
from email.message import EmailMessage

import pytest

from angelia.agent import Surroundings
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.flow.clock import now as clock
from angelia.inlet import Draft
from angelia.inlets.mail.door import MOST_BYTES
from angelia.inlets.mail.mailbox import ImapMailbox, MailboxFailed
from angelia.inlets.mail.settings import MailInletSettings
from angelia.making import make_mail_inlets
from angelia.model.errors import StoreUnavailable
from angelia.model.message import Message, Recipient, Sender
from angelia.model.payload import payload_of
from angelia.model.person import Address, AddressState, Person

LIMIT = 60.0  # seconds; every wait ends as soon as it is over


class Site:
    """A house that sends by the real server, with the stages turned by hand, and what comes back running."""

    def __init__(self, house, server):
        self.house, self.server, self.store = house, server, house.store
        self.stages = {stage.name: stage for stage in house.stages}
        self.running = []

    async def send_with(self, base):
        """All mail from now on has this address for answers and reports."""
        url = f"smtp://127.0.0.1:{self.server.plain}"
        settings = MailSettings(
            url=url, sender="hub@test.example", domain="test.example", answers=f"{base[0]}@test.example", return_path=f"{base[1]}@test.example"
        )
        agent = MailAgent(settings, Surroundings(secret=self.house.secret))
        self.stages["relay"]._lanes["mail"].agent = agent
        return agent

    async def person(self, login, value):
        person = await self.store.put_person(Person(person_id=0, login=login))
        await self.store.put_wants(login, {"preferences": {"*": {"web": "now", "mail": "now"}}}, follows=[], rules=[], expected_version=None)
        address = Address(address_id=0, person_id=person.person_id, agent="mail", value=value, state=AddressState.OK, is_default=True)
        return person, await self.store.add_address(address)

    async def post(self, login, subject):
        at = clock()
        message = Message(
            message_id=0,
            source="ci",
            type="a.b",
            received_at=at,
            occurred_at=at,
            sender=Sender("ci"),
            recipients=(Recipient(login),),
            subject=subject,
        )
        (receipt,) = await self.house.intake.accept("ci", [Draft("a.b", payload_of(message), subject)])
        await self.work()
        return receipt.message_id

    async def work(self):
        await self.house.people.refresh()
        relay = self.stages["relay"]
        while await self.stages["planner"].turn(clock()) + await relay.turn(clock()):
            while relay._tries:
                await asyncio.wait(relay._tries)
            if relay._flusher is not None:
                await relay._flusher

    def take(self, **settings):
        """Start what takes mail."""
        made = make_mail_inlets(replace(self.house.settings, mail_inlet=MailInletSettings(**settings)), self.store, self.house._door, clock)
        self.running += [asyncio.create_task(inlet.run(self.house.intake.accept)) for inlet in made]
        return made[0]

    def box(self, scheme="imaps", **more):
        """Start to read the mailbox."""
        port = self.server.imaps if scheme == "imaps" else self.server.imap
        return self.take(url=f"{scheme}://box:secret@localhost:{port}/INBOX", ca_file=self.server.ca_file, **more)

    async def reply(self, login, to, **headers):
        """As a mail program does it."""
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = f"{login}@test.example", to, "Re: done"
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        mail.set_content("I do it.")
        await asyncio.to_thread(self.hand_in, f"{login}@test.example", to, mail.as_bytes())

    def hand_in(self, sender, to, raw):
        with smtplib.SMTP("127.0.0.1", self.server.plain, timeout=30) as connection:
            connection.sendmail(sender, [to], raw)

    async def letter(self, login):
        return email.message_from_bytes((await asyncio.to_thread(self.server.wait_for, login, 1))[-1])

    async def stop(self):
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        self.running.clear()


async def until(look):
    """Ask until the answer is true; it is returned."""
    async with asyncio.timeout(LIMIT):
        while not (found := await look()):
            await asyncio.sleep(0.05)
    return found


@pytest.fixture
async def site(house, mail_server):
    made = Site(house, mail_server)
    yield made
    await made.stop()
    await made.stages["relay"]._lanes["mail"].agent.close()


async def acknowledged(site, message_id):
    return [answer.acknowledged_by for answer in (await site.store.answers([message_id])).get(message_id, []) if answer.acknowledged_at is not None]


async def state_of(site, address):
    return (await site.store.address(address.address_id)).state


@pytest.mark.timeout(240)
async def test_what_the_mail_server_brings_answers_and_bounces(site):
    """By LMTP: her reply acknowledges; a mail that was taken and then failed ends its address by the server's own report."""
    site.take(port=site.server.lmtp)
    await site.send_with(("answer", "bounce"))
    await site.person("alice", "alice@test.example")
    _, gone = await site.person("bob", "gone@test.example")
    _, full = await site.person("carol", "brim@test.example")
    message_id = await site.post("alice", "done")
    await site.reply("alice", (await site.letter("alice"))["Reply-To"])
    assert await until(lambda: acknowledged(site, message_id)) == ["mail"]
    to_bob, to_carol = await site.post("bob", "for bob"), await site.post("carol", "for carol")

    async def both_came_back():
        trails = [await site.store.trail(to_bob, gone.person_id), await site.store.trail(to_carol, full.person_id)]
        told = [one for trail in trails for one in trail if one.agent == "mail" and one.reason == "came_back"]
        return told if len(told) == 2 else None

    told = await until(both_came_back)
    assert "no such user" in told[0].last_error and "mailbox full" in told[1].last_error
    assert (await state_of(site, gone), await state_of(site, full)) == (AddressState.BOUNCING, AddressState.OK)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scheme", ["imaps", "imap+starttls"])
async def test_a_mailbox_is_read_and_put_away(site, scheme):
    inlet = site.box(scheme, done="Taken")
    await site.send_with(("box", "box"))
    await site.person("alice", "alice@test.example")
    _, gone = await site.person("bob", "gone@test.example")
    message_id = await site.post("alice", "done")
    reply_to = (await site.letter("alice"))["Reply-To"]
    await site.reply("alice", reply_to, Auto_Submitted="auto-replied")  # her absence note
    await site.reply("bob", "box@test.example")  # nobody's answer: it stays
    await asyncio.to_thread(site.server.wait_for, "box", 1, LIMIT, "Taken")
    assert await acknowledged(site, message_id) == []
    await site.reply("alice", reply_to)
    assert await until(lambda: acknowledged(site, message_id)) == ["mail"]
    await site.post("bob", "for bob")

    async def is_bouncing():
        return await state_of(site, gone) is AddressState.BOUNCING

    await until(is_bouncing)
    assert len(await asyncio.to_thread(site.server.wait_for, "box", 3, LIMIT, "Taken")) == 3
    assert len(await asyncio.to_thread(site.server.fetch, "box")) == 1
    assert inlet.fault == ""


@pytest.mark.timeout(240)
async def test_a_mail_is_put_away_only_after_the_commit(site, monkeypatch):
    """Killed after each step, the database away: it comes again, and is done once. Without IDLE it is looked for."""
    calls, take, taken = [], site.house._door().__class__.take, ImapMailbox.taken

    async def take_badly(self, meaning, raw, sender):
        calls.append("take")
        if calls.count("take") == 1:
            raise StoreUnavailable("the disk is full")
        return await take(self, meaning, raw, sender)

    def taken_badly(self, uid):
        calls.append("taken")
        if calls.count("taken") == 1:
            raise MailboxFailed("cut off")
        if calls.count("taken") == 2:
            raise KeyError("a bug")
        taken(self, uid)

    monkeypatch.setattr(site.house._door().__class__, "take", take_badly)
    monkeypatch.setattr(ImapMailbox, "taken", taken_badly)
    monkeypatch.setattr(ImapMailbox, "can_wait", False)
    await site.send_with(("box", "box"))
    await site.person("alice", "alice@test.example")
    message_id = await site.post("alice", "done")
    await site.reply("alice", (await site.letter("alice"))["Reply-To"])
    inlet = site.box("imap", every=1)

    async def is_put_away():
        return calls.count("taken") == 3 and not inlet.fault

    await until(is_put_away)
    assert calls == ["take"] + ["take", "taken"] * 3
    assert await acknowledged(site, message_id) == ["mail"]
    assert len(await site.store.answers([message_id])) == 1


@pytest.mark.timeout(240)
async def test_what_can_not_be_taken_is_put_aside_and_what_follows_is_taken(site):
    await site.send_with(("box", "box"))
    await site.person("alice", "alice@test.example")
    message_id = await site.post("alice", "done")
    reply_to = (await site.letter("alice"))["Reply-To"]
    huge = f"From: alice@test.example\r\nTo: {reply_to}\r\nMessage-ID: <huge@test.example>\r\n\r\n".encode() + (b"x" * 70 + b"\r\n") * (
        MOST_BYTES // 70
    )
    await asyncio.to_thread(site.hand_in, "alice@test.example", reply_to, huge)
    await asyncio.to_thread(site.server.wait_for, "box", 1)
    await site.reply("alice", reply_to)
    inlet = site.box()
    assert await until(lambda: acknowledged(site, message_id)) == ["mail"]
    note, mail = await asyncio.to_thread(site.server.wait_for, "box", 2, LIMIT, "Not taken")
    note = email.message_from_bytes(note)
    assert "larger than" in note["X-Angelia-Aside"] and "larger than" in note["Subject"].replace("\r\n", "")
    assert (note["In-Reply-To"], note["Auto-Submitted"]) == ("<huge@test.example>", "auto-generated")
    assert len(mail) > MOST_BYTES and inlet.fault == ""


@pytest.mark.timeout(240)
async def test_large_mail_to_none_of_our_addresses_stays_as_it_lies(site):
    await site.send_with(("box", "box"))
    await site.person("alice", "alice@test.example")
    message_id = await site.post("alice", "done")
    reply_to = (await site.letter("alice"))["Reply-To"]
    huge = b"From: bob@test.example\r\nTo: box@test.example\r\nSubject: pictures\r\n\r\n" + (b"x" * 70 + b"\r\n") * (MOST_BYTES // 70)
    await asyncio.to_thread(site.hand_in, "bob@test.example", "box@test.example", huge)
    await asyncio.to_thread(site.server.wait_for, "box", 1)
    await site.reply("alice", reply_to)
    site.box()
    assert await until(lambda: acknowledged(site, message_id)) == ["mail"]
    assert "pictures" in {email.message_from_bytes(mail)["Subject"] for mail in await asyncio.to_thread(site.server.fetch, "box")}
    assert await asyncio.to_thread(site.server.fetch, "box", "Not taken") == []


@pytest.mark.timeout(240)
async def test_a_server_that_goes_and_comes_back_loses_nothing(site):
    """Cut off while it waits; then the folder is another one (its UIDVALIDITY changed)."""
    inlet = site.box()
    await site.send_with(("box", "box"))
    await site.person("alice", "alice@test.example")
    first = await site.post("alice", "one")
    await site.reply("alice", (await site.letter("alice"))["Reply-To"])
    assert await until(lambda: acknowledged(site, first)) == ["mail"]
    await asyncio.to_thread(site.server.restart_mailboxes)
    await asyncio.to_thread(site.server.empty)
    second = await site.post("alice", "two")
    await site.reply("alice", (await site.letter("alice"))["Reply-To"])
    assert await until(lambda: acknowledged(site, second)) == ["mail"]

    async def is_well():
        return not inlet.fault

    await until(is_well)


@pytest.mark.timeout(240)
async def test_a_foreign_certificate_and_a_wrong_folder_are_faults(site):
    untrusting = site.take(url=f"imaps://box:secret@localhost:{site.server.imaps}/INBOX")
    nowhere = site.take(url=f"imap://box:secret@localhost:{site.server.imap}/Nowhere")

    async def faults():
        return untrusting.fault and nowhere.fault and (untrusting.fault, nowhere.fault)

    certificate, folder = await until(faults)
    assert "certificate" in certificate.lower()
    assert "nowhere" in folder.lower() or "exist" in folder.lower()
    assert "secret" not in certificate + folder
