"""Figure R18, checklist S12, S15, S46: every route of the app for every role. A route that stands in no line of the table fails the test: say there who may go where."""

import hashlib
import re
import sqlite3
from dataclasses import dataclass, field

import httpx2
import pytest
from fastapi import FastAPI

from angelia.front import app_of
from angelia.settings import load
from angelia_testing.walk import app_behind, routes_of

# The first line that fits counts: a method or *, the beginning of the path as the router writes it (all of it, with $ at the end), and a kind.
#   door    open to all, whatever it answers        secret  opened by what stands in the path       open   open to all, and gives something
#   report  administrators, and sources that may    his     whose experiment it is, administrators
#   known   whoever has good credentials            hers    the person of the path, administrators  admin  administrators
#   page    who is signed in                        own     a page about one thing of hers          admin page
#   signed page  a page for who is signed in, opened by what a link in a mail says
#   asked   a page that answers whoever is signed in, also about what is not hers: with what the API says                secret page
TABLE = """
* /sign-in                              door
* /sign-out$                            door
* /csp-reports$                         door
* /static/                              door
* /favicon.ico$                         door
* /worker.js$                           door
* /feeds/{name}                         secret
* /unsubscribe/                         secret
* /set-password/                        secret page
POST /addresses/{address_id}/{change}$  signed page
POST /admin/people/{whose}/addresses/{address_id}/{change}$  signed page
GET /addresses/verify$                  signed page
POST /addresses/verify$                 signed page
GET /topics$                            door
GET /topics/                            secret page
GET /api/v1/topics$                     open
GET /api/v1/topics/                     secret
GET /reference$                         door
GET /reference/                         secret page
* /api/v1/ping/                         secret
GET /why/                               asked
GET /j/                                 own
POST /rules/{rule_id}/delete$           asked
GET /api/v1/people/{login}/groups$      admin
GET /api/v1/people/{login}/view$        admin
POST /api/v1/people/{login}/sessions/end$ admin
POST /api/v1/people/{login}/password-link$ admin
GET /$                                  door
GET /healthz/                           open
GET /metrics$                           open
GET /version$                           open
* /api/v1/openapi.json$                 open
GET /api/v1/messages/schema$            open
GET /api/v1/messages                    known
GET /api/v1/site$                       known
GET /api/v1/types                       known
POST /api/v1/messages$                  post
POST /api/v1/publish/                   post
POST /api/v1/transitions$               report
GET /api/v1/instruments                 known
GET /api/v1/jobs$                       known
POST /api/v1/jobs$                      known
POST /api/v1/uploads$                   known
GET /api/v1/jobs/{job_id}/callback$    secret
POST /api/v1/jobs/{job_id}/callback$    secret
* /api/v1/jobs/{job_id}                 his
GET /api/v1/experiments$                known
GET /api/v1/experiments/{experiment_id}$ his
GET /hermes/alice/                      hers
POST /hermes/                           post
GET /ntfy/alice/                        hers
POST /ntfy/                             post
* /api/v1/people/{login}                hers
* /api/v1/                              admin
* /admin/                               admin page
* /                                     page
"""
ROLES = ("nobody", "alice", "bob", "root", "revoked", "inactive")
NEEDS_A_TOKEN = {"nobody": 401, "revoked": 401, "inactive": 401}
NEEDS_A_SESSION = {"nobody": "sign in", "revoked": "sign in", "inactive": "sign in"}
EXPECTED = {
    "door": dict.fromkeys(ROLES, "answer"),
    "secret": dict.fromkeys(ROLES, "closed"),
    "secret page": dict.fromkeys(ROLES, "closed"),
    "signed page": NEEDS_A_SESSION | {"alice": "closed", "bob": "closed", "root": "closed"},
    "asked": NEEDS_A_SESSION | {"alice": "in", "bob": "in", "root": "in"},
    "open": dict.fromkeys(ROLES, "in"),
    "known": NEEDS_A_TOKEN | {"alice": "in", "bob": "in", "root": "in"},
    "post": NEEDS_A_TOKEN | {"alice": 403, "bob": 403, "root": "in"},
    "report": NEEDS_A_TOKEN | {"alice": 403, "bob": 403, "root": "in"},
    "his": NEEDS_A_TOKEN | {"alice": "in", "bob": 404, "root": "in"},
    "hers": NEEDS_A_TOKEN | {"alice": "in", "bob": 404, "root": "in"},
    "admin": NEEDS_A_TOKEN | {"alice": 403, "bob": 403, "root": "in"},
    "page": NEEDS_A_SESSION | {"alice": "in", "bob": "in", "root": "in"},
    "own": NEEDS_A_SESSION | {"alice": "in", "bob": "closed", "root": "answer"},
    "admin page": NEEDS_A_SESSION | {"alice": 404, "bob": 404, "root": "in"},
}
# Read tokens may do no more than read; a plan changes nothing.
READS_BY_POST = ("/preferences/plan", "/rules/preview")
QUERY = {"object": "x", "type": "a.b", "key": "a.b/mail/full/en/text", "login": ""}
EXPERIMENT = {"objectType": "experiment", "eventType": "create", "objectId": "/experiments/1", "userId": "alice", "timestamp": 1_370_860_773}
BLOCK = b'<h:message xmlns:h="http://xml.opensuse.org/hermes" type="a.b"><h:body>text</h:body></h:message>'
HERS = "/api/v1/people/{login}"
LOOKS = {f"{HERS}{place}" for place in ("/inbox", "/inbox/{delivery_id}", "/decisions", "/rules/{rule_id}/matches", "/export")}
HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cross-origin-opener-policy": "same-origin"}
LINES = [re.fullmatch(r"(\S+)\s+(\S+)\s+(\S.*)", line).groups() for line in TABLE.strip().splitlines()]


