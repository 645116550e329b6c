"""Expectations: pings and messages are heard, silence is told once, and once that it is over; by API, and over restarts."""

from datetime import timedelta

import httpx2
import pytest

from angelia.directory import Failed
from angelia.flow.sentinel import LEASE, Sentinel
from angelia.front import app_of
from angelia.house import House
from angelia.model.errors import StoreUnavailable
from angelia.model.expectation import MOST_TEXT

HERS = "/api/v1/people/alice/expectations"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATE = DAY + HOUR + timedelta(minutes=1)


@pytest.fixture
async def sentinel(bench):
    await bench.person("alice")
    await bench.call("PUT", "/api/v1/site", {"preferences": {"*": {"web": "now", "mail": "now"}}}, 200)
    return bench.stages["sentinel"]


async def expect(bench, **terms):
    return await bench.call("POST", HERS, {"title": "Backup of x", "every": "24h", "grace": "1h"} | terms, 201)


async def ping(bench, made, rest="", method="GET", status=200, **more):
    answer = await bench.api.request(method, made["ping"].removeprefix(bench.house.settings.house.base_url) + rest, **more)
    assert answer.status_code == status, answer.text
    return answer


async def look(bench, sentinel, after=timedelta()):
    """A turn of the sentinel, some time from now, then of all others; what alice was told by mail since."""
    before = len(bench.mail.letters)
    at = bench.house.now() + after
    while await sentinel.turn(at):
        pass
    await bench.work(at)
    return [letter.message.subject for letter in bench.mail.letters[before:] if letter.person.login == "alice"]


async def stands(bench, made):
    return (await bench.call("GET", f"{HERS}/{made['id']}", status=200))["state"]


async def test_silence_is_told_once_and_its_end_once(bench, sentinel):
    made = await expect(bench)
    assert await look(bench, sentinel, DAY) == [] and await stands(bench, made) == "waiting"
    assert await look(bench, sentinel, LATE) == ["Backup of x has not spoken yet, for 25 hours"]
    assert await look(bench, sentinel, LATE + HOUR) == [] and await stands(bench, made) == "silent"
    assert (await ping(bench, made)).text == "OK\n"
    assert await look(bench, sentinel) == ["Backup of x is well again"] and await stands(bench, made) == "well"
    await ping(bench, made)
    assert await look(bench, sentinel, DAY) == []
    assert await look(bench, sentinel, LATE) == ["Backup of x has been silent for 25 hours"]
    assert bench.mail.letters[-1].message.severity.label == "high"


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_what_a_run_says(bench, sentinel, method):
    made = await expect(bench)
    await ping(bench, made, "/start", method)
    assert (await bench.call("GET", f"{HERS}/{made['id']}"))["is_running"]
    await ping(bench, made, "/3", method, **({"content": b"\xff no space\x00 left"} if method == "POST" else {}))
    assert await look(bench, sentinel) == ["Backup of x failed"]
    assert "exit code 3" in bench.mail.letters[-1].message.body
    await ping(bench, made, "/fail", method)
    assert await look(bench, sentinel, 9 * DAY) == []
    await ping(bench, made, "/0", method)
    assert await look(bench, sentinel) == ["Backup of x is well again"]
    lines = (await bench.call("GET", f"{HERS}/{made['id']}/history"))["items"]
    assert [(line["kind"], line["exit_code"]) for line in lines] == [("success", 0), ("fail", None), ("fail", 3), ("start", None)]
    if method == "POST":
        assert lines[2]["text"] == "\ufffd no space left" in bench.mail.letters[0].message.body and lines[2]["took"] > 0


async def test_a_run_that_does_not_end_is_told(bench, sentinel):
    made = await expect(bench)
    await ping(bench, made)
    await ping(bench, made, "/start")
    assert await look(bench, sentinel, HOUR - timedelta(minutes=1)) == []
    assert await look(bench, sentinel, HOUR + timedelta(minutes=1)) == ["Backup of x has been silent for 61 minutes"]


