# ruff: noqa: F811 - a test names its fixtures
"""What a person says of news of her jobs, on the page and by the API: it comes before what her token says; and her token made anew."""

import re
from datetime import timedelta

import pytest
from tests.house.browsing import alice, browsers  # noqa: F401 - fixtures

from angelia.flow.clock import now as real_now
from angelia.settings import load
from angelia.wire.site_tokens import SiteTokens

SECRET = "a secret of this site"


@pytest.fixture
def settings(tmp_path):
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {"echo": {}}, "oda": {"secret": SECRET}})


async def wants(bench):
    return await bench.call("GET", "/api/v1/people/alice/preferences", None, 200)


async def test_what_she_says_comes_before_her_token(bench, alice):
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"jobs_by_token": {"mail": {"on_done": False, "threshold": 600.0}}}, 200)
    page = await alice.get("/job-news")
    assert "as my token says: no" in page and 'placeholder="600"' in page and 'href="/job-news" aria-current="page"' in page
    assert 'placeholder="1800"' in page  # as it may be typed, in every language
    place = await alice.post("/job-news", **{"mail.on_done": "yes", "mail.threshold": "30.5", "mail.on_submit": "", "web.on_failure": "no"})
    assert place.startswith("/job-news?saved=")
    document = await wants(bench)
    assert document["jobs"] == {"mail": {"on_done": True, "threshold": 30.5}, "web": {"on_failure": False}}
    assert document["jobs_by_token"] == {"mail": {"on_done": False, "threshold": 600.0}}
    page = await alice.get(place)
    assert 'value="30.5"' in page and page.count('<option value="yes" selected>') == 1 and page.count('<option value="no" selected>') == 1
    told = await bench.call("GET", "/api/v1/people/alice/job-news", None, 200)
    assert told == {"own": document["jobs"], "by_token": document["jobs_by_token"]}
    await alice.post("/job-news", **{"mail.on_done": "", "mail.threshold": "", "web.on_failure": ""})
    assert "jobs" not in await wants(bench)


async def test_nonsense_is_told_and_nothing_is_saved(bench, alice):
    for name, text in (("mail.threshold", "soon"), ("mail.threshold", "-1"), ("mail.interval", "nan"), ("none.on_done", "yes")):
        page = await alice.post("/job-news", 422, **{name: text})
        assert "Nothing was saved." in page
    assert "jobs" not in await wants(bench)
    await bench.call("PUT", "/api/v1/people/alice/job-news/mail", {"threshold": "5"}, 422)
    await bench.call("PUT", "/api/v1/people/alice/job-news/mail", {"on_submit": False}, 200)
    assert (await wants(bench))["jobs"] == {"mail": {"on_submit": False}}


async def test_a_token_is_made_anew_for_her_alone(house, bench, alice):
    tokens, now = SiteTokens(SECRET), real_now()
    end = int((now + timedelta(hours=1)).timestamp())
    await bench.call("PUT", "/api/v1/people/alice/job-news/mail", {"on_submit": False, "threshold": 5.0}, 200)
    old = tokens.sign({"sub": "alice", "exp": end, "roles": "general, refresh-tokens", "mssub": True, "x": 1})
    page = await alice.post("/job-news/token", 200, token=f" {old}\n")
    read = tokens.read(re.search(r'id="renewed">([^<]+)<', page)[1], now)
    assert read == {"sub": "alice", "exp": end + 604_800, "roles": "general, refresh-tokens", "mssub": False, "tem": 5.0, "x": 1}
    page = await alice.post("/job-news/token", 200, token=tokens.sign({"sub": "alice", "exp": end, "roles": "general"}))
    assert tokens.read(re.search(r'id="renewed">([^<]+)<', page)[1], now)["exp"] == end
    others = (
        tokens.sign({"sub": "bob", "exp": end}),
        tokens.sign({"sub": "alice", "exp": end - 9_999}),
        SiteTokens("another secret of others").sign({"sub": "alice"}),
        "x",
    )
    for token in others:
        page = await alice.post("/job-news/token", 422, token=token)
        assert 'id="renewed"' not in page
        assert len(token) < 9 or token not in page