def kind_of(method, path):
    for methods, prefix, kind in LINES:
        if methods in ("*", method) and (path == prefix[:-1] if prefix.endswith("$") else path.startswith(prefix)):
            # A page about one thing: whoever has no such thing gets none.
            return "own" if kind == "page" and re.search(r"\{\w*_id\}", path) else kind
    return None


def is_page(kind):
    return kind in ("door", "page", "own", "admin page", "asked", "secret page", "signed page")


@dataclass
class World:
    app: FastAPI
    house: object
    bearers: dict = field(default_factory=dict)
    cookies: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)

    @property
    def routes(self):
        found = [(method, route.path) for route in routes_of(self.app) for method in sorted(route.methods or ())]
        return [
            *sorted(found),
            ("POST", "/api/v1/messages"),
            ("POST", "/api/v1/publish/{type}"),
            ("POST", "/api/v1/transitions"),
            ("GET", "/hermes/alice/"),
            ("POST", "/hermes/a.b"),
            ("GET", "/ntfy/alice/json"),
            ("GET", "/ntfy/alice/auth"),
            ("POST", "/ntfy/alice"),
        ]

    def client(self):
        transport = httpx2.ASGITransport(self.house.app_for_test, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")

    async def ask(self, client, method, path, role, **more):
        filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: str(self.values.get(part.group(1), "1")), path)
        kind = kind_of(method, path)
        headers = {}
        if is_page(kind):
            if role in self.cookies:
                headers["Cookie"] = f"angelia={self.cookies[role]}"
            headers |= {"Sec-Fetch-Site": "same-origin"} | more.pop("site", {})
            body = {} if method in ("GET", "HEAD") else {"data": {"x": "y"}}
        else:
            if role in self.bearers:
                headers["Authorization"] = f"Bearer {self.bearers[role]}"
            body = {} if method in ("GET", "HEAD") else {"json": {"post": {"type": "a.b"}, "report": EXPERIMENT}.get(kind, {})}
        if path.startswith("/hermes/"):
            body = {"content": BLOCK} if method == "POST" else {}
        query = {} if kind in ("post", "report") or path.startswith("/hermes/") else QUERY
        if path.startswith("/ntfy/"):
            body, query = ({"content": b"text"}, {}) if method == "POST" else ({}, {"poll": "1"})
        return await client.request(method, filled, headers=headers, params=query, **body)


@pytest.fixture
def settings(tmp_path):
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {"echo": {}}})