async def test_the_end_of_a_long_log_is_kept(bench, sentinel):
    made = await expect(bench)
    await ping(bench, made, method="POST", content=b"x" * 50_000 + b"the end")
    (line,) = (await bench.call("GET", f"{HERS}/{made['id']}/history"))["items"]
    assert len(line["text"]) == MOST_TEXT and line["text"].endswith("the end")


async def test_messages_are_signs(bench, sentinel):
    made = await expect(bench, source="operator", type="backup", object="host/x")
    await look(bench, sentinel, LATE)
    await bench.post("backups", object="host/x")
    await bench.post("backup.done", object="host/y")
    await bench.work()
    assert await stands(bench, made) == "silent"
    await bench.post("backup.done", object="host/x", to=["alice"], subject="done")
    await bench.work()
    assert sorted(await look(bench, sentinel)) == ["Backup of x is well again"] and await stands(bench, made) == "well"
    await bench.call("PUT", f"{HERS}/{made['id']}", {"title": "Backup of x", "every": "24h", "source": "nobody"}, 200)
    seen = (await bench.call("GET", f"{HERS}/{made['id']}"))["seen_at"]
    await bench.post("backup.done", object="host/x")
    await bench.work()
    assert (await bench.call("GET", f"{HERS}/{made['id']}"))["seen_at"] == seen


async def test_what_she_may_not_see_is_no_sign_for_her(bench, sentinel):
    made = await expect(bench, object="secret/x")
    await bench.person("bob")
    await bench.post("a.b", to=["bob"], object="secret/x", restricted=True)
    await bench.work()
    assert await stands(bench, made) == "waiting"
    await bench.call("PUT", "/api/v1/groups/g", {"members": ["alice"]})
    await bench.post("a.b", to=["bob"], object="secret/x", restricted=True, access=["group:g"])
    await bench.work()
    assert await stands(bench, made) == "well"


async def test_a_message_that_waits_to_be_planned_is_waited_for(bench, sentinel):
    made = await expect(bench, object="o")
    await bench.post("a.b", object="o")
    assert await sentinel.turn(bench.house.now() + LATE) == 0 and await stands(bench, made) == "waiting"
    await bench.work()
    assert await look(bench, sentinel, DAY) == [] and await stands(bench, made) == "well"
    assert await look(bench, sentinel, LATE) == ["Backup of x has been silent for 25 hours"]


async def test_a_message_that_is_asked_about_again_holds_up_no_alarm(bench, sentinel, monkeypatch):
    made = await expect(bench, object="o")

    async def away(_):
        return Failed("away")

    monkeypatch.setattr(bench.planner, "_relations", away)
    await bench.post("a.b", object="o", to=["alice"])
    await bench.planner.turn(bench.house.now())
    assert await stands(bench, made) == "well"
    assert await sentinel.turn(bench.house.now() + LATE) > 0 and await stands(bench, made) == "silent"


async def test_a_message_that_cannot_be_planned_is_a_sign_all_the_same(bench, sentinel, monkeypatch):
    made = await expect(bench, object="o")
    await bench.post("a.b", object="o", to=["alice"])

    async def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(bench.planner, "_decide", broken)
    at = bench.house.now()
    await bench.planner.turn(at)
    assert await stands(bench, made) == "well"
    for number in range(8):
        await bench.planner.turn(at + number * timedelta(minutes=1))
    assert (await bench.call("GET", "/api/v1/parked"))["items"] and await stands(bench, made) == "well"


async def test_others_are_told_and_need_the_right_to_post(bench, sentinel, outside):
    await bench.person("bob")
    await bench.call("PUT", "/api/v1/groups/ops", {"members": ["bob"]})
    tokens = {}
    for scopes in (("read", "write"), ("read", "write", "post")):
        made = await bench.call("POST", "/api/v1/people/alice/tokens", {"scopes": list(scopes)}, 201)
        tokens[len(scopes)] = {"Authorization": f"Bearer {made['secret']}"}
    terms = {"title": "x", "every": "1h", "to": ["group:ops"]}
    assert (await outside.post(HERS, json=terms, headers=tokens[2])).status_code == 403
    assert (await outside.post(HERS, json=terms | {"to": ["carol"]}, headers=tokens[3])).json()["errors"][0]["field"] == "to"
    made = (await outside.post(HERS, json=terms, headers=tokens[3])).json()
    # Who adds nobody needs no such right.
    assert (await outside.put(f"{HERS}/{made['id']}", json=terms | {"title": "y"}, headers=tokens[2])).status_code == 200
    assert await look(bench, sentinel, 3 * HOUR) == ["y has not spoken yet, for 3 hours"]
    assert [letter.person.login for letter in bench.mail.letters] == ["alice", "bob"]
    # It is theirs alone: whoever follows its object has no part in it.
    (message,) = {letter.message.message_id: letter.message for letter in bench.mail.letters}.values()
    assert message.is_restricted and message.readers == ("alice", "group:ops")


