"""Her ways are hers: what others can't see or change, and where no secret may be found (checklist S13-S15, S25, S28)."""

import contextlib
import re
import sqlite3
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from structlog.testing import CapturingLogger
from tests.house.browsing import WORDS, add_address, alice, browsers, code_of, link_of  # noqa: F401 - two are fixtures

from angelia import telemetry
from angelia.front import app_of
from angelia.stores.columns import metadata
from angelia.wire.callers import secret_hash


async def hers(bench, login):
    """One thing of each kind, of this person: paths of pages that show or change them."""
    place = {"agent": "mail", "value": "x@example.org", "is_verified": True}
    address = (await bench.call("POST", f"/api/v1/people/{login}/addresses", place, 201))["id"]
    feed = (await bench.call("POST", f"/api/v1/people/{login}/feeds", {"title": "secret title"}, 201))["id"]
    token = (await bench.call("POST", f"/api/v1/people/{login}/tokens", {"title": "secret title"}, 201))["id"]
    session = (await bench.call("GET", f"/api/v1/people/{login}/sessions"))["items"][0]["id"]
    gets = [f"/addresses/{address}/delete", f"/feeds/{feed}/preview", f"/feeds/{feed}/rotate", f"/feeds/{feed}/revoke", f"/tokens/{token}/revoke"]
    posts = [f"/addresses/{address}/{step}" for step in ("code", "test", "pause", "resume", "default", "delete")]
    posts += [f"/feeds/{feed}/rotate", f"/feeds/{feed}/revoke", f"/tokens/{token}/revoke", f"/sessions/{session}/end"]
    return gets, posts


async def test_what_is_not_hers_is_not_there(bench, alice, browsers):  # noqa: F811 - checklist S15, over all routes in test_rights
    bob = await browsers("bob")
    gets, posts = await hers(bench, "alice")
    before = await bench.call("GET", "/api/v1/people/alice/export")
    for path in gets:
        foreign, missing = await bob.get(path, 404), await bob.get(re.sub(r"\d+", "987654", path), 404)
        assert foreign == missing, path
        await alice.get(path)
    for path in posts:
        foreign, missing = await bob.post(path, 404), await bob.post(re.sub(r"\d+", "987654", path), 404)
        assert foreign == missing, path
    after = await bench.call("GET", "/api/v1/people/alice/export")
    assert before | {"exported_at": ""} == after | {"exported_at": ""}
    assert bench.mail.letters == []


