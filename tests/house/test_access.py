"""Who may see what, while rights come and go: by no way does anybody see what she may not (promise P14, checklist S9, S12)."""

import random
import re

import httpx2
import pytest

from angelia.front import app_of
from angelia_testing.walk import app_behind, routes_of

PEOPLE = ("alice", "bob", "carol")
GROUPS = ("g1", "g2")
STEPS = 14


class World:
    """What should be so: who is in which group, which message is for which groups, and who got it when it came."""

    def __init__(self, bench, chance):
        self.bench, self.chance = bench, chance
        self.members = {group: set() for group in GROUPS}
        self.access, self.got, self.tokens, self.feeds = {}, {}, {}, {}

    async def furnish(self):
        for login in PEOPLE:
            await self.bench.person(login, mail=False)
            made = await self.bench.call("POST", f"/api/v1/people/{login}/tokens", {"scopes": ["read", "write"]}, 201)
            self.tokens[login] = {"Authorization": f"Bearer {made['secret']}"}
            feed = await self.bench.call("POST", f"/api/v1/people/{login}/feeds", {}, 201)
            self.feeds[login] = re.sub(r"^http://[^/]+", "", feed["json"])
        for group in GROUPS:
            await self.change(group)

    async def change(self, group):
        """Somebody comes into a group, or leaves it."""
        self.members[group] ^= {self.chance.choice(PEOPLE)}
        await self.bench.call("PUT", f"/api/v1/groups/{group}", {"members": sorted(self.members[group])}, 200)

    async def post(self):
        """A message that names all, for those who may see it."""
        subject = f"secret {len(self.access)}."
        groups = self.chance.sample(GROUPS, self.chance.randrange(1, 3))
        access = [f"group:{group}" for group in groups]
        await self.bench.post("a.b", to=list(PEOPLE), subject=subject, restricted=True, access=access)
        await self.bench.work()
        self.access[subject] = groups
        self.got[subject] = {login for login in PEOPLE if self.may_see(login, subject)}

    def may_see(self, login, subject):
        return any(login in self.members[group] for group in self.access[subject])

    def visible(self, login):
        return {subject for subject in self.access if login in self.got[subject] and self.may_see(login, subject)}


WAYS = (
    "/api/v1/people/me/inbox", "/api/v1/people/me/inbox?sort=-severity", "/api/v1/people/me/inbox?group=thread&limit=200&text=secret",
    "/api/v1/people/me/decisions", "/api/v1/people/me/export", "/api/v1/messages", "/hermes/{login}/", "{feed}", "/ntfy/{login}/json?poll=1&since=all",
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_sees_more_by_one_way_than_by_another(bench, outside, seed):
    world = World(bench, random.Random(seed))
    await world.furnish()
    seen = hidden = 0
    for _ in range(STEPS):
        if world.chance.random() < 0.5:
            await world.post()
        else:
            await world.change(world.chance.choice(GROUPS))
        for login in PEOPLE:
            expected = world.visible(login)
            seen, hidden = seen + len(expected), hidden + len(world.access) - len(expected)
            for way in WAYS:
                place = way.format(login=login, feed=world.feeds[login])
                answer = await outside.get(place, headers=world.tokens[login])
                assert answer.status_code == 200, place
                assert set(re.findall(r"secret \d+\.", answer.text)) == expected, f"{login} by {place}, seed {seed}"
            counts = await outside.get("/api/v1/people/me/inbox/counts", headers=world.tokens[login])
            assert counts.json()["total"] == len(expected), login
    assert seen and hidden


ORIGINS = ("null", "https://evil.example", "http://hub.evil.example", "http://evil.example/hub", "http://127.0.0.1", "https://hub")


async def test_no_other_site_is_ever_let_in(house):
    """Checklist S9: no answer says that a script of another site may read it, and no question before a request is answered."""
    app = app_of(house)
    places = sorted({re.sub(r"\{\w+(:\w+)?\}", "1", route.path) for route in routes_of(app_behind(app))})
    assert len(places) > 100
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
        for number, place in enumerate((*places, "/hermes/alice/", "/nothing/of/that")):
            origin = {"Origin": ORIGINS[number % len(ORIGINS)], "Cookie": "angelia=x", "Authorization": "Bearer ang_x"}
            asked = origin | {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
            for answer in (await client.get(place, headers=origin), await client.options(place, headers=asked)):
                assert not [name for name in answer.headers if name.startswith("access-control-")], place
            assert answer.status_code >= 400, place


async def test_what_opens_something_is_in_the_audit_log_once_and_without_its_secret(bench, outside):
    """Checklist S44: who made, changed and ended what; times in UTC."""
    await bench.person("alice", mail=False)
    place = "/api/v1/people/alice"
    token = await bench.call("POST", f"{place}/tokens", {"scopes": ["read", "write"]}, 201)
    own = {"Authorization": f"Bearer {token['secret']}"}
    secrets = [token["secret"], "a password of hers", "alice@secret.example"]

    async def act(method, path, body=None):
        answer = await outside.request(method, f"{place}/{path}", json=body, headers=own)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else {}

    await act("PUT", "password", {"password": secrets[1]})
    feed = await act("POST", "feeds", {"title": "builds"})
    secrets += [feed["atom"], (await act("POST", f"feeds/{feed['id']}/rotate"))["json"]]
    await act("DELETE", f"feeds/{feed['id']}")
    address = await act("POST", "addresses", {"agent": "mail", "value": secrets[2]})
    await act("DELETE", f"addresses/{address['id']}")
    other = await act("POST", "tokens", {"scopes": ["read"]})
    await act("DELETE", f"tokens/{other['id']}")
    log = await bench.call("GET", "/api/v1/audit?actor=person:alice&limit=100")
    actions = ["password.put", "feed.add", "feed.rotate", "feed.revoke", "address.add", "address.delete", "token.add", "token.revoke"]
    assert [entry["action"] for entry in reversed(log["items"])] == actions
    assert {entry["target"] for entry in log["items"]} <= {"alice", "person:alice"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry["at"]) for entry in log["items"])
    told = str(await bench.call("GET", "/api/v1/audit?limit=500"))
    for secret in (*secrets, other["secret"]):
        assert secret.rpartition("/")[2].partition(".atom")[0].partition(".json")[0] not in told
