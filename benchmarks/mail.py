"""How many personal mails a second are rendered, built, sent and settled by one process? Beside it: EmailMessage with the same SMTP library.

The agent alone shows what mail costs; the relay, over a store with that many mails due, what one process does with them.
"""

import asyncio
import json
import os
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from email.message import EmailMessage

import aiosmtplib
import uvloop

from angelia import telemetry
from angelia.agent import Letter
from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.house import House
from angelia.inlet import Draft
from angelia.model.delivery import Delivery, Sent, State
from angelia.model.message import Message
from angelia.model.person import Address, AddressState, Person
from angelia.rendering.render import footer_of, render_message
from angelia.serving import sweep_seldom
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.peers.process import free_port

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
COUNT, PEOPLE, CONNECTIONS = 6_000, 500, 20
ENDED = {"channel": "mail", "result": "delivered", "reason": "chosen"}


def letter(number: int) -> Letter:
    message = Message(
        message_id=number, source="ci", type="obs.build.fail", received_at=NOW, occurred_at=NOW, subject=f"okular {number} failed",
        body="ld: cannot find -lpoppler\n" * 10, object="KDE/okular", params={"arch": "x86_64"}, tags=(("priority", "4"),),
    )  # fmt: skip
    delivery = Delivery(delivery_id=number, person_id=number, agent="mail", address_id=1, state=State.SENDING, due_at=NOW)
    return Letter(
        delivery=delivery, person=Person(person_id=number, login=f"p{number}", time_zone="Europe/Berlin"), message=message, because=("to",),
        address=Address(address_id=1, person_id=number, agent="mail", value=f"p{number}@example.org", state=AddressState.OK),
        decided_by="site:*", unsubscribe_url=f"https://hub.example.org/unsubscribe/{number:040d}", web_url="https://hub.example.org/m/1",
    )  # fmt: skip


async def ours(port: int) -> tuple[float, float]:
    agent = MailAgent(MailSettings(url=f"smtp://127.0.0.1:{port}", sender="hub@example.org", domain="example.org"))
    letters = [letter(number) for number in range(1, COUNT + 1)]
    began, used = time.perf_counter(), time.process_time()

    async def sender(mine: list[Letter]) -> None:
        for one in mine:
            assert isinstance(await agent.deliver(one), Sent)

    await asyncio.gather(*(sender(letters[start::CONNECTIONS]) for start in range(CONNECTIONS)))
    took, used = time.perf_counter() - began, time.process_time() - used
    await agent.close()
    return COUNT / took, used / COUNT * 1e6


async def relayed(port: int) -> tuple[float, float]:
    """Mails a second from due to settled, and microseconds of processor for each: planned before, over SQLite with flushing on."""
    telemetry.configure_logs("json", "error")
    with tempfile.TemporaryDirectory() as folder:
        mail = {"url": f"smtp://127.0.0.1:{port}", "sender": "hub@example.org", "domain": "example.org"}
        settings = load(environment={}, overrides={"house": {"data_dir": folder}, "agents": {"mail": mail}})
        await asyncio.to_thread(upgrade, settings.database)
        async with House.open(settings) as house:
            sweep_seldom()
            await house.store.put_site({"preferences": {"*": {"mail": "now"}}, "hourly_cap": 100_000})
            for number in range(PEOPLE):
                person = await house.store.put_person(Person(person_id=0, login=f"p{number}", time_zone="Europe/Berlin"))
                await house.store.add_address(
                    Address(
                        address_id=0,
                        person_id=person.person_id,
                        agent="mail",
                        value=f"{person.login}@example.org",
                        state=AddressState.OK,
                        is_default=True,
                    )
                )
            await house.refresh()
            await house.intake.accept("ci", [draft(number) for number in range(COUNT)])
            while await house.stages[0].turn(datetime.now(UTC)):
                pass
            assert (await house.store.conservation())[State.DUE] == COUNT
            before = ended()
            began, used = time.perf_counter(), time.process_time()
            working = asyncio.create_task(house.work())
            # The metric, not the store: to count its rows all the time took a tenth of the processor that was measured.
            while ended() - before < COUNT:
                await asyncio.sleep(0.05)
            while (await house.store.conservation()).get(State.DELIVERED, 0) < COUNT:
                await asyncio.sleep(0.01)
            took, used = time.perf_counter() - began, time.process_time() - used
            house.stop()
            await working
    return COUNT / took, used / COUNT * 1e6