async def test_each_is_its_owners_alone(bench, sentinel, outside):
    made = await expect(bench)
    await bench.person("bob")
    token = await bench.call("POST", "/api/v1/people/bob/tokens", {"scopes": ["read", "write", "post"]}, 201)
    bob, place = {"Authorization": f"Bearer {token['secret']}"}, f"/api/v1/people/bob/expectations/{made['id']}"
    for method, rest in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/history"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/address"),
        ("DELETE", "/address"),
    ):
        assert (await outside.request(method, place + rest, headers=bob)).status_code == 404, rest
    assert (await outside.put(place, json={"title": "x", "every": "1h"}, headers=bob)).status_code == 404
    assert (await outside.get(HERS, headers=bob)).status_code == 404
    assert (await outside.get("/api/v1/expectations", headers=bob)).status_code == 403
    (item,) = (await bench.call("GET", "/api/v1/expectations"))["items"]
    assert (item["login"], item["id"]) == ("alice", made["id"]) and "ping" not in item


async def test_an_address_is_a_capability_of_its_own(bench, sentinel, outside):
    made = await expect(bench)
    place = made["ping"].removeprefix(bench.house.settings.house.base_url)
    assert (await outside.get(place)).status_code == 200  # without any token
    answer = await outside.get(place)
    assert answer.headers["content-type"].startswith("text/plain") and "no-store" in answer.headers["cache-control"]
    for rest in ("/256", "/1000", "/begin", "/-1", "/start/x"):
        assert (await outside.get(place + rest)).status_code in (404, 422), rest
    assert (await outside.put(place)).status_code == 405
    new = await bench.call("POST", f"{HERS}/{made['id']}/address", status=200)
    assert (await outside.get(place)).status_code == 404
    place = new["ping"].removeprefix(bench.house.settings.house.base_url)
    assert (await outside.get(place)).status_code == 200
    await bench.call("DELETE", f"{HERS}/{made['id']}/address", status=204)
    assert (await outside.get(place)).status_code == 404
    rows = await bench.store.engine.read(lambda connection: str(connection.exec_driver_sql("SELECT * FROM expectations").all()))
    assert not any(secret.rpartition("/")[2] in rows for secret in (made["ping"], new["ping"]))
    log = await bench.call("GET", "/api/v1/audit?action=expectation.")
    assert [entry["action"] for entry in log["items"]] == ["expectation.revoke", "expectation.rotate", "expectation.add"]
    assert made["ping"].rpartition("/")[2] not in str(log)


async def test_too_many_pings_are_refused_for_a_while(bench, sentinel):
    made, other = await expect(bench), await expect(bench)
    for _ in range(60):
        await ping(bench, made)
    assert int((await ping(bench, made, status=429)).headers["retry-after"]) > 0
    await ping(bench, other)


@pytest.mark.parametrize(
    ("terms", "field"),
    [
        ({"every": ""}, "every"), ({"cron": "@daily"}, "every"), ({"every": "0m"}, "every"), ({"every": "367d"}, "every"), ({"every": "5"}, "every"),
        ({"every": "", "cron": "61 * * * *"}, "cron"), ({"every": "", "cron": "0 0 31 2 *"}, "cron"), ({"grace": "1s"}, "grace"), ({"zone": "Mars/Base"}, "zone"),
        ({"zone": "../UTC"}, "zone"), ({"type": "a b"}, "type"), ({"title": ""}, "title"), ({"severity": "worst"}, "severity"), ({"x": 1}, "x"),
        ({"to": ["nobody"]}, "to"), ({"to": ["group:nobody"]}, "to"),
    ],
)  # fmt: skip
async def test_terms_that_mean_nothing(bench, sentinel, terms, field):
    answer = await bench.call("POST", HERS, {"title": "x", "every": "24h"} | terms, 422)
    assert answer["errors"][0]["field"].startswith(field), answer
    assert (await bench.call("GET", HERS))["items"] == []


