"""The hot queries find what they need by an index, on both databases, also where there is much else."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from angelia.model.delivery import Delivery, Reason, State
from angelia.model.expectation import Sign, SignKind
from angelia.model.message import Message
from angelia.model.moments import first_id, to_us
from angelia.model.payload import payload_of
from angelia.model.person import Person
from angelia.planning.decision import Decision, Verdict
from angelia.store import InboxQuery, LedgerRow, Plan, RuleRow, Settlement
from angelia.stores import entries
from angelia_testing.fixtures import opened
from angelia_testing.plans import Watch, scans

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
START = NOW - timedelta(days=40)
LEASE = timedelta(seconds=60)
MESSAGES, PEOPLE = 30_000, 500
SPACING_US = timedelta(days=40) // timedelta(microseconds=1) // MESSAGES

_payload = (
    payload_of(Message(message_id=1, source="ci", type="obs.build.fail", received_at=NOW, occurred_at=NOW, subject="hello"))
    .replace("{", "{{")
    .replace("}", "}}")
)
_terms = '{{"title": "t", "cron": "", "zone": "UTC", "source": "ci", "type": "", "object": "", "to": [], "every": 86400.0, "grace": 60.0, "severity": "high"}}'
_FILL = (
    "INSERT INTO messages (id, source, type, received_us, idem_key, fingerprint, payload, plan_state) "
    "SELECT {first} + n * {step}, 'ci', 'obs.build.t' || (n % 20), {start} + n * {spacing}, CASE WHEN n % 2 = 0 THEN 'key' || n END, NULL, "
    f"'{_payload}', CASE WHEN n > {MESSAGES - 20} THEN 0 ELSE 1 END FROM numbers",
    "INSERT INTO ledger (message_id, person_id, because, decisions, decided_us) SELECT {first} + n * {step}, n % 500 + 1, 'to', '[]', 5 FROM numbers",
    "INSERT INTO deliveries (id, message_id, person_id, agent, state, due_us, ended_us, lease_us, reason) SELECT {first} + n * {step} + 1, "
    "{first} + n * {step}, n % 500 + 1, CASE WHEN n % 2 = 0 THEN 'web' ELSE 'mail' END, "
    "CASE WHEN n % 2 = 0 OR n < 29000 THEN 10 WHEN n % 6 = 1 THEN 1 WHEN n % 6 = 3 THEN 2 ELSE 3 END, "
    "{start} + n * {spacing}, {start} + n * {spacing}, {start}, 'chosen' FROM numbers",
    "INSERT INTO user_types (person_id, type, messages) SELECT n % 500 + 1, 'obs.build.t' || (n / 500), 1 FROM numbers WHERE n < 10000",
    "INSERT INTO flood_marks (person_id, agent, window_us, sent) SELECT n, 'mail', 5, 5 FROM numbers WHERE n BETWEEN 1 AND 5000",
    "INSERT INTO follows (object, person_id) SELECT 'KDE/' || (n % 400), n FROM numbers WHERE n < 10000",
    "INSERT INTO repeat_marks (person_id, agent, key, sent_us) SELECT n % 500, 'mail', 'k' || n, {start} + n * {spacing} FROM numbers",
    "INSERT INTO digests (id, person_id, agent, schedule, slot_us, content) SELECT {first} + n * {step} + 2, n % 500 + 1, 'mail', 'daily', n, '' "
    "FROM numbers WHERE n < 3000",
    "INSERT INTO audit (at_us, actor, action, detail) SELECT n, 'person:p' || (n % 400), CASE WHEN n % 100 = 0 THEN 'token.add' ELSE 'sign-in' END, '0' FROM numbers",
    "INSERT INTO template_versions (key, source) SELECT 'k' || (n % 400), 'x' FROM numbers WHERE n < 9000",
    "INSERT INTO persons (login, name) SELECT 'p' || n, 'Person ' || n FROM numbers",
    "INSERT INTO expectations (person_id, terms, secret_hash, hears, state, created_us, since_us, seen_us, alarm_us) SELECT n % 500 + 1, "
    f"'{_terms}', 'hash ' || n, CASE WHEN n % 50 = 0 THEN 1 ELSE 0 END, 2, 5, 5, 5, "
    "CASE WHEN n % 3 = 0 THEN {start} + n * {spacing} * 10 END FROM numbers WHERE n < 6000",
    "INSERT INTO expectation_history (expectation_id, kind, state_before, state_after, to_tell) SELECT n % 6000 + 1, 'success', 2, 2, "
    "CASE WHEN n % 1000 = 0 THEN 1 ELSE 0 END FROM numbers",
    "INSERT INTO relations (object, role, principal) SELECT 'KDE/' || (n / 3), 'maintainer', 'p' || (n % 9000) FROM numbers",
)


def fill(connection):
    step = SPACING_US << 12
    numbers = f"WITH RECURSIVE numbers(n) AS (SELECT CAST(1 AS bigint) UNION ALL SELECT n + 1 FROM numbers WHERE n < {MESSAGES}) "
    for statement in _FILL:
        sql = statement.replace("FROM numbers", "FROM numbers ").format(first=first_id(START), step=step, start=to_us(START), spacing=SPACING_US)
        connection.exec_driver_sql(re.sub(r"(INSERT INTO .*?\)) SELECT", rf"\1 {numbers}SELECT", sql, count=1))


@pytest.fixture(params=["sqlite", "postgresql"])
async def filled(request):
    store = await opened(request.getfixturevalue(f"{request.param}_url"))
    for login in ("alice", "bob"):
        await store.put_person(Person(person_id=0, login=login))
    await store.engine.write(fill)
    # SQLite's planner is left without statistics, as it is in a hub; PostgreSQL gathers its own.
    if request.param == "postgresql":
        await store.engine.write(lambda connection: connection.exec_driver_sql("ANALYZE"))
    yield store
    await store.close()


async def hot(store, monkeypatch):
    """A turn of every stage, and what a reader does."""
    claimed = await store.claim_messages(10, LEASE, NOW)
    plan = claimed[0]
    key = plan.message.message_id
    made = Delivery(delivery_id=key + 3, person_id=7, agent="mail", address_id=0, state=State.DUE, due_at=NOW, message_id=key)
    ledger = LedgerRow(key, 7, ("to",), (Decision("mail", Verdict.NOW, Reason.CHOSEN, "site:*"),), NOW)
    await store.flood_marks([(7, "mail")], [(7, "mail", "k7")])
    await store.record_plans([Plan(plan.message, plan.fence, [ledger], [made])], [], [], NOW)
    await store.postpone_message(claimed[1].message.message_id, claimed[1].fence, NOW, "later")
    await store.next_due_at(["mail", "web"], NOW)
    await store.parked_messages(50)
    await store.listening()
    assert await store.find_silences(10, NOW) == 10  # all hear ci, of which messages wait to be planned that came after their alarms
    assert len(await store.claim_expectation_news(10, LEASE, NOW)) == 10
    await store.expectation_at("hash 3")
    await store.note_signs({3: Sign(SignKind.SUCCESS, NOW)})
    await store.expectation_history(3)
    await store.list_expectations(7)
    await store.unpark_messages([key])
    (sent, *_) = await store.claim_deliveries(["mail"], 10, LEASE, NOW)
    await store.settle([Settlement(sent.delivery_id, sent.fence, State.DELIVERED, Reason.CHOSEN)], NOW)
    await store.requeue_expired_leases(NOW)
    (slot, *_) = await store.due_slots(NOW, 10)
    (held, *_) = await store.held_items(slot, 100)
    await store.move_items([held.delivery_id], NOW)
    await store.backlog()
    for query in (InboxQuery(), InboxQuery(state="unread", subtree="obs"), InboxQuery(before_id=key), InboxQuery(is_by_severity=True)):
        await store.inbox(7, query)
        await store.inbox_counts(7, query)
        await store.inbox_page(7, query, "object")
    for most in (entries.MOST_LETTERS, 0):
        monkeypatch.setattr(entries, "MOST_LETTERS", most)
        store._shelves = entries.Shelves()
        for text in ("hello", "h\u00e9llo"):
            await store.inbox_page(7, InboxQuery(text=text, reason="to"))
    await store.inbox_entry(7, key)
    await store.inbox_stamp(7)
    await store.mark(7, InboxQuery(), None, "read", NOW)
    assert await store.undo_mark(7, NOW, NOW)
    await store.mark(7, InboxQuery(), [key], "read", NOW)
    await store.messages([key])
    await store.deliveries([key])
    await store.digests([key])
    await store.ledger_row(key, 7)
    await store.ledger_rows(key)
    await store.trail(key, 7)
    await store.history(7, NOW - timedelta(days=30), 100)
    await store.counts_since(7, NOW - timedelta(days=7), 20_000)
    await store.list_deliveries(states=[State.DEAD, State.BOUNCED])
    await store.followers("KDE/7")
    await store.followed(["KDE/7"])
    await store.user_types(7)
    await store.overdue(["mail"], NOW, [LEASE])
    await store.retries(["mail"], 10)
    await store.traffic([NOW - timedelta(hours=2), NOW - timedelta(hours=1), NOW])
    await store.audit_log(500, actor="person:p7")
    await store.audit_log(action="token.add")
    await store.template_versions("k7")
    for text in ("", "7", "nobody"):
        await store.find_people(text, "p5", 100)
        await store.objects(text, "", 100)
        await store.objects(text, "KDE/5", 100)
    assert await store.roles_of((await store.person("p7")).person_id)
    assert await store.related_ids("KDE/7")
    await store.cancel_waiting(7, reason=Reason.MUTED, now=NOW)
    await store.put_wants("alice", {}, follows=["KDE/7"], rules=[RuleRow(0, "x.#", "p", "v")])
    assert await store.purge(NOW, timedelta(days=39), 100) == 100
    assert await store.forget(NOW, 100) == 100


async def test_no_hot_query_reads_a_whole_table(filled, monkeypatch):
    with Watch() as watch:
        await hot(filled, monkeypatch)
    assert len(watch.seen) > 40
    plans = {
        statement: await filled.engine.read(lambda connection, of=(statement, parameters): scans(connection, *of))
        for statement, parameters in watch.seen.items()
        if "pg_advisory" not in statement
    }
    found = [f"{' | '.join(lines)} in: {statement}" for statement, lines in plans.items() if lines]
    assert not found, "\n\n".join(found)


async def test_a_scan_would_be_seen(filled):
    statement = "SELECT count(*) FROM deliveries WHERE reason = 'refused'"
    assert await filled.engine.read(lambda connection: scans(connection, statement, None))


async def test_a_view_of_the_inbox_is_told_by_its_index_alone(filled):
    with Watch() as watch:
        await filled.inbox_page(7, InboxQuery())
    (statement,) = [statement for statement in watch.seen if "archived_us" in statement]
    explain = "EXPLAIN QUERY PLAN" if filled.engine.dialect == "sqlite" else "EXPLAIN"
    seek = "SET enable_bitmapscan = off" if filled.engine.dialect == "postgresql" else "SELECT 1"

    def plan(connection):
        connection.exec_driver_sql(seek)
        return [row[-1] for row in connection.exec_driver_sql(f"{explain} {statement}", watch.seen[statement])]

    lines = " ".join(await filled.engine.read(plan))
    assert re.search("USING COVERING INDEX deliveries_inbox|Index Only Scan (Backward )?using deliveries_inbox", lines), lines