def ended() -> float:
    """How many mails this process ended in all, says its metric."""
    return telemetry.registry.get_sample_value("angelia_deliveries_total", ENDED) or 0.0


def draft(number: int) -> Draft:
    """The message of `letter`, on its way in."""
    message = {
        "type": "obs.build.fail", "to": [{"id": f"p{number % PEOPLE}"}], "subject": f"okular {number} failed", "object": "KDE/okular",
        "body": "ld: cannot find -lpoppler\n" * 10, "params": {"arch": "x86_64"}, "tags": [["priority", "4"]],
    }  # fmt: skip
    return Draft("obs.build.fail", json.dumps(message))


async def plain(port: int) -> tuple[float, float]:
    letters = [letter(number) for number in range(1, COUNT // 6 + 1)]
    began, used = time.perf_counter(), time.process_time()

    async def sender(mine: list[Letter]) -> None:
        connection = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, use_tls=False)
        await connection.connect()
        for one in mine:
            content, footer = render_message(one, "mail", "full", dict), footer_of(one)
            mail = EmailMessage()
            mail["From"], mail["To"], mail["Subject"] = "hub@example.org", one.address.value, content.subject
            mail["List-Unsubscribe"], mail["Auto-Submitted"] = f"<{one.unsubscribe_url}>", "auto-generated"
            mail.set_content(content.text + footer.why)
            mail.add_alternative(content.html + footer.why, subtype="html")
            await connection.sendmail("hub@example.org", [one.address.value], mail.as_bytes())
        await connection.quit()

    await asyncio.gather(*(sender(letters[start::CONNECTIONS]) for start in range(CONNECTIONS)))
    return len(letters) / (time.perf_counter() - began), (time.process_time() - used) / len(letters) * 1e6


def main() -> None:
    port = free_port()
    sink = subprocess.Popen(["smtp-sink", *(["-u", "nobody"] if os.geteuid() == 0 else []), f"127.0.0.1:{port}", "1000"])
    try:
        time.sleep(0.5)
        runs: list[list[tuple[float, float]]] = [[], [], []]
        for _ in range(2):  # in turns, so that a busy minute is everybody's
            for way, scene in zip(runs, (plain, ours, relayed), strict=True):
                way.append(uvloop.run(scene(port)))
        source = from_c(port)
    finally:
        sink.terminate()
    (theirs, dear), (mine, cheap), (whole, used) = ((max(rate for rate, _ in way), min(cost for _, cost in way)) for way in runs)
    print("| what | mails/s | us of processor each | aim 4 x EmailMessage | of smtp-source |\n|---|---|---|---|---|")
    for what, rate, cost in (
        ("the relay: claimed, rendered, built, sent, settled", whole, used),
        ("the agent alone: rendered, built, sent", mine, cheap),
        ("EmailMessage + aiosmtplib", theirs, dear),
    ):
        print(f"| {what} | {rate:,.0f} | {cost:.0f} | {rate / theirs:.1f} x by the clock, {dear / cost:.1f} x by processor | {rate / source:.2f} |")
    print(f"| smtp-source (C) | {source:,.0f} | | | 1 |\n\nAims: 2,500 mails/s, and 4 x EmailMessage.")


def from_c(port: int) -> float:
    """What a program in C sends, with as many connections."""
    argv = ["smtp-source", "-d", "-s", str(CONNECTIONS), "-m", "20000", "-l", "2500", "-f", "a@b.org", "-t", "c@d.org", f"127.0.0.1:{port}"]
    began = time.perf_counter()
    subprocess.run(argv, check=True)
    return 20_000 / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