async def test_what_is_shown(bench, sentinel):
    made = await expect(bench, every="", cron="  30  3 * * * ", zone="Europe/Berlin", grace="90m")
    shown = (await bench.call("GET", HERS))["items"][0]
    assert (shown["cron"], shown["zone"], shown["grace"], shown["every"]) == ("30 3 * * *", "Europe/Berlin", "90m", "")
    assert shown["due_at"] < shown["alarm_at"] and shown["seen_at"] is None
    await bench.call("POST", f"{HERS}/{made['id']}/pause", status=200)
    shown = (await bench.call("GET", HERS))["items"][0]
    assert (shown["state"], shown["due_at"], shown["alarm_at"]) == ("paused", None, None)
    await bench.call("POST", f"{HERS}/{made['id']}/resume", status=200)
    assert await stands(bench, made) == "waiting"
    await bench.call("DELETE", f"{HERS}/{made['id']}", status=204)
    await bench.call("GET", f"{HERS}/{made['id']}", status=404)


async def test_what_is_kept_of_her_goes_with_her(bench, sentinel):
    made = await expect(bench)
    await ping(bench, made, "/3", "POST", content=b"full")
    (one,) = (await bench.call("GET", "/api/v1/people/alice/export", status=200))["expectations"]
    assert one["title"] == "Backup of x" and [line["text"] for line in one["history"]] == ["full"]
    assert made["ping"].rpartition("/")[2] not in str(one)


async def test_lists_go_on_page_by_page(bench, sentinel):
    for _ in range(3):
        await expect(bench)
    seen, after = [], 0
    while after is not None:
        found = await bench.call("GET", f"/api/v1/expectations?limit=2&after={after}", status=200)
        seen, after = seen + [one["id"] for one in found["items"]], found["next"]
    assert len(seen) == len(set(seen)) == 3


async def test_what_was_found_before_a_hub_died_is_told_by_the_next_and_once(bench, sentinel):
    """Killed between each two steps: found and not told; told and not settled."""
    await expect(bench)
    at = bench.house.now() + LATE

    async def dies(source, drafts):
        raise StoreUnavailable("killed")

    with pytest.raises(StoreUnavailable):
        await Sentinel(bench.store, dies, "http://hub").turn(at)
    assert await sentinel.turn(at) == 0  # leased

    class Forgetful:
        def __getattr__(self, name):
            return getattr(bench.store, name)

        async def settle_expectation_news(self, numbers):
            raise StoreUnavailable("killed")

    with pytest.raises(StoreUnavailable):
        await Sentinel(Forgetful(), bench.house.intake.accept, "http://hub").turn(at + LEASE)
    assert await sentinel.turn(at + 2 * LEASE) == 1
    messages = await bench.call("GET", "/api/v1/messages?type=angelia.expectation")
    assert len(messages["items"]) == 1


async def test_a_hub_that_starts_again_knows_what_is_expected(bench, sentinel, house):
    made = await expect(bench, object="o")
    await ping(bench, made)
    async with House.open(house.settings) as again:
        stage = next(stage for stage in again.stages if stage.name == "sentinel")
        assert await stage.turn(again.now() + DAY) == 0
        assert await stage.turn(again.now() + LATE) == 2  # found, and told
        transport = httpx2.ASGITransport(app_of(again, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:
            await api.post("/api/v1/messages", json={"type": "a.b", "object": "o"})
            planner = next(stage for stage in again.stages if stage.name == "planner")
            while await planner.turn(again.now()):
                pass
            assert (await api.get(f"{HERS}/{made['id']}")).json()["state"] == "well"
