"""What the head of an answer says to programs: where a list goes on, and how much of a rate is left."""

import re
from math import ceil

import pytest

from angelia.model.errors import RateLimited
from angelia.wire import callers
from angelia.wire.callers import Bucket
from angelia.wire.problems import problem_of

LINK = re.compile(r'<([^>]+)>; rel="next"')


@pytest.fixture
async def full(bench):
    """Some of everything that is listed."""
    await bench.person("alice")
    await bench.call("PUT", "/api/v1/site", {"preferences": {"*": {"web": "now"}}}, 200)
    for number in range(7):
        await bench.post("a.b" if number % 2 else "a.c", to=["alice"], subject=f"number {number}", params={"next": "x"}, object=f"o/{number}")
        await bench.person(f"p{number}", mail=False)
        await bench.call("POST", "/api/v1/people/alice/expectations", {"title": f"e{number}", "every": "1h"}, 201)
    await bench.work()
    return bench


@pytest.mark.parametrize(
    "place",
    [
        "/api/v1/messages", "/api/v1/messages?type=a.b", "/api/v1/people", "/api/v1/people/alice/inbox", "/api/v1/people/alice/inbox?sort=received",
        "/api/v1/people/alice/inbox?type=a.c&text=number", "/api/v1/people/alice/decisions", "/api/v1/audit", "/api/v1/expectations",
        "/api/v1/deliveries?state=delivered",
    ],
)  # fmt: skip
async def test_a_list_is_followed_by_its_links(full, place):
    sign = "&" if "?" in place else "?"
    whole = (await full.call("GET", f"{place}{sign}limit=200", status=200))["items"]
    seen, following = [], f"{place}{sign}limit=2"
    while following:
        answer = await full.api.get(following)
        assert answer.status_code == 200, answer.text
        seen += answer.json()["items"]
        link = LINK.fullmatch(answer.headers.get("link", ""))
        assert (link is None) is (answer.json()["next"] is None)
        following = link[1] if link else ""
        assert len(seen) <= len(whole)
    assert len(whole) > 2 and [str(one) for one in seen] == [str(one) for one in whole]


async def test_what_is_no_list_has_no_link(full):
    message = await full.post("a.b", params={"next": "x"})
    assert "link" not in (await full.api.get(f"/api/v1/messages/{message}")).headers
    assert "link" not in (await full.api.get("/api/v1/people/alice/expectations")).headers


@pytest.fixture
async def source(bench):
    await bench.call("PUT", "/api/v1/sources/ci", {"rate_per_second": 0.5}, 200)
    token = await bench.call("POST", "/api/v1/sources/ci/tokens", {"scopes": ["post", "publish", "transitions"]}, 201)
    return {"Authorization": f"Bearer {token['secret']}"}


async def test_a_rate_says_what_is_left(outside, source, monkeypatch):
    monkeypatch.setattr(callers, "monotonic", lambda: 1_000.0)
    left = []
    for body in ({"type": "a.b"}, [{"type": "a.b"}] * 2):
        answer = await outside.post("/api/v1/messages", json=body, headers=source)
        assert answer.status_code == 201 and answer.headers["ratelimit-policy"] == '"posts";q=5;w=10'
        left.append(answer.headers["ratelimit"])
    assert left == ['"posts";r=4;t=2', '"posts";r=2;t=6']
    answer = await outside.post("/api/v1/publish/a.b", content="x", headers=source)
    assert answer.headers["ratelimit"] == '"posts";r=1;t=8'
    refused = await outside.post("/api/v1/messages", json=[{"type": "a.b"}] * 3, headers=source)
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["ratelimit"]) == (429, "4", '"posts";r=1;t=8')
    assert refused.headers["content-type"] == "application/problem+json"
    await outside.post("/api/v1/messages", json={"type": "a.b"}, headers=source)
    refused = await outside.post("/api/v1/publish/a.b", content="x", headers=source)
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["ratelimit"]) == (429, "2", '"posts";r=0;t=10')


async def test_who_comes_back_when_told_is_not_too_early(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(callers, "monotonic", lambda: now[0])
    bucket = Bucket(0.7)
    for _ in range(7):
        bucket.take(1)
    with pytest.raises(RateLimited) as refused:
        bucket.take(1)
    assert refused.value.rate.left == 0
    now[0] += ceil(refused.value.retry_after)
    bucket.take(1)
    assert (bucket.state().left, bucket.state().quota) == (0, 7)


def test_seconds_are_rounded_up():
    _, _, headers = problem_of(RateLimited("slower", 1.2))
    assert (b"retry-after", b"2") in headers and not [name for name, _ in headers if name.startswith(b"ratelimit")]


async def test_without_a_rate_nothing_is_said(bench):
    answer = await bench.api.post("/api/v1/messages", json={"type": "a.b"})
    assert not [name for name in answer.headers if name.startswith("ratelimit")]


async def test_pings_say_what_is_left(bench):
    await bench.person("alice")
    made = await bench.call("POST", "/api/v1/people/alice/expectations", {"title": "x", "every": "1h"}, 201)
    place = made["ping"].removeprefix(bench.house.settings.house.base_url)
    answer = await bench.api.get(place)
    assert answer.headers["ratelimit-policy"] == '"pings";q=60;w=60' and answer.headers["ratelimit"].startswith('"pings";r=59;t=')
    for _ in range(59):
        await bench.api.get(place)
    answer = await bench.api.get(place)
    assert answer.status_code == 429 and answer.headers["ratelimit"].startswith('"pings";r=0;t=') and 0 < int(answer.headers["retry-after"]) <= 60