@pytest.fixture
async def world(bench, house):
    """Four people with something each, tokens and sessions of all roles, and an app of the world's view."""
    house.app_for_test = app_of(house)
    made = World(app_behind(house.app_for_test), house)
    for login in ("alice", "bob", "root", "carol"):
        await bench.person(login, is_admin=login == "root")
        scopes = ["read", "write"] + (["admin"] if login == "root" else [])
        role = {"carol": "inactive"}.get(login, login)
        made.bearers[role] = (await bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": scopes}, 201))["secret"]
        await bench.call("PUT", f"/api/v1/people/{login}/password", {"password": f"the password of {login}"}, 204)
        made.cookies[role] = await signed_in(made, login)
    made.bearers["reader"] = (await bench.call("POST", "/api/v1/people/alice/tokens", {"scopes": ["read"]}, 201))["secret"]
    lost = await bench.call("POST", "/api/v1/people/alice/tokens", {"scopes": ["read", "write"]}, 201)
    made.bearers["revoked"], made.cookies["revoked"] = lost["secret"], await signed_in(made, "alice")
    message = await bench.post("a.b", to=["alice"], object="x")
    await bench.work()
    (address,) = (await bench.call("GET", "/api/v1/people/alice/addresses"))["items"]
    feed = await bench.call("POST", "/api/v1/people/alice/feeds", {}, 201)
    await bench.call("PUT", "/api/v1/sources/ci", {}, 200)
    await bench.call("PUT", "/api/v1/groups/qa", {"members": ["alice"]}, 200)
    (item,) = (await bench.call("GET", "/api/v1/people/alice/inbox"))["items"]
    rule = await bench.call("POST", "/api/v1/people/alice/rules", {"type": "a.b", "do": {"mail": "off"}}, 201)
    expected = await bench.call("POST", "/api/v1/people/alice/expectations", {"title": "x", "every": "1h"}, 201)
    experiment = await bench.call("POST", "/api/v1/transitions", EXPERIMENT, 201)
    made.values = {
        "experiment_id": experiment["experiment"], "expectation_id": expected["id"],
        "login": "alice", "whose": "alice", "message_id": message, "address_id": address["id"], "feed_id": feed["id"], "delivery_id": item["id"], "rule_id": rule["id"],
        "token_id": 999_999, "session_id": 999_999, "key": "a.b", "type": "a.b", "agent": "mail",
    }  # fmt: skip
    async with made.client() as client:
        # Tokens are marked as used now, so that no reading does it later.
        for role in ("alice", "bob", "root", "reader", "revoked", "inactive"):
            assert (await client.get("/api/v1/site", headers={"Authorization": f"Bearer {made.bearers[role]}"})).status_code == 200
        job = {"instrument": "echo", "product": "echo"}
        answer = await client.post("/api/v1/jobs", json=job, headers={"Authorization": f"Bearer {made.bearers['alice']}"})
        made.values["job_id"] = answer.json()["id"]
        made.values["short"] = answer.json()["id"].removeprefix("job_")
        await client.post("/sign-out", headers={"Cookie": f"angelia={made.cookies['revoked']}", "Sec-Fetch-Site": "same-origin"})
    await bench.call("DELETE", f"/api/v1/people/alice/tokens/{lost['id']}", status=204)
    await bench.call("PATCH", "/api/v1/people/carol", {"is_active": False}, 200)
    made.app.state.context.callers.forget()
    made.app.state.context.sessions.forget()
    return made


async def signed_in(world, login):
    async with world.client() as client:
        answer = await client.post(
            "/sign-in", data={"login": login, "password": f"the password of {login}"}, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert answer.status_code == 303, answer.text
        return client.cookies["angelia"]


def contents(house):
    """A hash of all rows of all tables."""
    digest = hashlib.sha256()
    with sqlite3.connect(house.settings.data_dir / "angelia.db") as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        for name in names:
            digest.update(repr((name, sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))))).encode())
    database.close()
    return digest.hexdigest()


def verdict(expected, answer, kind):
    """Is this what was expected? A thing that is not there, or input that is wrong, is an answer to somebody who was let in."""
    status = answer.status_code
    goes_to_door = status == 303 and answer.headers.get("location", "").startswith("/sign-in")
    match expected:
        case "answer":
            return status < 500
        case "closed":
            return status in (403, 404, 422)
        case "sign in":
            return goes_to_door
        case "in":
            is_nobody = status == 404 and ("no such person" in answer.text or "no such page" in answer.text)
            return status < 500 and status not in (401, 403) and not goes_to_door and not is_nobody
        case _:
            return status == expected


def test_every_route_stands_in_the_table(house):
    for route in routes_of(app_behind(app_of(house))):
        for method in route.methods or ():
            assert kind_of(method, route.path) in EXPECTED, f"{method} {route.path}"


