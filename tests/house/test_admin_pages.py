"""The pages of administrators, as a browser without scripts uses them."""

import html
import re
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from angelia.front import app_of
from angelia.model.delivery import Reason, State
from angelia.planning.retry import Breaker
from angelia.store import Settlement, Traffic
from angelia.web import statistics
from angelia.web.pages.admin import types

OWN = {"Sec-Fetch-Site": "same-origin"}
PASSWORD = "a long password"
PAGES = [
    "/admin/operations", "/admin/types", "/admin/types/obs.build.fail", "/admin/types/never.seen", "/admin/templates",
    "/admin/templates/edit?key=*/mail/full/en/text", "/admin/templates/preview?key=*/mail/full/en/text", "/admin/sources", "/admin/sources/ci", "/admin/people",
    "/admin/people/alice", "/admin/groups", "/admin/groups/qa", "/admin/groups/on/object?object=KDE/okular", "/admin/site",
    "/admin/statistics", "/admin/audit", "/admin/audit.csv",
]  # fmt: skip
ACTS = [
    "/admin/types/a.b", "/admin/templates/edit", "/admin/templates/restore", "/admin/templates/preview", "/admin/sources/ci", "/admin/sources/ci/tokens",
    "/admin/sources/ci/tokens/1/revoke", "/admin/people", "/admin/people/alice", "/admin/people/alice/as", "/admin/people/alice/sessions/end",
    "/admin/people/alice/password-link", "/admin/groups/qa", "/admin/groups/qa/delete", "/admin/groups/on/object?object=x", "/admin/site",
    "/admin/site/plan", "/admin/operations/replay", "/admin/operations/agents/mail", "/admin/operations/breakers", "/admin/operations/parked",
    "/admin/operations/check",
]  # fmt: skip


