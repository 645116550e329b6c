"""After a start the inboxes of those who were here last are read ahead."""

from tests.house.browsing import browsers  # noqa: F401 - a fixture

from angelia import serving
from angelia.stores.entries import Shelves


async def test_inboxes_are_read_before_anybody_looks(bench, house, browsers, monkeypatch):  # noqa: F811
    for login in ("alice", "bob"):
        await browsers(login)
        await bench.post("a.b", to=[login])
    await bench.work()
    alice, bob = [await house.store.person(login) for login in ("alice", "bob")]
    house.store._shelves = Shelves()
    await serving.read_inboxes(house)
    assert [len(house.store._shelves.of(one.person_id).entries) for one in (alice, bob)] == [1, 1]
    house.store._shelves = Shelves()
    monkeypatch.setattr(serving, "LONGEST_READ", -1.0)
    await serving.read_inboxes(house)
    assert sum(len(house.store._shelves.of(one.person_id).entries) for one in (alice, bob)) == 1
