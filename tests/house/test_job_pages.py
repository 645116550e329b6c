# ruff: noqa: F811 - a test names its fixtures
"""Pages of jobs and instruments: a form made of a declaration, the job that comes of it, and that nobody sees those of others."""

import asyncio
import re
from pathlib import Path

import pytest
from tests.house.browsing import alice, browsers  # noqa: F401 - fixtures

from angelia.flow.clock import now as real_now
from angelia.flow.dispatcher import JobPolicy
from angelia.flow.job_runner import JobPatience
from angelia.flow.loop import run
from angelia.instrument import Done, Failed, Progress
from angelia.model.declaration import Declaration, DeclaredProduct, Parameter, ParameterKind, RoleRange
from angelia.products.output import Output
from angelia.settings import load
from angelia_testing.scripted import ScriptedInstrument

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
PARAMETERS = (
    Parameter("energy", ParameterKind.ENERGY, default=20.0, minimum=1.0, maximum=100.0, label="Lower end", help="Of the band.", canonical_unit="eV"),
    Parameter("band", ParameterKind.STRING, default="soft", allowed=("soft", "hard"), label="Band"),
    Parameter("count", ParameterKind.INTEGER, allowed=(1, 2, 4), default=2),
    Parameter("note", ParameterKind.STRING, is_optional=True, label="<b>Note</b>"),
    Parameter("flat", ParameterKind.BOOLEAN, default=False),
    Parameter("extra", ParameterKind.STRUCTURED, default={"a": [1]}, label="More"),
    Parameter("runs", ParameterKind.INTEGER, default=1, roles=(RoleRange("expert", maximum=10),)),
)


@pytest.fixture
def settings(tmp_path):
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {"echo": {}}})


@pytest.fixture
def camera(house):
    """An instrument with a parameter of each shape, that a test leads."""
    made = ScriptedInstrument("camera")
    made.declaration = Declaration("camera", title="Camera", parameters=PARAMETERS, products=(DeclaredProduct("picture", "A picture"),))
    hidden = ScriptedInstrument("hidden")
    hidden.declaration = Declaration("hidden", roles=("insider",), products=(DeclaredProduct("one"),))
    house.dispatcher.instruments |= {"camera": made, "hidden": hidden}
    return made


@pytest.fixture
async def working(house, camera):
    """The dispatcher runs."""
    house.dispatcher._runner._patience = patience = JobPatience(first_pause=0.02)
    house.dispatcher._policy = JobPolicy(patience=patience, most_waiting=50)
    stop = asyncio.Event()
    task = asyncio.create_task(run(house.dispatcher, house.hints["dispatcher"], real_now, stop))
    yield camera
    stop.set()
    house.hints["dispatcher"]()
    await task


async def until(browser, place, text):
    """The page that says so; of an end it is said by the history a moment before by the rest."""
    async with asyncio.timeout(60):
        while text not in (page := await browser.get(place)) or (text == ">done<" and 'hx-trigger="every' in page):
            await asyncio.sleep(0.02)
    return page


async def asked(browser, status=303, place="/instruments/camera/picture", **values):
    options = {name: values.pop(name) for name in ("private", "fresh") if name in values}
    return await browser.post(place, status, **{f"p.{name}": value for name, value in values.items()}, **options)


async def test_the_form_shows_what_the_declaration_says(camera, alice):
    listed = await alice.get("/instruments")
    assert "/instruments/camera/picture" in listed and "/instruments/echo/echo" in listed and "hidden" not in listed
    page = await alice.get("/instruments/camera/picture")
    assert "Lower end" in page and "(keV)" in page and "Of the band." in page and "From 1.0 to 100.0." in page
    assert 'name="p.energy" aria-describedby="f-1-hint" value="20.0"' in page
    assert '<option value="soft" selected>' in page and '<option value="2" selected>' in page
    assert "&lt;b&gt;Note" in page and "<b>Note" not in page
    assert "Some values need a role: expert." in page
    assert "script-src 'self'" in (await alice.api.get("/instruments/camera/picture")).headers["content-security-policy"]
    assert not re.search(r"<script>|style=| on\w+=", page)
    for place in ("/instruments/hidden/one", "/instruments/camera/none", "/instruments/none/x"):
        await alice.get(place, 404)
        await alice.post(place, 404)