class Browser:
    """Follows redirects by itself, and knows what stands on the page."""

    def __init__(self, client):
        self.client = client

    async def get(self, path, status=200):
        answer = await self.client.get(path, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return html.unescape(answer.text)

    async def post(self, path, data=None, status=200):
        answer = await self.client.post(path, data=data or {}, headers=OWN, follow_redirects=True)
        assert answer.status_code == status, answer.text
        return html.unescape(answer.text)

    async def sign_in(self, login):
        await self.post("/sign-in", {"login": login, "password": PASSWORD})
        return self


@pytest.fixture
async def browser(house, bench):
    """A place to make browsers: root is an administrator, alice is not."""
    opened = []
    for login in ("root", "alice"):
        await bench.person(login, name=f"<b>{login}</b>", is_admin=login == "root")
        await bench.call("PUT", f"/api/v1/people/{login}/password", {"password": PASSWORD}, 204)
    app = app_of(house)

    def made():
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://hub")
        opened.append(client)
        return Browser(client)

    yield made
    for client in opened:
        await client.aclose()


@pytest.fixture
async def root(browser):
    return await browser().sign_in("root")


async def actions(bench, count=5):
    return [(item["actor"], item["action"], item["target"]) for item in (await bench.call("GET", f"/api/v1/audit?limit={count}"))["items"]]


async def test_only_administrators_find_these_pages(browser, bench):
    alice, nobody = await browser().sign_in("alice"), browser()
    for path in PAGES:
        assert (await alice.client.get(path)).status_code == 404, path
        answer = await nobody.client.get(path)
        assert (answer.status_code, answer.headers["location"][:8]) == (303, "/sign-in"), path
    for path in ACTS:
        assert (await alice.client.post(path, headers=OWN)).status_code == 404, path
        assert (await nobody.client.post(path, headers=OWN)).status_code == 303, path
    assert not (await bench.store.person("alice")).is_admin


async def test_a_foreign_page_can_do_nothing(root):
    for path in ACTS:
        assert (await root.client.post(path, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 403, path


async def test_every_page_shows_what_there_is(root, bench):
    await bench.call("PUT", "/api/v1/sources/ci", {"title": "<i>CI</i>"}, 200)
    await bench.call("PUT", "/api/v1/groups/qa", {"members": ["alice"]}, 200)
    await bench.post("obs.build.fail", to=["alice"], object="KDE/okular", subject="<script>alert(1)</script>")
    await bench.work()
    for path in PAGES:
        answer = await root.client.get(path)
        assert answer.status_code == 200, path
        if path.endswith(".csv"):
            continue
        assert "<script>alert" not in answer.text and "<b>root" not in answer.text and "<i>CI" not in answer.text, path
        assert " style=" not in answer.text or "preview" in path, path
        assert answer.headers["cache-control"] == "private, no-store", path


async def test_the_registry_goes_on_where_a_page_ends(root, bench, monkeypatch):
    monkeypatch.setattr(types, "PAGE", 2)
    for key in ("obs.c", "obs.a", "obs.e", "obs.b", "obs.d"):
        await bench.post(key, to=["alice"])
    shown, place = [], "/admin/types?text=obs."
    while place:
        page = await root.get(place)
        shown.append(re.findall(r'<a href="/admin/types/(obs\.[a-e])">', page))
        following = re.search(r'rel="next" href="([^"]+)"', page)
        place = following and following[1]
    assert shown == [["obs.a", "obs.b"], ["obs.c", "obs.d"], ["obs.e"]]


def test_the_last_hour_of_a_source_is_its_newest():
    hour = datetime(2026, 11, 24, 9, tzinfo=UTC)
    said = Traffic({("a.b", "ci"): 2}, {}, frozenset())
    hours = {hour - timedelta(hours=2): said, hour - timedelta(hours=1): said, hour: Traffic({("a.b", "other"): 1}, {}, frozenset())}
    assert statistics.last_hours(hours) == {"ci": hour - timedelta(hours=1), "other": hour}


async def test_a_type_is_curated_and_locked(root, bench):
    await bench.post("obs.build.fail", to=["alice"])
    page = await root.get("/admin/types?text=build")
    assert "obs.build.fail" in page and "No type fits" in await root.get("/admin/types?text=zzz")
    saved = {
        "label.en": "A build failed",
        "default_severity": "high",
        "retention_days": "30",
        "aliases": "OBS_FAIL",
        "state": "curated",
        "locks": ["web", "mail"],
    }
    page = await root.post("/admin/types/obs.build.fail", saved)
    assert "Saved." in page and "A build failed" in page
    entry = await bench.call("GET", "/api/v1/types/obs.build.fail")
    assert (entry["labels"], entry["default_severity"], entry["retention_days"], entry["aliases"]) == (
        {"en": "A build failed"},
        "high",
        30,
        ["obs_fail"],
    )
    document = await bench.call("GET", "/api/v1/site")
    assert sorted(document["locks"]["obs.build.fail"]) == ["mail", "web"] and "account.security" in document["locks"]
    assert [item[1] for item in await actions(bench, 2)] == ["site.put", "type.put"]
    assert entry["is_public"] is None
    for word, is_public in (("yes", True), ("no", False), ("", None)):
        page = await root.post("/admin/types/obs.build.fail", saved | {"is_public": word})
        assert f'value="{word}" selected' in page or not word
        assert (await bench.call("GET", "/api/v1/types/obs.build.fail"))["is_public"] is is_public
    await root.post("/admin/types/obs.build.fail", {"state": "retired"})
    assert "obs.build.fail" not in (await bench.call("GET", "/api/v1/site"))["locks"]
    for wrong in ({"retention_days": "-3"}, {"retention_days": "x"}, {"collapse_key": "{nothing}"}, {"default_severity": "huge"}, {"state": "odd"}):
        page = await root.post("/admin/types/obs.build.fail", wrong | {"label.en": "kept"}, 422)
        assert "This was not saved." in page and 'value="kept"' in page
    await root.get("/admin/types/no type", 422)


KEY = "obs/mail/full/en/text"


async def test_a_template_has_versions_differences_and_a_way_back(root, bench):
    for text in ("one\nsame\n", "two\nsame\n"):
        assert "Saved." in await root.post("/admin/templates/edit", {"key": KEY, "source": text})
    versions = await bench.store.template_versions(KEY)
    assert [one.source for one in versions] == ["two\nsame", "one\nsame"] or [one.source for one in versions] == ["two\nsame\n", "one\nsame\n"]
    assert versions[0].actor == "person:root"
    page = await root.get(f"/admin/templates/edit?key={KEY}&version={versions[1].version}")
    assert "-one" in page and "+two" in page
    assert "newest again" in await root.post("/admin/templates/restore", {"key": KEY, "version": versions[1].version})
    assert (await bench.store.templates())[KEY] == versions[1].source
    assert "Removed." in await root.post("/admin/templates/edit", {"key": KEY, "what": "remove"})
    assert (await bench.store.templates()) == {} and len(await bench.store.template_versions(KEY)) == 4
    page = await root.post("/admin/templates/edit", {"key": KEY, "source": "{{ 'x' * 9 }}"}, 422)
    assert "This was not saved." in page and "'x' * 9" in page
    await root.get("/admin/templates/edit?key=wrong", 422)
    await root.get(f"/admin/templates/edit?key={KEY}&version=999", 404)
    await root.post("/admin/templates/restore", {"key": KEY, "version": "999"}, 404)


async def test_a_preview_is_rendered_by_the_real_code_in_a_document_that_can_do_nothing(root, bench):
    message = await bench.post("obs.x", to=["alice"], subject="Hello", body="<script>alert(1)</script>")
    answer = await root.client.get(f"/admin/templates/preview?key={KEY}&message={message}")
    assert "Hello" in answer.text and "<script>" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; style-src 'unsafe-inline'") and "frame-ancestors 'self'" in policy
    draft = await root.post("/admin/templates/preview", {"key": KEY, "source": "draft of {{ subject }}"})
    assert "draft of Hello" in draft and await bench.store.templates() == {}
    markup = await root.post("/admin/templates/preview", {"key": "obs/mail/full/en/html", "source": "<h2>{{ body }}</h2>"})
    assert "<h2><script>alert(1)</script></h2>" in markup  # unescaped by the test: in the document it is text
    assert (
        "<h2>&lt;script&gt;"
        in (
            await root.client.post("/admin/templates/preview", data={"key": "obs/mail/full/en/html", "source": "<h2>{{ body }}</h2>"}, headers=OWN)
        ).text
    )
    digest = await root.post("/admin/templates/preview", {"key": "digest/mail/digest/de/text", "source": "{{ lead }} {{ groups|length }}"})
    assert "Hello" in digest and "1" in digest
    assert "no message of this type" in await root.post("/admin/templates/preview", {"key": "other/mail/full/en/text", "source": "x"})
    assert "can't be used" in await root.post("/admin/templates/preview", {"key": KEY, "source": "{% if %}"})
    page = await root.client.get(f"/admin/templates/edit?key={KEY}")
    assert "frame-src 'self'" in page.headers["content-security-policy"] and "script-src 'self'" in page.headers["content-security-policy"]
    over_api = await bench.call("POST", "/api/v1/templates/preview", {"key": KEY, "source": "by the API: {{ subject }}"}, 200)
    assert over_api["text"] == "by the API: Hello\n"


async def test_a_source_and_its_token_that_is_shown_once(root, bench):
    assert "no event since it was made" not in await root.get("/admin/sources")
    wanted = {"title": "CI", "subtrees": "obs.build, obs.request", "rate_per_second": "2.5", "contact": "bob", "is_active": "on"}
    page = await root.post("/admin/sources/ci", wanted)
    assert "Saved." in page
    source = await bench.call("GET", "/api/v1/sources/ci")
    assert (source["subtrees"], source["rate_per_second"], source["may_be_urgent"]) == (["obs.build", "obs.request"], 2.5, False)
    assert "no event since it was made" in await root.get("/admin/sources")
    page = await root.post("/admin/sources/ci/tokens", {"title": "build host", "expires_in_days": "30"})
    secret = re.search(r"ang_[\w-]{20,}", page).group()
    assert secret not in await root.get("/admin/sources/ci") and secret not in str(await actions(bench, 50))
    post = {"type": "obs.build.x", "to": ["alice"]}
    headers = {"Authorization": f"Bearer {secret}"}
    assert (await root.client.post("/api/v1/messages", json=post, headers=headers)).status_code == 201
    (token,) = await bench.store.list_tokens("source:ci")
    assert "revoked" in await root.post(f"/admin/sources/ci/tokens/{token.token_id}/revoke")
    await root.post("/admin/sources/ci/tokens/999/revoke", status=404)
    for wrong in ({"rate_per_second": "nan?"}, {"rate_per_second": "-1"}, {"subtrees": "no/type"}, {"title": "x" * 300}):
        assert "This was not saved." in await root.post("/admin/sources/ci", wrong, 422)
    assert "This was not saved." in await root.post("/admin/sources/person:bob", {"title": "x"}, 422)
    assert "This was not saved." in await root.post("/admin/sources/nobody/tokens", {}, 404)


async def test_people_are_found_added_and_changed(root, bench, browser):
    page = await root.post("/admin/people", {"login": "carol", "name": "Carol C", "time_zone": "Asia/Kolkata", "language": "de"})
    assert "Added." in page
    assert "carol" in await root.get("/admin/people?text=rol%20c") and "Nobody fits" in await root.get("/admin/people?text=%25")
    assert "This was not saved." in await root.post("/admin/people", {"login": "carol", "time_zone": "UTC", "language": "en"}, 409)
    assert "This was not saved." in await root.post("/admin/people", {"login": "dave", "time_zone": "Mars", "language": "en"}, 422)
    assert "This was not saved." in await root.post("/admin/people", {"login": "a b", "time_zone": "UTC", "language": "en"}, 422)
    alice = await browser().sign_in("alice")
    await root.post("/admin/people/alice", {"name": "Alice", "time_zone": "UTC", "language": "en"})
    person = await bench.store.person("alice")
    assert (person.name, person.is_active, person.is_admin) == ("Alice", False, False)
    assert (await alice.client.get("/inbox")).status_code == 303
    await root.get("/admin/people/nobody", 404)
    await root.get("/admin/people/group:qa", 404)


async def test_many_people_come_in_pages(root, bench):
    for number in range(60):
        await bench.person(f"p{number:02d}", mail=False)
    page = await root.get("/admin/people?text=p")
    assert "p49" in page and "p50" not in page
    (following,) = re.findall(r'rel="next" href="([^"]+)"', page)
    page = await root.get(following)
    assert "p50" in page and "p49" not in page


async def test_view_as_is_read_only_and_leaves_an_entry(root, bench):
    await bench.call("PUT", "/api/v1/people/alice/preferences", {"preferences": {"obs": {"mail": "daily"}}}, 200)
    await bench.post("obs.x", to=["alice"])
    await bench.work()
    page = await root.post("/admin/people/alice/as")
    assert "Mail: daily" in page and "[preferences.obs]" in page
    assert (await actions(bench, 1)) == [("person:root", "view.as", "alice")]
    seen = await bench.call("GET", "/api/v1/people/alice/view")
    assert (seen["inbox"]["unread"], seen["inbox_by_type"], seen["preferences"]["preferences"]) == (1, {"obs.x": 1}, {"obs": {"mail": "daily"}})


async def test_a_link_sets_a_password_once(root, bench, browser):
    page = await root.post("/admin/people/alice/password-link")
    path = re.search(r"/set-password/[\w-]+", page).group()
    assert path not in await root.get("/admin/people/alice") and path.split("/")[-1] not in str(await bench.call("GET", "/api/v1/audit"))
    nobody = browser()
    assert "Set a password" in await nobody.get(path)
    assert "not the same" in await nobody.post(path, {"password": "something new", "again": "something else"}, 422)
    assert "10 to 512" in await nobody.post(path, {"password": "short", "again": "short"}, 422)
    assert (
        await nobody.client.post(path, data={"password": "x" * 12, "again": "x" * 12}, headers={"Sec-Fetch-Site": "cross-site"})
    ).status_code == 403
    assert "You can sign in" in await nobody.post(path, {"password": "something new", "again": "something new"})
    await nobody.get(path, 404)
    await nobody.post("/sign-in", {"login": "alice", "password": "something new"})
    await nobody.get("/inbox")
    for wrong in ("x", "xy"[path.split("/")[-1][0] == "x"] + path.split("/")[-1][1:], "A" * 60):
        await nobody.get(f"/set-password/{wrong}", 404)


async def test_a_link_ends_after_a_day(bench, house, browser, monkeypatch):
    link = await bench.call("POST", "/api/v1/people/alice/password-link", {}, 201)
    monkeypatch.setattr("angelia.flow.password_link.LASTS", timedelta(hours=-1))
    late = await bench.call("POST", "/api/v1/people/alice/password-link", {}, 201)
    nobody = browser()
    await nobody.get("/set-password/" + link["url"].rpartition("/")[2])
    await nobody.get("/set-password/" + late["url"].rpartition("/")[2], 404)


async def test_sessions_of_somebody_end(root, browser, bench):
    alice = await browser().sign_in("alice")
    assert "End sessions (1)" in await root.get("/admin/people/alice")
    await root.post("/admin/people/alice/sessions/end")
    assert (await alice.client.get("/inbox")).status_code == 303
    assert ("person:root", "sessions.end", "alice") in await actions(bench)


async def test_groups_and_roles(root, bench):
    page = await root.post("/admin/groups/qa", {"title": "Quality", "members": "alice\nroot", "address.mail": "qa@example.org"})
    assert "Saved." in page
    group = await bench.call("GET", "/api/v1/groups/qa")
    assert (group["members"], group["addresses"][0]["value"]) == (["alice", "root"], "qa@example.org")
    assert "This was not saved." in await root.post("/admin/groups/qa", {"members": "nobody"}, 404)
    assert "This was not saved." in await root.post("/admin/groups/qa", {"members": "alice", "address.mail": "no address"}, 422)
    place = "/admin/groups/on/object?object=KDE/okular"
    page = await root.post(place, {"role.001": "maintainer", "names.001": "alice\ngroup:qa", "role.002": "", "names.002": ""})
    assert "Saved." in page
    assert (await bench.call("GET", "/api/v1/relations?object=KDE/okular"))["roles"] == {"maintainer": ["alice", "group:qa"]}
    assert "need the name of their role" in await root.post(
        place, {"role.001": "maintainer", "names.001": "alice", "role.002": "", "names.002": "root"}, 422
    )
    assert (await bench.call("GET", "/api/v1/relations?object=KDE/okular"))["roles"] == {"maintainer": ["alice", "group:qa"]}
    assert "nobody here is called nope" in await root.post(place, {"role.001": "maintainer", "names.001": "nope"}, 422)
    assert "KDE/okular" in await root.get("/admin/groups?text=kde") and "None found." in await root.get("/admin/groups?text=zzz")
    assert (await bench.call("GET", "/api/v1/objects?text=oku"))["items"] == ["KDE/okular"]
    await root.post(place, {"role.001": "", "was.001": "maintainer", "names.001": "alice"})
    assert (await bench.call("GET", "/api/v1/relations?object=KDE/okular"))["roles"] == {}
    assert "Removed." in await root.post("/admin/groups/qa/delete")
    await root.post("/admin/groups/qa/delete", status=404)


def fields(page):
    """What a browser would send of the first big form of the site's page, unchanged."""
    form = page[page.index('<form method="post" action="/admin/site" class="admin-form">') :]
    form = form[: form.index("</form>")]
    sent = {}
    for tag in re.findall(r"<input[^>]*>", form):
        name, value = re.search(r' name="([^"]*)"', tag), re.search(r' value="([^"]*)"', tag)
        if name and ('type="checkbox"' not in tag or " checked" in tag):
            sent.setdefault(name[1], []).append(value[1] if value else "")
    for name, options in re.findall(r'<select[^>]* name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r"<option([^>]*) selected>([^<]*)", options)
        given = re.search(r'value="([^"]*)"', chosen[1]) if chosen else None
        sent[name] = [given[1] if given else chosen[2] if chosen else ""]
    return sent


async def test_the_sites_form_changes_what_it_says_and_nothing_else(root, bench):
    document = await bench.call("GET", "/api/v1/site")
    document["preferences"]["odd"] = {"mail": {"when": "daily", "form": "full"}, "mail:x@example.org": "off"}
    document["presets"] = {"mine": {"title": "Mine", "rule": {"type": "obs", "when": {"project": "KDE"}, "do": {"mail": "now"}}}}
    await bench.call("PUT", "/api/v1/site", document, 200)
    sent = fields(await root.get("/admin/site"))
    assert "Saved." in await root.post("/admin/site", sent)
    assert await bench.call("GET", "/api/v1/site") == document
    sent = fields(await root.get("/admin/site"))
    row = next(name[: -len(".scope")] for name, value in sent.items() if name.endswith(".scope") and value == ["quiet"])
    sent |= {f"{row}.mail": ["hourly"], "hourly_cap": ["7"]}
    page = await root.post("/admin/site/plan", sent)
    assert "preferences.quiet.mail" in page and "hourly_cap" in page
    assert (await bench.call("GET", "/api/v1/site"))["hourly_cap"] == 5
    await root.post("/admin/site", sent)
    now = await bench.call("GET", "/api/v1/site")
    assert (now["preferences"]["quiet"], now["hourly_cap"]) == ({"mail": "hourly"}, 7)
    assert "This was not saved." in await root.post("/admin/site", sent, 409)  # somebody else saved meanwhile
    sent = fields(await root.get("/admin/site")) | {f"{row}.mail": ["sometimes"]}
    assert "sometimes" in await root.post("/admin/site", sent, 422)


@pytest.mark.parametrize("cell", ["d.{}.mail", "a.{}.roles", "l.{}.agents", "s.{}.at", "p.{}.title"])
async def test_a_new_row_of_the_sites_form_without_a_name_is_not_lost(root, cell):
    sent = fields(await root.get("/admin/site"))
    kind = cell[0]
    new = max(int(name.split(".")[1]) for name in sent if name.startswith(f"{kind}.") and name.split(".")[1].isdigit())
    said = {"d": "daily", "a": "maintainer", "l": "mail", "s": "08:00", "p": "Mine"}[kind]
    for place in ("/admin/site/plan", "/admin/site"):
        assert "needs a name" in await root.post(place, sent | {cell.format(new): [said]}, 422)


async def test_a_row_of_the_sites_form_whose_name_is_emptied_goes(root, bench):
    document = await bench.call("GET", "/api/v1/site")
    wanted = document | {
        "audience": {"obs": ["maintainer"]}, "locks": {"account": ["mail"]}, "schedules": {"noon": {"every": "day", "at": ["12:00"]}},
        "presets": {"mine": {"title": "Mine", "rule": {"type": "obs", "do": {"mail": "now"}}}},
    }  # fmt: skip
    await bench.call("PUT", "/api/v1/site", wanted, 200)
    sent = fields(await root.get("/admin/site"))
    emptied = {
        name: [""] for name, value in sent.items() if value in (["obs"], ["account"], ["noon"], ["mine"]) and not name.endswith((".was", ".type"))
    }
    assert len(emptied) == 4
    assert "Saved." in await root.post("/admin/site", sent | emptied)
    now = await bench.call("GET", "/api/v1/site")
    assert not any(now.get(name) for name in ("audience", "locks", "schedules", "presets"))


async def test_the_plan_counts_on_history_and_saves_nothing(root, bench):
    for number in range(3):
        await bench.post("quiet.x", to=["alice"], subject=str(number))
    await bench.work()
    before, version = await bench.store.site()
    document = dict(before) | {"preferences": before["preferences"] | {"quiet": {"mail": "now"}}}
    found = await bench.call("POST", "/api/v1/site/plan", document, 200)
    assert found["changes"] == [{"path": "preferences.quiet.mail", "before": "off", "after": "now"}]
    assert found["history"]["by_person"]["alice"] == found["history"]["deliveries_that_differ"] == 3
    assert found["history"]["after"]["mail now"] == 3 and "mail now" not in found["history"]["before"]
    toml = '[preferences."*"]\nweb = "now"\n[schedules.daily]\nevery = "day"\nat = [08:00:00]\n'
    page = await root.post("/admin/site/plan", {"toml": toml, "version": str(version)})
    assert "The plan" in page and "Save this plan" in page
    assert await bench.store.site() == (before, version)
    await root.post("/admin/site", {"toml": toml, "version": str(version)})
    assert (await bench.call("GET", "/api/v1/site"))["schedules"] == {"daily": {"every": "day", "at": ["08:00"]}}
    for wrong in ("[", "preferences = 3", "a = " + "[" * 5_000, "nothing = 1"):
        page = await root.post("/admin/site", {"toml": wrong, "version": ""}, 422)
        assert "This was not saved." in page and wrong in page


async def dead_letters(bench, count):
    for number in range(count):
        await bench.post("a.b", to=["alice"], subject=f"letter {number}")
    await bench.house.people.refresh()
    while await bench.planner.turn(bench.now):
        pass
    claimed = await bench.store.claim_deliveries(["mail"], 100, timedelta(seconds=60), bench.now)
    await bench.store.settle([Settlement(one.delivery_id, one.fence, State.DEAD, Reason.REFUSED, error="550 <no>") for one in claimed], bench.now)
    return claimed


async def test_dead_letters_are_replayed_one_or_all(root, bench):
    claimed = await dead_letters(bench, 4)
    page = await root.get("/admin/operations")
    assert "letter 3" in page and "550 <no>" in page
    ids = re.findall(r'name="ids" value="(dlv_\w+)"', page)
    assert len(ids) == len(claimed) == 4
    assert "tried again" in await root.post("/admin/operations/replay", {"what": "selected", "ids": ids[:1]})
    assert "letter 3" not in (await root.get("/admin/operations"))
    assert "Nothing was selected" in await root.post("/admin/operations/replay", {"what": "selected"})
    await root.post("/admin/operations/replay?agent=web", {"what": "all"})
    assert len(await bench.store.list_deliveries(states=[State.DEAD])) == 3
    await root.post("/admin/operations/replay?agent=mail&login=alice", {"what": "all"})
    assert await bench.store.list_deliveries(states=[State.DEAD]) == []
    assert [item for item in await actions(bench) if item[1] == "deliveries.replay"]
    await root.get("/admin/operations?login=nobody", 404)
    await root.get("/admin/operations?state=odd", 422)


async def test_a_view_of_dead_letters_is_replayed_over_the_api(bench, browser):
    await dead_letters(bench, 3)
    assert await bench.call("POST", "/api/v1/deliveries/replay?login=root", {}, 200) == {"replayed": 0}
    assert await bench.call("POST", "/api/v1/deliveries/replay?state=delivered", {}, 200) == {"replayed": 0}
    assert await bench.call("POST", "/api/v1/deliveries/replay?agent=mail", {}, 200) == {"replayed": 3}
    await bench.call("POST", "/api/v1/deliveries/replay", {"ids": []}, 422)


async def test_an_agent_is_paused_and_resumed(root, bench):
    assert "Paused." in await root.post("/admin/operations/agents/mail", {"what": "pause"})
    assert await bench.store.paused_agents() == {"mail"}
    assert "It goes on." in await root.post("/admin/operations/agents/mail", {"what": "resume"})
    assert await bench.store.paused_agents() == frozenset()
    await root.post("/admin/operations/agents/nope", {"what": "pause"}, 404)
    assert [item[1] for item in await actions(bench, 2)] == ["agent.resume", "agent.pause"]


async def test_a_breaker_is_reset_and_the_relay_sees_it(root, bench):
    open_one = Breaker(7, bench.now + timedelta(hours=1))
    await bench.store.put_breakers({"mail:mx.example.org": open_one})
    await bench.relay._look()
    assert bench.relay._breakers == {"mail:mx.example.org": open_one}
    page = await root.get("/admin/operations")
    assert "mail:mx.example.org" in page and "rests" in page
    assert "tried at once" in await root.post("/admin/operations/breakers", {"destination": "mail:mx.example.org"})
    bench.relay._looked_at = 0.0
    await bench.relay._look()
    assert bench.relay._breakers == {} and await bench.store.breakers() == {}
    assert "gone already" in await root.post("/admin/operations/breakers", {"destination": "nope"})
    await bench.call("DELETE", "/api/v1/breakers?destination=nope", status=404)
    assert (await actions(bench, 1))[0][1:] == ("breaker.reset", "mail:mx.example.org")


async def test_a_parked_message_is_released(root, bench):
    message = await bench.post("a.b", to=["alice"], subject="poison")
    (claimed,) = await bench.store.claim_messages(10, timedelta(seconds=60), bench.now)
    await bench.store.park_message(claimed.message.message_id, claimed.fence, "boom <b>")
    page = await root.get("/admin/operations")
    assert "poison" in page and "boom <b>" in page
    assert "Nothing was selected" in await root.post("/admin/operations/parked")
    assert "planned again" in await root.post("/admin/operations/parked", {"messages": message})
    assert await bench.store.parked_messages(10) == []


async def test_the_board_refreshes_as_a_part_and_shows_age(root, bench):
    await bench.post("a.b", to=["alice"])
    await bench.house.people.refresh()
    while await bench.planner.turn(bench.now - timedelta(days=2)):
        pass
    answer = await root.client.get("/admin/operations", headers={"HX-Request": "true"})
    assert answer.text.lstrip().startswith("<header>") and 'id="board"' in answer.text
    (mail,) = [item for item in (await bench.call("GET", "/api/v1/backlog"))["items"] if item["agent"] == "mail"]
    assert (mail["due"], mail["overdue"]) == (1, {"1m": 1, "10m": 1, "1h": 1, "1d": 1})
    assert "All is well" in await root.post("/admin/operations/check")


async def test_statistics_count_what_came(root, bench):
    for number in range(3):
        await bench.post("obs.build.fail" if number else "obs.request", to=["alice"])
    await bench.work()
    page = await root.get("/admin/statistics")
    chart = re.search(r"data-chart='?\"?(\{.*?\})\"?'?></div>", page)[1]
    assert "[0, 0, 0" in chart and " 3]" in chart
    found = await bench.call("GET", "/api/v1/statistics")
    assert found["types"] == [{"key": "obs.build.fail", "messages": 2}, {"key": "obs.request", "messages": 1}]
    assert sum(hour["messages"] for hour in found["hours"]) == 3 and len(found["hours"]) == 168
    assert found["people"]["reached"] == 1 and found["people"]["accounts"] == 2 and found["people"]["signed_in"] == 1
    assert sum(found["deliveries"]["web"].values()) == 3


async def test_the_audit_log_is_filtered_paged_and_exported_without_formulas(root, bench):
    now = bench.now
    for number in range(120):
        await bench.store.audit("person:alice", "token.add" if number % 2 else "token.revoke", f"=cmd|{number}", {"n": number}, now)
    page = await root.get("/admin/audit?actor=person:alice&action=token.add")
    assert "=cmd|119" in page and "=cmd|118" not in page
    page = await root.get("/admin/audit?actor=person:alice&action=token.")
    (older,) = re.findall(r'rel="next" href="([^"]+)"', page)
    assert "=cmd|20" in page and "=cmd|19<" not in page and "=cmd|19<" in await root.get(older)
    answer = await root.client.get("/admin/audit.csv?actor=person:alice")
    assert answer.headers["content-type"].startswith("text/csv") and "attachment" in answer.headers["content-disposition"]
    lines = answer.text.splitlines()
    assert len(lines) == 121 and ",'=cmd|119," in lines[1] and not re.search(r"(^|,)[=+@-]", answer.text, re.MULTILINE)
    assert (await actions(bench, 1))[0][1] == "audit.export"
    over_api = await bench.call("GET", "/api/v1/audit?actor=person:alice&limit=5")
    assert len(over_api["items"]) == 5 and over_api["next"] == over_api["items"][-1]["id"]


def test_a_small_curve_rises_with_the_messages():
    assert types.spark([0, 0, 0]) == types.spark([]) == ""
    assert types.spark([0, 1, 2]) == "0,13.0 8,7.0 16,1.0"


def test_days_end_now_and_count_what_is_below():
    now = datetime(2026, 3, 3, 15, tzinfo=UTC)
    hours = {now - timedelta(hours=back): Traffic(messages={("obs.build.fail", "ci"): 1}, deliveries={}) for back in (0, 23, 24, 167)}
    assert types._days(hours, {"obs", "obs.build.fail", "x"}) == {"obs": [1, 0, 0, 0, 0, 1, 2], "obs.build.fail": [1, 0, 0, 0, 0, 1, 2], "x": [0] * 7}
    assert types._days({}, {"x"}) == {"x": [0] * 7}