async def test_each_role_on_each_route(world):
    """First all that is refused, which must change nothing; then all that is let in."""
    wrong, cells = [], 0
    before = contents(world.house)
    async with world.client() as client:
        for is_refused in (True, False):
            # What ends sessions comes last.
            for method, path in sorted(world.routes, key=lambda route: "session" in route[1] or "password" in route[1]):
                kind = kind_of(method, path)
                for role in ROLES:
                    expected = EXPECTED[kind][role]
                    if not is_refused and is_page(kind) and ("session" in path or "password" in path):
                        continue
                    if (expected not in ("in", "answer")) is not is_refused or (kind == "door" and path.startswith("/sign-out") and role != "nobody"):
                        continue
                    answer = await world.ask(client, method, path, role)
                    client.cookies.clear()
                    cells += 1
                    if not verdict(expected, answer, kind):
                        wrong.append(f"{method} {path} as {role}: {answer.status_code}, not {expected}: {answer.text[:120]}")
                    if "Traceback" in answer.text or any(
                        answer.headers.get(name) != value
                        for name, value in HEADERS.items()
                        if kind not in ("post", "report") and not path.startswith(("/hermes/", "/ntfy/"))
                    ):
                        wrong.append(f"{method} {path} as {role}: headers {dict(answer.headers)}")
            if is_refused:
                assert not wrong, "\n".join(wrong)
                assert contents(world.house) == before
    assert not wrong, "\n".join(wrong)
    assert cells > 300


async def test_a_reading_token_changes_nothing(world):
    before = contents(world.house)
    async with world.client() as client:
        for method, path in world.routes:
            if kind_of(method, path) == "hers" and method not in ("GET", "HEAD") and not path.endswith(READS_BY_POST):
                answer = await world.ask(client, method, path, "reader")
                assert answer.status_code == 403, f"{method} {path}: {answer.status_code} {answer.text}"
    assert contents(world.house) == before


NOBODYS = ("/api/v1/site", "/api/v1/types")
"""What holds for all, and is known to whoever has a token."""


async def test_a_posting_token_reads_nothing(world):
    async with world.client() as client:
        root = {"Authorization": f"Bearer {world.bearers['root']}"}
        world.bearers["poster"] = (await client.post("/api/v1/people/alice/tokens", json={"scopes": ["post"]}, headers=root)).json()["secret"]
        for method, path in world.routes:
            if method == "GET" and kind_of(method, path) in ("known", "hers", "his") and not path.startswith(NOBODYS):
                answer = await world.ask(client, method, path, "poster")
                assert answer.status_code == 403, f"{method} {path}: {answer.status_code} {answer.text}"


async def test_get_never_changes_the_database(world):
    """Checklist S6. Why, asked about somebody else, leaves its entry in the audit log: that is what it is for; here nobody else is asked about."""
    before = contents(world.house)
    async with world.client() as client:
        for method, path in world.routes:
            # The one writes a row to prove that it can; the others leave an entry in the audit log, which is what they are for.
            if method == "GET" and path != "/healthz/ready" and not path.endswith(("/audit.csv", "/audit/export", "/view")):
                # To look into somebody else's messages is noted too.
                for role in [role for role in ROLES if role != "root" or path not in LOOKS]:
                    await world.ask(client, method, path, role)
                    client.cookies.clear()
                assert contents(world.house) == before, path


FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "x"},
    {"Sec-Fetch-Site": ""}, {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8080"},
]  # fmt: skip
ORIGINS = [
    {},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8081"},
    {"Origin": "http://127.0.0.1:8080.evil.example"},
]
OTHERS_MAY = ("/csp-reports", "/sign-in/{name}/logout")


async def test_a_change_that_comes_from_elsewhere_is_refused(world):
    """Checklist S6: cookies alone change nothing."""
    before = contents(world.house)
    async with world.client() as client:
        for method, path in world.routes:
            if is_page(kind_of(method, path)) and method not in ("GET", "HEAD") and path not in OTHERS_MAY:
                for headers in [*FOREIGN, *ORIGINS]:
                    filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: str(world.values.get(part.group(1), "1")), path)
                    cookie = {"Cookie": f"angelia={world.cookies['root']}"}
                    answer = await client.request(method, filled, headers=headers | cookie, data={"x": "y"}, params=QUERY)
                    assert answer.status_code == 403, f"{method} {path} {headers}: {answer.status_code}"
    assert contents(world.house) == before


async def test_a_session_opens_no_api(world):
    """Nor does any cookie: what another site can make a browser send is worth nothing there."""
    before = contents(world.house)
    async with world.client() as client:
        for method, path in world.routes:
            if kind_of(method, path) in ("known", "hers", "admin", "post"):
                filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda part: str(world.values.get(part.group(1), "1")), path)
                headers = {"Cookie": f"angelia={world.cookies['root']}", "Sec-Fetch-Site": "same-origin"}
                answer = await client.request(method, filled, headers=headers, json={}, params=QUERY)
                assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"
    assert contents(world.house) == before