async def test_over_the_api_too(bench, alice, browsers, outside):  # noqa: F811
    await browsers("bob")
    bearer = {}
    for login in ("alice", "bob"):
        secret = (await bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": ["read", "write"]}, 201))["secret"]
        bearer[login] = {"Authorization": f"Bearer {secret}"}
    (session,) = (await outside.get("/api/v1/people/alice/sessions", headers=bearer["alice"])).json()["items"]
    for method, rest in (("GET", "sessions"), ("DELETE", "sessions"), ("DELETE", f"sessions/{session['id']}"), ("GET", "export"), ("GET", "agents")):
        foreign = await outside.request(method, f"/api/v1/people/alice/{rest}", headers=bearer["bob"])
        missing = await outside.request(method, f"/api/v1/people/nobody/{rest}", headers=bearer["bob"])
        assert (foreign.status_code, foreign.text) == (404, missing.text), rest
    own = await outside.delete(f"/api/v1/people/bob/sessions/{session['id']}", headers=bearer["bob"])
    assert own.status_code == 404
    agents = (await outside.get("/api/v1/people/alice/agents", headers=bearer["alice"])).json()["items"]
    assert {"name": "mail", "address_example": "alice@example.org"} in agents


PAGES = ["/addresses", "/feeds", "/feeds/new", "/tokens", "/sessions", "/profile", "/profile/export", "/addresses/verify?token=x"]


@pytest.mark.parametrize("path", PAGES)
async def test_nobody_is_sent_to_sign_in(browsers, path):  # noqa: F811
    answer = await (await browsers("")).api.get(path)
    assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?next=")


async def test_a_change_from_a_foreign_page_is_refused(alice, bench):  # noqa: F811
    number = await add_address(alice)
    for path, fields in (
        (f"/addresses/{number}/delete", {}),
        ("/tokens", {"scopes": ["read"]}),
        ("/profile", {"name": "x"}),
        ("/sessions/end-others", {}),
        ("/feeds", {}),
    ):
        answer = await alice.api.post(path, data=fields, headers={"Sec-Fetch-Site": "cross-site"})
        assert answer.status_code == 403, path
    assert await bench.store.address(number) is not None


@pytest.mark.parametrize("path", ["/addresses?done=<script>&at=../x", "/feeds?done=//evil.example.org", "/sessions?done=x", "/tokens?done=x"])
async def test_what_a_link_says_is_not_shown(alice, path):  # noqa: F811
    shown = await alice.get(path)
    assert "<script>&" not in shown and "evil.example.org" not in shown


async def test_no_secret_is_in_the_database(bench, alice, house):  # noqa: F811
    await add_address(alice)
    code, link = code_of(bench), parse_qs(urlsplit(link_of(bench)).query)["token"][0]
    secrets = {
        "password": WORDS,
        "token": (await bench.call("POST", "/api/v1/people/alice/tokens", {}, 201))["secret"],
        "feed": (await bench.call("POST", "/api/v1/people/alice/feeds", {}, 201))["atom"].rpartition("/")[2].removesuffix(".atom"),
        "cookie": alice.api.cookies["angelia"],
        "link": link,
        "code": code,
    }
    with contextlib.closing(sqlite3.connect(house.settings.data_dir / "angelia.db")) as database:
        dump = "\n".join(database.iterdump())
    assert "alice@example.org" in dump and secret_hash(secrets["token"]) in dump
    for name, secret in secrets.items():
        assert re.search(rf"(?<![0-9a-f]){re.escape(secret)}(?![0-9a-f])", dump) is None, name
    assert secret_hash(code) not in dump  # six digits: a plain hash of them would be as good as the code


async def test_no_log_holds_the_address_of_a_feed(bench, alice, house, monkeypatch):  # noqa: F811 - checklist S13
    atom = urlsplit((await bench.call("POST", "/api/v1/people/alice/feeds", {}, 201))["atom"]).path

    async def broken(*_):
        raise RuntimeError("broken")

    log = CapturingLogger()
    monkeypatch.setattr(telemetry, "log", log)
    monkeypatch.setattr(house.store, "inbox_part", broken)
    app = httpx2.ASGITransport(app_of(house), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=app, base_url="http://hub") as api:
        assert (await api.get(atom)).status_code == 500
        report = {
            "csp-report": {
                "document-uri": f"http://hub{atom}",
                "referrer": "http://hub/addresses/verify?token=abc_DEF-1",
                "blocked-uri": "http://hub/set-password/ghi.JKL~2",
            }
        }
        assert (await api.post("/csp-reports", json=report)).status_code == 204
    assert [call.args[0] for call in log.calls] == ["request_failed", "csp_report"]
    said = [str({name: value for name, value in call.kwargs.items() if name != "exc_info"}) for call in log.calls]
    assert "/feeds/***" in said[0] and "/feeds/***" in said[1]
    secret = atom.rpartition("/")[2].removesuffix(".atom")
    assert all(secret not in line and "abc_DEF-1" not in line and "JKL" not in line for line in said)


@pytest.mark.parametrize(
    "place", ["//evil.example.org", "https://evil.example.org", "/\\evil.example.org", "javascript:alert(1)", "/\t/evil.example.org"]
)
async def test_no_page_leads_off_the_site(browsers, place):  # noqa: F811 - checklist S25
    browser = await browsers("alice")
    for path in (f"/addresses?next={quote(place)}", f"/feeds?next={quote(place)}", f"/profile?next={quote(place)}"):
        answer = await browser.api.get(path)
        assert answer.status_code == 200 and "evil.example.org" not in answer.text.replace("&#39;", "'").replace(place, "")
    for path in (f"/topics/{quote(place, safe='')}/follow", f"/addresses/1/{quote(place, safe='')}"):
        answer = await browser.api.post(path)
        assert answer.status_code in (404, 422) and "location" not in answer.headers
    answer = await browser.api.post("/sign-in", data={"login": "alice", "password": WORDS, "next": place})
    assert answer.headers["location"] == "/"


WRITABLE = [
    ("PATCH", "/api/v1/people/me", {}),
    ("POST", "/api/v1/people/me/addresses", {"agent": "mail", "value": "new@example.org"}),
    ("PATCH", "/api/v1/people/me/addresses/{address}", {}),
    ("POST", "/api/v1/people/me/feeds", {"title": "x"}),
    ("POST", "/api/v1/people/me/tokens", {"scopes": ["read"]}),
    ("PUT", "/api/v1/people/me/preferences", {}),
    ("POST", "/api/v1/people/me/inbox/mark", {"change": "read"}),
]


HERS_TO_SAY = {"name", "time_zone", "language", "title", "query", "scopes", "state", "is_default", "value", "agent"}


async def test_no_form_takes_a_column_that_is_not_hers(bench, alice, outside):  # noqa: F811 - checklist S14
    number = await add_address(alice)
    secret = (await bench.call("POST", "/api/v1/people/alice/tokens", {"scopes": ["read", "write"]}, 201))["secret"]
    columns = sorted({column.name for table in metadata.sorted_tables for column in table.columns} - HERS_TO_SAY)
    assert len(columns) > 60
    before = await bench.call("GET", "/api/v1/people/alice/export")
    for method, path, body in WRITABLE:
        for column in columns:
            for value in (1, True, "x"):
                form = body | {column: value}
                answer = await outside.request(method, path.format(address=number), json=form, headers={"Authorization": f"Bearer {secret}"})
                assert answer.status_code in (403, 422), (method, path, form, answer.text)
                (fault, *_) = answer.json().get("errors", [{"field": "", "detail": ""}])
                if fault["field"] == column and fault["detail"].startswith(("Extra inputs", "unknown key")):
                    break  # a name that it does not know is refused with whatever value
    after = await bench.call("GET", "/api/v1/people/alice/export")
    # That its token was used is not of her saying.
    assert [before[name] for name in before if name not in ("exported_at", "tokens")] == [
        after[name] for name in after if name not in ("exported_at", "tokens")
    ]
    assert len(before["tokens"]) == len(after["tokens"])


async def test_errors_speak_her_language_on_pages_and_english_over_the_api(bench, alice):  # noqa: F811
    await bench.call("PATCH", "/api/v1/people/alice", {"language": "de"}, 200)
    assert "severity ist eines von low, normal, high, urgent" in await alice.post("/feeds", 422, title="x", severity="loud")
    assert "keine Zeitzone wie Europe/Berlin" in await alice.post("/profile", 422, name="A", time_zone="Mars", language="de")
    page = await alice.get("/inbox/dlv_0000000000001", 404)
    assert "<h1>Nicht gefunden</h1>" in page and "es gibt keine solche Nachricht" in page
    assert "Unter dieser Adresse gibt es nichts" in await alice.get("/no/such/page", 404)
    assert "höchstens 200 Zeichen" in await alice.get(f"/inbox?text={'x' * 201}", 422)
    answer = await bench.call("GET", "/api/v1/people/alice/inbox?severity=loud", status=422)
    assert answer["detail"] == "severity is one of low, normal, high, urgent"
