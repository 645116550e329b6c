"""How long does it take to try one rule on 30 days of history, 10,000 messages, and how long does the event loop wait meanwhile?"""

import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

import asyncpg
import uvloop

from angelia import telemetry
from angelia.flow.history import reach_on_history, try_on_history
from angelia.flow.wants import save_wants
from angelia.model.delivery import Reason
from angelia.model.message import Message, Recipient
from angelia.model.moments import first_id, to_us
from angelia.model.payload import payload_of
from angelia.model.person import Person
from angelia.planning.decision import Decision, Verdict
from angelia.planning.document import parse_site, parse_wants
from angelia.store import LedgerRow, NewMessage, Plan
from angelia.stores.sql import SqlStore, open_store, upgrade
from angelia_testing.peers.postgresql import PostgreSQL

MESSAGES = 10_000
NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
SITE = {
    "preferences": {"*": {"web": "now", "mail": "now"}, "obs.build": {"mail": "hourly"}},
    "audience": {"obs.build.fail": ["maintainer"], "obs.request": ["reviewer"]},
    "schedules": {"hourly": {"every": "hour"}, "daily": {"every": "day", "at": ["08:00"]}},
}
KINDS = ("obs.build.fail", "obs.build.success", "obs.request.review", "instrument.measurement.end")


def a_message(number: int) -> Message:
    at = NOW - timedelta(days=30) * ((MESSAGES - number) / (MESSAGES + 1))
    package = f"package{number % 300}"
    return Message(
        message_id=first_id(at) + number, source="ci", type=KINDS[number % 4], received_at=at, occurred_at=at, subject=f"{package} failed to build",
        body="ld: cannot find -lpoppler\n" * 8, object=f"KDE/{package}", recipients=(Recipient("alice"),) if number % 3 == 0 else (),
        params={"project": "KDE", "package": package, "arch": ("x86_64", "s390x")[number % 2]}, tags=(("team", "desktop"),),
        collapse_key=f"KDE/{package}",
    )  # fmt: skip


def a_document(rules: int) -> dict[str, object]:
    return {
        "preferences": {"obs": {"mail": "daily"}, "wiki": {"mail": "off"}},
        "quiet": ["22:00", "07:00"],
        "rules": [
            {"id": f"r{n}", "type": f"obs.kind{n}" if n % 2 else "obs.build", "when": {"package": [f"package{n}"]}, "do": {"mail": "now"}}
            for n in range(rules)
        ],
    }


async def fill(store: SqlStore) -> None:
    person = await store.put_person(Person(person_id=0, login="alice", time_zone="Europe/Berlin"))
    await store.put_relations("KDE/package1", {"maintainer": ["alice"]})
    messages = [a_message(number) for number in range(MESSAGES)]
    decided = (Decision("web", Verdict.NOW, Reason.CHOSEN, "site:*"), Decision("mail", Verdict.NOW, Reason.CHOSEN, "site:*"))
    for start in range(0, MESSAGES, 1_000):
        some = messages[start : start + 1_000]
        await store.add_messages([NewMessage(m.message_id, m.source, m.type, to_us(m.received_at), payload_of(m)) for m in some])
        claimed = await store.claim_messages(1_000, timedelta(minutes=1), NOW)
        plans = [
            Plan(c.message, c.fence, [LedgerRow(c.message.message_id, person.person_id, ("to",), decided, NOW)] if c.message.recipients else [])
            for c in claimed
        ]
        await store.record_plans(plans, [], [], NOW)


async def gaps(longest: list[float]) -> None:
    """The longest time for which nobody else had the loop."""
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.001)
        longest.append(time.perf_counter() - before - 0.001)


async def measure(store: SqlStore, name: str) -> None:
    site = parse_site(SITE)
    rule = {"id": "new", "type": "obs.build.fail", "when": {"project": ["KDE"]}, "do": {"mail": "daily"}}
    for rules in (0, 20, 100):
        await save_wants(store, "alice", a_document(rules), None, site, NOW)
        document, _ = await store.wants("alice")
        stored = document["rules"]
        assert isinstance(stored, list)
        one_rule = {**document, "rules": [*stored, rule]}
        everything = {**document, "preferences": {"*": {"mail": "daily"}}}
        for what, tried, probe in (("one rule", one_rule, "new"), ("preferences", everything, "")):
            times: list[float] = []
            longest: list[float] = []
            watching = asyncio.create_task(gaps(longest))
            for _ in range(7):
                began = time.perf_counter()
                answer = await try_on_history(store, site, "alice", tried, NOW, 30, probe)
                times.append(time.perf_counter() - began)
            watching.cancel()
            assert answer["messages"] == MESSAGES
            print(f"| {name} | {what} | {rules} | {statistics.median(times):.2f} | {max(times):.2f} | {1e3 * max(longest):.0f} |", flush=True)
        began = time.perf_counter()
        await reach_on_history(store, site, "alice", parse_wants(one_rule, known_schedules=site.schedules).rules, NOW - timedelta(days=90), 500)
        print(f"| {name} | which are reached, 500 messages | {rules + 1} | {time.perf_counter() - began:.2f} | | |", flush=True)


async def on(url: str, name: str) -> None:
    await asyncio.to_thread(upgrade, url)
    store = await open_store(url)
    try:
        await fill(store)
        if url.startswith("postgresql"):
            # As the server itself does within minutes; right after the filling it knows nothing of the tables.
            server = await asyncpg.connect(url)
            await server.execute("VACUUM ANALYZE")
            await server.close()
        await measure(store, name)
    finally:
        await store.close()


def main() -> None:
    telemetry.configure_logs("json", "error")
    print("Aim: below 1 s for 10,000 messages.\n")
    print("| store | tried | rules | median s | max s | longest wait of the loop ms |\n|---|---|---|---|---|---|")
    if "sqlite" in sys.argv[1:] or len(sys.argv) == 1:
        with tempfile.TemporaryDirectory() as folder:
            uvloop.run(on(f"sqlite:///{folder}/angelia.db", "SQLite"))
    if "postgresql" in sys.argv[1:] or len(sys.argv) == 1:
        cluster = PostgreSQL()
        try:
            uvloop.run(on(cluster.database(), "PostgreSQL"))
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
