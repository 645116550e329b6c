# ruff: noqa: F811 - a test names its fixtures
"""What came of a job, looked at: plots, tables, short links, code that asks for the same; and that nobody else sees them."""

import html
import json
import re
import shlex

import numpy as np
from tests.house.browsing import alice, browsers  # noqa: F401 - fixtures
from tests.house.test_job_pages import asked, camera, settings, until, working  # noqa: F401 - fixtures

from angelia.instrument import Done
from angelia.products.output import Output


def computed(work):
    out = Output(work.folder)
    columns = {"TIME": np.arange(250.0), "RATE": np.arange(250.0) + 1, "ERROR": np.ones(250)}
    out.light_curve("the curve", columns, {"TIME": "d", "RATE": "count / s"}, title="Curve <of> a star")
    out.image("sky/1", np.arange(12.0).reshape(3, 4))
    out.table("sources", {"NAME": ["a <b>", "c"], "FLUX": [1.0, np.nan]}, {"FLUX": "mJy"})
    out.table("nobody", {"NAME": []})
    out.text("words", "chi < 2")
    out.text("book", "long " * 2000)
    out.close()
    return Done()


async def seen(browser, camera):
    camera.on_poll = computed
    place = await asked(browser, note="it's mine")
    return place, await until(browser, place, ">done<")


async def test_the_page_has_plots_with_tables_beside_and_loads_its_script_only_there(working, alice):
    place, page = await seen(alice, working)
    assert re.findall(r'data-plot="([^"]+)"', page) == [f"{place}/plots/the%20curve", f"{place}/plots/sky/1"]
    tables = re.findall(r'href="([^"]+/rows/[^"]+)"', page)
    assert tables == [f"{place}/rows/{name}" for name in ("the%20curve", "sky/1", "sources", "nobody")]
    assert re.findall(r'<pre class="words"[^>]*>(.*?)</pre>', page, re.DOTALL) == ["chi &lt; 2"]
    assert "Curve &lt;of&gt; a star" in page and "plots" in page and "plots" not in await alice.get("/jobs")
    assert not re.search(r"<script>|style=| on\w+=", page)


async def test_the_numbers_of_a_plot_come_once(working, alice):
    place, _ = await seen(alice, working)
    answer = await alice.api.get(f"{place}/plots/the%20curve")
    (plot,) = answer.json()["plots"]
    assert (plot["x"]["unit"], plot["series"][0]["label"], plot["series"][0]["errors"][:2]) == ("d", "RATE", [1.0, 1.0])
    assert answer.headers["content-encoding"] == "gzip"
    again = await alice.api.get(f"{place}/plots/the%20curve", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert (await alice.api.get(f"{place}/plots/sky/1")).json()["plots"][0]["kind"] == "image"
    await alice.get(f"{place}/plots/words", 422)
    await alice.get(f"{place}/plots/none", 404)


async def test_a_table_is_read_page_by_page(working, alice):
    place, _ = await seen(alice, working)
    page = await alice.get(f"{place}/rows/the%20curve")
    assert "rows 1 to 100 of 250" in page and "count s-1" in page and 'rel="prev"' not in page
    older = re.search(r'rel="next" href="([^"]+)"', page)[1]
    page = await alice.get(older)
    assert "rows 101 to 200 of 250" in page and ">100.0<" in page
    page = await alice.get(re.search(r'rel="next" href="([^"]+)"', page)[1])
    assert "rows 201 to 250 of 250" in page and 'rel="next"' not in page
    page = await alice.get(f"{place}/rows/sources")
    assert "a &lt;b&gt;" in page and "mJy" in page and ">–<" in page
    assert "<td" in await alice.get(f"{place}/rows/sky/1")
    page = await alice.get(f"{place}/rows/nobody")
    assert "rows 0 to 0 of 0" in page and ">NAME" in page
    await alice.get(f"{place}/rows/words", 422)


async def test_the_api_gives_the_same(working, alice, bench):
    place, _ = await seen(alice, working)
    told = await bench.call("GET", f"/api/v1{place}/rows/sources", None, 200)
    assert told["rows"] == [["a <b>", 1.0], ["c", None]] and told["columns"][1] == {"name": "FLUX", "unit": "mJy"}
    told = await bench.call("GET", f"/api/v1{place}/plots/the%20curve", None, 200)
    assert told["plots"][0]["total"] == 250


async def test_a_short_link_leads_there_and_only_those_who_may(working, alice, browsers):
    place, page = await seen(alice, working)
    link = re.search(r'id="link" href="([^"]+)"', page)[1]
    short = "/j/" + link.rpartition("/j/")[2]
    assert len(short) < 20
    answer = await alice.api.get(short)
    assert (answer.status_code, answer.headers["location"]) == (303, place)
    bob = await browsers("bob")
    for where in (short, f"{place}/plots/the%20curve", f"{place}/rows/the%20curve"):
        await bob.get(where, 404)
    nobody = await browsers("")
    answer = await nobody.api.get(short)
    assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")


async def test_the_code_asks_for_the_same_and_has_no_token(working, alice, bench):
    place, page = await seen(alice, working)
    python, command = (html.unescape(text) for text in re.findall(r'<code id="recipe-\d">(.*?)</code>', page, re.DOTALL))
    words = shlex.split(command)
    assert words[0] == "curl" and "Authorization: Bearer $ANGELIA_TOKEN" in words
    assert not re.search(r"ang_\w|eyJ", page)
    token = (await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "x", "scopes": ["read", "write"]}, 201))["secret"]
    answer = await alice.api.post("/api/v1/jobs", json=json.loads(words[-1]), headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.json()["id"]) == (202, place.rpartition("/")[2])
    # The other client asks by the dispatcher's own form.
    made = {}
    exec(python.partition("\n\n")[2].partition("# The token")[0].replace("api = DispatcherAPI", "api = dict"), made)
    assert made["request"]["energy"] == 20.0 and made["request"]["note"] == "it's mine" and made["request"]["product"] == "picture"
    assert made["api"]["url"].endswith("/dispatch-data")
    compile(python, "recipe", "exec")
