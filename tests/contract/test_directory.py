"""Directories: the local one and the one behind HTTP keep the same promises."""

import asyncio
import json
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from angelia.directories.http import HttpDirectory, HttpDirectorySettings
from angelia.directories.local import LocalDirectory
from angelia.directories.together import TogetherDirectory
from angelia.directory import Failed, Members
from angelia.model.errors import BadSettings, StoreUnavailable
from angelia.model.person import Group, Person
from angelia.outbound import Outbound
from angelia_testing.fixtures import opened
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.suites.directory import DirectorySuite


class Clock:
    now = 1_000.0

    def __call__(self):
        return self.now


async def people(store):
    ids = {login: (await store.put_person(Person(person_id=0, login=login))).person_id for login in ("alice", "bob", "carol")}
    await store.put_group(Group(group_id=0, name="qa", members=("bob", "carol")))
    return ids


class Local:
    """Roles in the store; it fails where the store does."""

    def __init__(self, store, ids):
        self.store, self.ids, self.clock = store, ids, Clock()
        self.directory = LocalDirectory(self, self.clock)
        self.is_down = False

    async def related_ids(self, ref):
        if self.is_down:
            raise StoreUnavailable("no database")
        return await self.store.related_ids(ref)

    async def tell(self, ref, roles):
        await self.store.put_relations(ref, roles)

    async def fail(self):
        self.is_down = True

    async def mend(self):
        self.is_down = False

    def forget(self):
        self.clock.now += 60


class Http:
    """Roles behind a real HTTP server, which fails in the way that is asked for."""

    def __init__(self, store, ids, **settings):
        self.store, self.ids, self.clock, self.roles, self.trouble = store, ids, Clock(), {}, None
        self.peer = ScriptedHttp(self.answer)
        self.outbound = Outbound("127.0.0.0/8")
        made = HttpDirectorySettings(url=f"{self.peer.url}/roles?object={{object}}", **({"timeout": 10.0} | settings))
        self.directory = HttpDirectory("peer", made, self.outbound, store, self.clock)

    def answer(self, asked):
        if self.trouble is not None:
            return self.trouble
        ref = parse_qs(urlsplit(asked.path).query)["object"][0]
        if ref not in self.roles:
            return Reply(404)
        return Reply(body=json.dumps({"roles": self.roles[ref]}).encode())

    async def tell(self, ref, roles):
        self.roles[ref] = {role: list(names) for role, names in roles.items()}

    async def fail(self):
        self.trouble = self.trouble or Reply(500)

    async def mend(self):
        self.trouble = None

    def forget(self):
        self.clock.now += 10

    async def close(self):
        await self.directory.close()
        await self.outbound.close()
        await asyncio.to_thread(self.peer.stop)


class TestLocal(DirectorySuite):
    @pytest.fixture
    async def world(self, store):
        return Local(store, await people(store))


@pytest.fixture
async def store_of_people(sqlite_url):
    store = await opened(sqlite_url)
    yield store, await people(store)
    await store.close()


@pytest.fixture
async def http(store_of_people):
    made = Http(*store_of_people, ttl=5.0, stale=100.0, timeout=1.0)
    yield made
    await made.close()


BAD = {
    "500": Reply(500),
    "redirect": Reply(302, headers={"Location": "/elsewhere"}),
    "forbidden": Reply(403),
    "empty": Reply(200),
    "no JSON": Reply(body=b"<html>"),
    "not roles": Reply(body=b'{"roles": ["alice"]}'),
    "not names": Reply(body=b'{"roles": {"maintainer": "alice"}}'),
    "deep": Reply(body=b"[" * 100_000),
    "too much": Reply(body=b'{"roles": {}}' + b" " * 1_100_000),
    "half": Reply(body=b'{"roles": {}}', length=1_000, delay=0),
    "cut": Reply(is_cut=True),
    "silent": Reply(delay=1.5),
}


class TestHttp(DirectorySuite):
    """The suite, once for each way to fail."""

    @pytest.fixture(params=["500", "cut", "silent"])
    async def world(self, store_of_people, request):
        made = Http(*store_of_people, ttl=0.0, stale=0.0, **({"timeout": 1.0} if request.param == "silent" else {}))
        asked_to_fail = made.fail

        async def fail():
            made.trouble = BAD[request.param]
            await asked_to_fail()

        made.fail = fail
        yield made
        await made.close()


