"""How long do /preferences and /types take on the server, with 500 active types, 100 rules and 5,000 messages in a week?"""

import asyncio
import cProfile
import json
import pstats
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

import httpx2
from sqlalchemy import insert

from angelia.front import app_of
from angelia.house import House
from angelia.model.moments import first_id, to_us
from angelia.settings import HouseSettings, Settings
from angelia.store import Session
from angelia.stores.sql import upgrade
from angelia.stores.tables import ledger, messages, user_types
from angelia.wire.callers import secret_hash

TYPES, RULES, MESSAGES, ROUNDS = 500, 100, 5_000, 20
SITE = {
    "preferences": {"*": {"web": "now", "feed": "now", "mail": "now"}, **{f"t{n}": {"mail": "hourly"} for n in range(10)}},
    "audience": {"t0": ["maintainer"]},
    "schedules": {"hourly": {"every": "hour"}, "daily": {"every": "day"}, "weekly": {"every": "week"}},
    "presets": {
        **{
            f"p{n}": {"title": f"Preset {n}", "group": f"Group {n // 4}", "rule": {"type": f"t{n}", "role": "maintainer", "do": {"mail": "now"}}}
            for n in range(12)
        },
        "text": {"title": "With a word", "group": "Words", "rule": {"type": "t1", "when": {"project": ["KDE"]}, "do": {"mail": "now"}}},
    },
}
WANTS = {
    "preferences": {f"t{n}.a{n}": {"mail": "daily"} for n in range(10)},
    "rules": [{"id": f"r{n}", "type": f"t{n % 10}.a{n}", "when": {"project": {"regexp": f"^P{n}:"}}, "do": {"mail": "daily"}} for n in range(RULES)],
}


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        database = sys.argv[1] if len(sys.argv) > 1 and sys.argv[1] != "profile" else f"sqlite:///{name}/hub.db"
        settings = Settings(HouseSettings(data_dir=name, database=database))
        await asyncio.to_thread(upgrade, settings.database)
        async with House.open(settings) as house:
            transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
            async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
                await fill(house, client)
                print("Aim: below 100 ms for every page that shows not all 500 types at once.\n")
                print("| page | median ms | p95 ms | processor ms | kB | rows |\n|---|---|---|---|---|---|")
                for what, place in (
                    ("/preferences", "/preferences"),
                    ("/types, as it opens", "/types"),
                    ("/types, one subtree open, one type edited", "/types?open=t1&type=t1.a1.b"),
                    ("/types, a search that finds 200", "/types?q=t"),
                    ("/types, all open", "/types?open=" + ",".join([f"t{n}" for n in range(10)] + [f"t{n % 10}.a{n}" for n in range(TYPES)])),
                ):
                    await measure(client, what, place)
                if "profile" in sys.argv:
                    await profile(client, "/types?open=t1")
                    await profile(client, "/preferences")


async def fill(house: House, client: httpx2.AsyncClient) -> None:
    for path, body in (("/api/v1/site", SITE), ("/api/v1/people", {"login": "alice"}), ("/api/v1/people/alice/preferences", WANTS)):
        answer = await client.request("POST" if path.endswith("people") else "PUT", path, json=body)
        answer.raise_for_status()
    await house.people.refresh()
    person, now = await house.store.person("alice"), datetime.now(UTC)
    assert person is not None
    await house.store.open_session(
        Session(person_id=person.person_id, provider="", device="", created_at=now, seen_at=now, ends_at=now + timedelta(days=1)),
        secret_hash("s"),
        "",
    )
    client.cookies.set("angelia", "s")
    start, payload = first_id(now - timedelta(days=6)), json.dumps({"type": "x", "params": {"project": "KDE"}, "body": "x" * 400})
    kinds = [f"t{n % 10}.a{n}.b" for n in range(TYPES)]
    at = to_us(now)
    ids = range(start, start + MESSAGES)

    def work(connection) -> None:
        rows = [{"id": key, "source": "ci", "type": kinds[key % TYPES], "received_us": at, "payload": payload, "plan_state": 1} for key in ids]
        connection.execute(insert(messages), rows)
        because = {"person_id": person.person_id, "because": "role:maintainer", "decisions": "[]", "decided_us": at}
        connection.execute(insert(ledger), [{"message_id": key} | because for key in ids])
        seen = {"person_id": person.person_id, "first_us": 1, "last_us": at, "messages": 10}
        connection.execute(insert(user_types), [{"type": kind} | seen for kind in kinds])

    await house.store.engine.write(work)


async def measure(client: httpx2.AsyncClient, what: str, place: str) -> None:
    times, used = [], time.process_time()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer = await client.get(place)
        times.append((time.perf_counter() - began) * 1e3)
        assert answer.status_code == 200, answer.text
    used = (time.process_time() - used) * 1e3 / ROUNDS
    p95 = statistics.quantiles(times, n=20)[18]
    size, rows = len(answer.content) / 1000, answer.text.count("<tr")
    print(f"| {what} | {statistics.median(times):.0f} | {p95:.0f} | {used:.0f} | {size:.0f} | {rows} |", flush=True)


async def profile(client: httpx2.AsyncClient, place: str) -> None:
    tool = cProfile.Profile()
    tool.enable()
    for _ in range(10):
        await client.get(place)
    tool.disable()
    pstats.Stats(tool).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    asyncio.run(main())