async def test_what_is_asked_runs_and_can_be_run_again_with_changes(working, alice):
    place = await asked(alice, energy="3", band="hard", count="4", note="", flat="true", extra='{"b": 2}', runs="2")
    page = await until(alice, place, ">done<")
    assert 'hx-trigger="every' not in page
    (work,) = working.works.values()
    assert work.values == {"energy": 3000.0, "band": "hard", "count": 4, "note": None, "flat": True, "extra": {"b": 2}, "runs": 2}
    assert "Lower end" in page and "3000.0 eV" in page
    link = re.search(r'href="([^"]+/files/[^"]+)"', page)[1]
    answer = await alice.api.get(link)
    assert (answer.text, answer.headers["content-disposition"][:10]) == ("of the script", "attachment")
    again = re.search(r'href="(/instruments/[^"]+)"[^>]*>Run again', page)[1]
    form = await alice.get(again)
    assert 'name="p.energy" aria-describedby="f-1-hint" value="3.0"' in form
    assert '<option value="hard" selected>' in form and '<option value="true" selected>' in form and "{&#34;b&#34;: 2}" in form
    assert await asked(alice, energy="3.0", band="hard", count="4", note="", flat="true", extra='{"b": 2}', runs="2") == place
    assert await asked(alice, energy="3 keV", band="hard", count="4", note="", flat="true", extra='{"b": 2}', runs="2", fresh="1") != place


async def test_the_list_says_what_makes_a_job_another_and_asks_again_only_for_news(working, house, alice):
    working.is_done = False
    first = await asked(alice, energy="20", band="soft", count="2", note="", flat="false", extra='{"a": [1]}', runs="1")
    second = await asked(alice, energy="3", band="hard", count="2", note="a <b> star", flat="false", extra='{"a": [1]}', runs="1")
    await until(alice, second, "running")
    await until(alice, first, "running")
    page = await alice.get("/jobs")
    assert "Camera · A picture" in page
    assert "Lower end: 3 keV · Band: hard · &lt;b&gt;Note&lt;/b&gt;: a &lt;b&gt; star" in re.sub(r"\s+", " ", page)
    assert page.count("Lower end") == 1  # of the first nothing is to be said
    again = re.search(r'hx-get="(/jobs\?seen=[^"]+)"', page)[1]
    assert (await alice.api.get(again, headers={"HX-Request": "true"})).status_code == 204
    assert (await alice.api.get(again)).status_code == 200  # a page that is loaded is whole
    working.is_done = True
    for place in (first, second):
        await until(alice, place, ">done<")
    assert (await alice.api.get(again, headers={"HX-Request": "true"})).status_code == 200
    assert "hx-get" not in (await alice.get("/jobs")).partition("<main")[2]


async def test_what_is_wrong_stands_at_its_field_and_nothing_is_lost(camera, alice):
    page = await asked(alice, 422, energy="1000", band="soft", count="3", note="kept <i>", extra="{", runs="1")
    assert "kept &lt;i&gt;" in page and 'value="1000"' in page
    faults = dict(re.findall(r'id="f-(\d)-fault">([^<]+)<', page))
    assert faults.keys() == {"1", "3", "6"}
    assert "lower or equal than 100.0" in faults["1"] and "is not JSON" in faults["6"]
    assert page.count('aria-invalid="true"') == 3
    page = await asked(alice, 403, energy="20", runs="11")
    assert "what is asked needs the roles expert" in page and 'value="11"' in page
    assert "/jobs/job_" not in await alice.get("/jobs")


async def test_a_job_of_a_campaign_is_asked_for_and_found_by_it(working, house, alice):
    page = await alice.post("/instruments/camera/picture", 422, **{"p.energy": "5", "campaign": "a b"})
    assert "A campaign is named with at most 64 letters" in page and 'value="a b"' in page and 'value="5"' in page
    assert not working.works
    place = await alice.post("/instruments/camera/picture", **{"p.energy": "5", "campaign": " run-7 "})
    page = await until(alice, place, ">done<")
    assert place in await alice.get("/jobs?campaign=run-7") and "No job fits" in await alice.get("/jobs?campaign=run-8")
    listed = await alice.get("/jobs?campaign=run-7")
    assert "1 job in this campaign:" in listed and 'href="/jobs?campaign=run-7&amp;state=done"' in listed
    assert "in this campaign" not in await alice.get("/jobs") and 'href="/jobs?campaign=run-7"' in await alice.get("/jobs")
    again = re.search(r'href="(/instruments/[^"]+)"[^>]*>Run again', page)[1]
    assert 'name="campaign" maxlength="64"' in (form := await alice.get(again)) and 'value="run-7"' in form


async def test_faults_are_told_in_her_language(bench, camera, browsers):
    bob = await browsers("bob")
    await bench.call("PATCH", "/api/v1/people/bob", {"language": "de"}, 200)
    page = await asked(bob, 422, energy="1000")
    assert "höchstens 100.0 sein" in page and "lower or equal" not in page


