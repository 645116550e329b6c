"""The pages of expectations: made, looked at, changed, paused, removed; of an administrator for everybody."""

import html
import re
from datetime import timedelta

from tests.house.browsing import alice, browsers  # noqa: F401 - fixtures

FORM = {"title": "Backup <x>", "every": "24h", "grace": "1h", "zone": "Europe/Berlin", "severity": "high"}


async def made(browser, **fields):
    page = await browser.post("/expectations", 200, **FORM | fields)
    (address,) = set(re.findall(r"http[^\s<]+/api/v1/ping/[\w-]{20,}(?=<)", page))
    return page, html.unescape(address)


async def test_from_the_first_to_the_last(bench, alice):  # noqa: F811
    assert "You expect nothing yet" in await alice.get("/expectations")
    assert 'value="1d"' in await alice.get("/expectations/new")
    page, address = await made(alice, to="")
    assert "Backup &lt;x&gt;" in page and "it is not shown again" in page
    place = "/expectations/1"
    assert address not in await alice.get(place)
    await bench.api.post(address.removeprefix(bench.house.settings.house.base_url) + "/7", content=b"<disk> full")
    page = await alice.get(place)
    assert "exit code 7" in page and "&lt;disk&gt; full" in page and 'class="tag bad"' in page
    assert "failed" in await alice.get("/expectations")
    await alice.post(f"{place}/change", **FORM | {"title": "Other", "every": "", "cron": "30 3 * * *", "object": "host/x"})
    page = await alice.get(f"{place}?done=saved")
    assert "Saved." in page and "<code>30 3 * * *</code>" in page and "host/x" in page
    assert 'value="30 3 * * *"' in await alice.get(f"{place}/change")
    assert await alice.post(f"{place}/pause") == f"{place}?done=paused" and "paused" in await alice.get("/expectations")
    assert await alice.post(f"{place}/resume") == f"{place}?done=resumed"
    for step in ("address", "revoke", "remove"):
        assert f'action="{place}/{step}"' in await alice.get(f"{place}/{step}")
    page = await alice.post(f"{place}/address", 200)
    assert address not in page and "/api/v1/ping/" in page
    assert await alice.post(f"{place}/revoke") == f"{place}?done=revoked"
    assert await alice.post(f"{place}/remove") == "/expectations?done=removed"
    await alice.get(place, 404)
    await alice.get("/expectations/1/nothing", 404)


async def test_what_is_wrong_stands_at_its_field(alice):  # noqa: F811
    page = await alice.post("/expectations", 422, **FORM | {"every": "often"})
    assert "a length such as 10m" in page and 'value="often"' in page and 'aria-invalid="true"' in page
    page = await alice.post("/expectations", 422, **FORM | {"every": "", "cron": "99 * * * *"})
    assert "the minute is a number from 0 to 59" in page
    page = await alice.post("/expectations", 422, **FORM | {"to": "nobody"})
    assert "nobody here is called nobody" in page
    assert "You expect nothing yet" in await alice.get("/expectations")


async def test_how_often_reads_as_people_say_it(alice):  # noqa: F811
    for every in ("1h", "24h", "7d", "90m", "26h"):
        await made(alice, every=every, title=f"Each {every}")
    page = await alice.get("/expectations")
    read = re.findall(r'data-label="How often">\s*([^<]*?)\s*<', page)
    assert sorted(read) == ["each day", "each hour", "each week", "every 1 day 2 hours", "every 1 hour 30 minutes"]


async def test_nobody_sees_those_of_another(alice, browsers):  # noqa: F811
    await made(alice)
    bob = await browsers("bob")
    for rest in ("", "/change", "/remove"):
        await bob.get(f"/expectations/1{rest}", 404)
    await bob.post("/expectations/1/remove", 404)
    await bob.get("/admin/expectations", 404)
    await bob.get("/admin/people/alice/expectations", 404)


async def test_an_administrator_sees_all_and_what_she_changes_is_noted(bench, alice, browsers):  # noqa: F811
    await made(alice)
    root = await browsers("root")
    page = await root.get("/admin/expectations")
    assert 'href="/admin/people/alice/expectations/1"' in page and "Backup &lt;x&gt;" in page
    home = "/admin/people/alice/expectations"
    assert 'href="/admin/people/alice/expectations/1"' in await root.get(home)
    await root.post(f"{home}/1/change", **FORM | {"every": "2h"})
    await root.post(f"{home}/1/pause")
    await root.post(f"{home}/1/remove")
    log = (await bench.call("GET", "/api/v1/audit?actor=person:root&limit=20"))["items"]
    assert [entry["action"] for entry in log if "expectation" in entry["action"]] == [
        "expectation.remove", "behalf.expectations.pause", "behalf.expectations.change",
    ]  # fmt: skip
    (change,) = next(entry for entry in log if entry["action"] == "behalf.expectations.change")["detail"]["changes"]
    assert (change["before"], change["after"]) == ("every 24 hours", "every 2 hours")


async def test_what_is_due_is_shown(bench, alice):  # noqa: F811
    await made(alice)
    await bench.stages["sentinel"].turn(bench.house.now() + timedelta(hours=26))
    page = await alice.get("/expectations/1")
    assert "fell silent" in page and "Next due" not in page