class TestTogether(DirectorySuite):
    """Half of what is told goes to each; the union keeps the promises, too."""

    @pytest.fixture
    async def world(self, store_of_people):
        store, ids = store_of_people
        made = Http(store, ids, ttl=0.0, stale=0.0)
        local = LocalDirectory(store, made.clock)
        tell = made.tell

        async def split(ref, roles):
            first = dict(list(roles.items())[:1])
            await store.put_relations(ref, first)
            await tell(ref, {role: names for role, names in roles.items() if role not in first})

        made.tell = split
        made.directory, inner = TogetherDirectory([local, made.directory]), made.directory
        yield made
        made.directory = inner
        await made.close()


@pytest.mark.parametrize("trouble", BAD)
async def test_only_a_clear_answer_counts(http, trouble):
    http.trouble = BAD[trouble]
    answer = await http.directory.relations("o")
    assert isinstance(answer, Failed), trouble
    await http.mend()
    assert isinstance(await http.directory.relations("o"), Failed)  # it rests
    http.forget()
    assert await http.directory.relations("o") == Members({})


async def test_fresh_then_stale_then_asked_again(http):
    await http.tell("o", {"maintainer": ["alice"]})
    alice, bob = (Members({"maintainer": frozenset({http.ids[login]})}) for login in ("alice", "bob"))
    assert await http.directory.relations("o") == alice
    await http.tell("o", {"maintainer": ["bob"]})
    assert await http.directory.relations("o") == alice
    assert len(http.peer.asked) == 1
    http.clock.now += 6
    assert await http.directory.relations("o") == alice  # stale serves while the new answer is fetched
    deadline = time.monotonic() + 5
    while await http.directory.relations("o") != bob:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    assert len(http.peer.asked) == 2
    http.trouble = Reply(500)
    http.clock.now += 90
    assert await http.directory.relations("o") == bob  # a source that is down is bridged ...
    await asyncio.gather(*http.directory._asking.values())
    http.clock.now += 90
    assert isinstance(await http.directory.relations("o"), Failed)  # ... but not for ever


async def test_a_source_that_is_down_is_asked_a_few_times_not_a_thousand(http):
    http.trouble = Reply(500)
    await asyncio.gather(*(http.directory.relations(f"o/{n}") for n in range(1_000)))
    assert len(http.peer.asked) <= 10


async def test_what_a_slow_source_says_too_late_is_kept_for_the_next_question(http):
    http.trouble = Reply(delay=0.3, body=json.dumps({"roles": {"maintainer": ["alice"]}}).encode())
    refs = [f"o/{n}" for n in range(60)]
    answers = await asyncio.gather(*(http.directory.relations(ref) for ref in refs))
    assert any(isinstance(answer, Failed) for answer in answers)
    deadline = time.monotonic() + 30
    while any([isinstance(await http.directory.relations(ref), Failed) for ref in refs]):
        assert time.monotonic() < deadline
        http.forget()


async def test_a_token_and_a_prefix(store_of_people, tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    http = Http(*store_of_people, token_file=str(path), prefix="KDE/", ttl=0.0, stale=0.0)
    try:
        assert await http.directory.relations("GNOME/x") == Members({})
        assert await http.directory.relations("KDE/x") == Members({})
        path.write_text("second")
        await http.directory.relations("KDE/x")
        assert [asked.headers["authorization"] for asked in http.peer.asked] == ["Bearer first", "Bearer second"]
        path.unlink()
        assert isinstance(await http.directory.relations("KDE/x"), Failed)
    finally:
        await http.close()


async def test_what_is_not_allowed_is_never_asked(store_of_people):
    store, _ = store_of_people
    peer = ScriptedHttp()
    outbound = Outbound()
    with pytest.raises(BadSettings, match="may call"):
        HttpDirectory("x", HttpDirectorySettings(url=f"{peer.url}/{{object}}"), outbound, store, Clock())
    named = HttpDirectorySettings(url=f"http://localhost:{peer.port}/{{object}}")
    directory = HttpDirectory("x", named, outbound, store, Clock())
    assert isinstance(await directory.relations("o"), Failed)
    assert peer.asked == []
    await directory.close()
    await outbound.close()
    peer.stop()


@pytest.mark.parametrize("url", ["https://x.example.org/", "https://{object}.example.org/", "https://x.example.org/{object}/{object}"])
def test_settings_that_would_fail_at_night(url):
    with pytest.raises(BadSettings):
        HttpDirectorySettings(url=url)