async def test_while_it_runs_the_page_shows_progress_and_asks_for_what_is_new(working, alice):
    working.on_poll = lambda work: Progress(0.25, "a quarter")
    place = await asked(alice)
    page = await until(alice, place, 'value="25"')
    assert "a quarter" in page and ">running<" in page
    part = re.search(r'hx-get="([^"]+)"', page.partition('id="state"')[2])[1].replace("&amp;", "&")
    async with asyncio.timeout(60):
        while (answer := await alice.api.get(part, headers={"HX-Request": "true"})).status_code != 204:
            part = re.search(r'hx-get="([^"]+seen[^"]+)"', answer.text)[1].replace("&amp;", "&")
    working.on_poll = lambda work: Progress(0.5, "half")
    await until(alice, place, 'value="50"')
    answer = await alice.api.get(part, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and "<html" not in answer.text and 'value="50"' in answer.text
    assert await alice.post(f"{place}/cancel") == place
    page = await alice.get(place)
    assert ">cancelled<" in page and "Try again" in page and "somebody cancelled it" in page
    await alice.post(f"{place}/cancel", 409)


async def test_what_failed_is_tried_again(working, alice):
    working.on_poll = lambda work: Failed("no light")
    place = await asked(alice)
    page = await until(alice, place, "! failed<")
    assert "no light" in page
    working.on_poll = None
    assert await alice.post(f"{place}/retry") == place
    page = await until(alice, place, ">done<")
    assert "Try again" not in page and "Attempt" in page
    await alice.post(f"{place}/retry", 409)


async def test_jobs_of_others_are_not_there(working, alice, browsers):
    bob = await browsers("bob")
    place = await asked(alice, note="mine")
    await until(alice, place, ">done<")
    for where in (place, f"{place}/files/words", f"/instruments/camera/picture?again={place[6:]}"):
        page = await bob.get(where, 404)
        assert "mine" not in page
    for change in ("cancel", "retry"):
        await bob.post(f"{place}/{change}", 404)
    assert place not in await bob.get("/jobs")
    # Who asks for the same shares the run, and sees it; that alice did so, too, stays hers.
    assert await asked(bob, note="mine") == place
    page = await bob.get(place)
    assert "mine" in page and "alice" not in page
    await alice.get("/jobs/nonsense", 422)


async def test_a_change_from_elsewhere_is_refused(camera, alice):
    for place in ("/instruments/camera/picture", "/jobs/job_0000000000000/cancel", "/jobs/job_0000000000000/retry"):
        answer = await alice.api.post(place, data={"p.note": "x"}, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403
    assert "/jobs/job_" not in await alice.get("/jobs")


async def test_the_list_is_filtered_and_paged(camera, alice):
    places = [await asked(alice, note=str(number)) for number in range(27)]
    other = await alice.post("/instruments/echo/echo", **{"p.text": "x"})
    page = await alice.get("/jobs?instrument=camera&state=queued")
    shown = re.findall(r'href="(/jobs/job_[^"?]+)"', page)
    assert shown == places[:1:-1]
    older = re.search(r'rel="next" href="([^"]+)"', page)[1].replace("&amp;", "&")
    rest = await alice.get(older)
    assert re.findall(r'href="(/jobs/job_[^"?]+)"', rest) == places[1::-1]
    assert 'href="/jobs?state=queued&amp;instrument=camera"' in rest
    assert other in await alice.get("/jobs?instrument=echo&state=") and places[0] not in await alice.get("/jobs?instrument=echo")
    assert "No job fits" in await alice.get("/jobs?state=done")


async def test_the_filter_names_no_instrument_that_she_may_not_see(camera, alice):
    page = await alice.get("/jobs")
    assert '<option value="camera">' in page and "hidden" not in re.findall(r'<option value="([^"]*)"', page)


async def test_a_picture_is_shown_and_other_files_are_only_saved(working, alice):
    def drawn(work):
        (work.folder / "sky.png").write_bytes(PNG)
        out = Output(work.folder)
        out.file("sky", "sky.png")
        out.text("words", "x")
        out.close()
        return Done()

    working.on_poll = drawn
    place = await asked(alice)
    page = await until(alice, place, ">done<")
    assert f'<img class="mw-100" src="{place}/files/sky"' in page and page.count("<img class") == 1
    answer = await alice.api.get(f"{place}/files/sky")
    assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
    assert answer.headers["content-security-policy"].startswith("sandbox")


async def test_rooms_are_linked_only_where_instruments_are(house, alice):
    assert 'href="/jobs"' in await alice.get("/profile")
    house.dispatcher.instruments.clear()
    assert 'href="/jobs"' not in await alice.get("/profile")
    assert "no instrument that you may use" in await alice.get("/instruments")


async def test_she_is_told_when_this_one_is_done_whatever_is_usual(working, bench, alice):
    await bench.call("POST", "/api/v1/people/alice/addresses", {"agent": "mail", "value": "alice@example.org", "is_verified": True}, 201)
    quiet = {"jobs": {"mail": {"threshold": 3600, "on_submit": False}}, "preferences": {"job": {"mail": "now"}}}
    await bench.call("PUT", "/api/v1/people/alice/preferences", quiet, 200)
    working.is_done = False
    told, other = [await asked(alice, energy=energy) for energy in ("3", "4")]
    page = await until(alice, told, "Tell me when this one is done")
    assert "You will be told" not in page
    assert await alice.post(f"{told}/tell", 303, wanted="yes") == told
    assert "You will be told when this one is done" in await alice.get(told)
    assert "Tell me when this one is done" in await alice.get(other)
    follows = (await bench.call("GET", "/api/v1/people/alice/preferences", None, 200))["follows"]
    assert follows == [told.rpartition("/")[2]]
    working.is_done = True
    for place in (told, other):
        assert "Tell me when" not in await until(alice, place, ">done<")
    async with asyncio.timeout(30):
        while len(said := (await bench.call("GET", "/api/v1/messages?type=job"))["items"]) < 2 or not bench.mail.letters:
            await asyncio.sleep(0.05)
            await bench.work()
    assert len(said) >= 2
    assert [letter.message.object for letter in bench.mail.letters] == follows
    # What has ended is followed no longer, once something else is.
    working.is_done = False
    third = await asked(alice, energy="5")
    await alice.post(f"{third}/tell", 303, wanted="yes")
    assert (await bench.call("GET", "/api/v1/people/alice/preferences", None, 200))["follows"] == [third.rpartition("/")[2]]
    await alice.post(f"{third}/tell", 303, wanted="no")
    assert not (await bench.call("GET", "/api/v1/people/alice/preferences", None, 200)).get("follows")
    await alice.post("/jobs/job_0123456789abc/tell", 404, wanted="yes")


async def test_a_file_is_chosen_in_the_form_and_stays_where_something_else_is_wrong(working, house, alice):
    house.dispatcher.instruments["scale"] = made = ScriptedInstrument("scale")
    parameters = (Parameter("image", ParameterKind.FILE, label="Image"), Parameter("n", ParameterKind.FLOAT, default=1.0))
    made.declaration = Declaration("scale", parameters=parameters, products=(DeclaredProduct("one"),))
    place = "/instruments/scale/one"
    form = await alice.get(place)
    assert 'enctype="multipart/form-data"' in form and 'type="file"' in form and 'name="f.image"' in form
    assert "multipart" not in await alice.get("/instruments/camera/picture")
    files = {"f.image": ("a.fits", b"SIMPLE  = two stars")}
    answer = await alice.api.post(place, data={"p.image": "", "p.n": "many"}, files=files)
    assert answer.status_code == 422
    address = re.search(r'name="p.image"[^>]* value="([^"]+)"', answer.text)[1].replace("&amp;", "&")
    answer = await alice.api.post(place, data={"p.image": address, "p.n": "2"}, files={"f.image": ("", b"")})
    assert answer.status_code == 303, answer.text
    await until(alice, answer.headers["location"], ">done<")
    (work,) = made.works.values()
    assert Path(work.values["image"]).read_bytes() == b"SIMPLE  = two stars"
    assert (await alice.api.post(place, data={"p.image": house.dispatcher.uploads.address("0" * 32), "p.n": "2"})).status_code == 422


async def test_a_file_that_is_too_long_is_told_on_a_page(house, camera, alice):
    house.dispatcher.instruments["reader"] = reader = ScriptedInstrument("reader")
    reader.declaration = Declaration("reader", parameters=(Parameter("file", ParameterKind.FILE),), products=(DeclaredProduct("one"),))
    answer = await alice.api.post("/instruments/reader/one", files={"f.file": ("big", bytes(17 << 20))})
    assert answer.status_code == 413 and "this is more than a request may hold" in answer.text and "<main" in answer.text


async def test_several_results_can_be_saved_as_one_file(working, alice):
    def two(work):
        out = Output(work.folder)
        out.text("one", "1")
        out.text("two", "2")
        out.close()
        return Done()

    working.on_poll = two
    place = await asked(alice, energy="6")
    page = await until(alice, place, ">done<")
    assert f'href="{place}/archive"' in page
    answer = await alice.api.get(f"{place}/archive")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/gzip")
