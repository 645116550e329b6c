"""What operators look at: templates, the audit log, what is late, traffic."""

from datetime import timedelta

from angelia.model.delivery import Reason, State
from angelia.model.moments import first_id
from angelia.model.person import Group, Person
from angelia.store import Session, Settlement, Store
from angelia_testing.suites.store.making import LEASE, MINUTE, NOW, delivery, planned, row


class AdministrationSuite:
    """The promises of `angelia.store.AdministrationStore`."""

    async def test_each_change_of_a_template_is_a_version(self, store: Store) -> None:
        for source in ("one", "two", "two", None, None, "one"):
            await store.put_template("k", source, "person:alice", NOW)
        await store.put_template("other", "x", "person:bob", NOW)
        found = await store.template_versions("k")
        assert [(one.source, one.actor, one.at) for one in found] == [(s, "person:alice", NOW) for s in ("one", None, "two", "one")]
        assert len({one.version for one in found}) == 4
        assert await store.templates() == {"k": "one", "other": "x"}
        assert [one.source for one in await store.template_versions("k", 1)] == ["one"]

    async def test_the_audit_log_is_filtered(self, store: Store) -> None:
        for actor, action in (("a", "token.add"), ("b", "token.add"), ("a", "token.revoke"), ("a", "tokens"), ("a", "site.put")):
            await store.audit(actor, action, "x", {}, NOW)
        assert [item["action"] for item in await store.audit_log(actor="a")] == ["site.put", "tokens", "token.revoke", "token.add"]
        assert [item["actor"] for item in await store.audit_log(action="token.add")] == ["b", "a"]
        found = await store.audit_log(action="token.", actor="a")
        assert [item["action"] for item in found] == ["token.revoke", "token.add"]
        assert [item["action"] for item in await store.audit_log(int(str(found[0]["id"])), 1, action="token.")] == ["token.add"]

    async def test_what_is_overdue_and_what_failed_before(self, store: Store) -> None:
        made = [delivery(11 + n, 1, due_at=NOW - n * MINUTE, person_id=1 + n) for n in range(3)]
        await planned(store, 1, made)
        assert await store.overdue(["mail", "web"], NOW, (timedelta(0), MINUTE)) == {"mail": (2, 1), "web": (0, 0)}
        assert await store.retries(["mail"], 10) == []
        (claimed,) = await store.claim_deliveries(["mail"], 1, LEASE, NOW)
        await store.settle([Settlement(claimed.delivery_id, claimed.fence, State.DUE, Reason.CHOSEN, NOW, "not now")], NOW)
        (again,) = await store.retries(["web", "mail"], 10)
        assert (again.delivery_id, again.attempts, again.last_error) == (13, 1, "not now")

    async def test_people_and_objects_are_found_by_a_part(self, store: Store) -> None:
        for login, name in (("alice", "Alice A"), ("bob", "B%b"), ("carol", "CAROL a")):
            await store.put_person(Person(person_id=0, login=login, name=name))
        await store.put_group(Group(group_id=0, name="carols", members=("alice",)))
        await store.put_person(Person(person_id=0, login="public:cars"))
        assert [person.login for person in await store.find_people("cAr")] == ["carol"]
        assert [person.login for person in await store.find_people("%")] == ["bob"]
        assert [person.login for person in await store.find_people("a", "alice", 1)] == ["carol"]
        for ref in ("KDE/okular", "KDE/kate", "x_y"):
            await store.put_relations(ref, {"maintainer": ["alice"], "reviewer": ["bob"]})
        assert await store.objects() == ["KDE/kate", "KDE/okular", "x_y"]
        assert await store.objects("kde", "KDE/kate") == ["KDE/okular"]
        assert await store.objects("_", limit=5) == ["x_y"]

    async def test_traffic_is_counted_where_it_came(self, store: Store) -> None:
        early, late = first_id(NOW), first_id(NOW + timedelta(hours=1))
        for number, kind in ((early + 1, "a.b"), (early + 3, "a.c"), (late + 1, "a.b")):
            await planned(store, number, [delivery(number + 1, number, "web", State.DELIVERED, person_id=number % 5 + 1)], kind=kind)
        (quiet, first, second) = await store.traffic([NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])
        assert (quiet.messages, quiet.deliveries, quiet.people) == ({}, {}, frozenset())
        assert first.messages == {("a.b", "ci"): 1, ("a.c", "ci"): 1}
        assert (first.deliveries, second.deliveries) == ({("web", State.DELIVERED): 2}, {("web", State.DELIVERED): 1})
        assert (len(first.people), len(second.people)) == (2, 1)

    async def test_a_sample_of_the_traffic_comes_near(self, store: Store) -> None:
        every = timedelta(seconds=2)
        await store.add_messages([row(first_id(NOW + n * every), at=NOW) for n in range(1_800)])
        (sampled,) = await store.traffic([NOW, NOW + timedelta(hours=1)], 5)
        assert 1_200 <= sampled.messages["obs.build.fail", "ci"] <= 2_400
        assert await store.traffic([NOW, NOW + timedelta(hours=1)], 5) == [sampled]

    async def test_accounts_are_counted(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        await store.put_person(Person(person_id=0, login="bob", is_active=False))
        await store.put_group(Group(group_id=0, name="qa", members=("alice",)))
        assert await store.seen_since(NOW) == (2, 1, 0)
        for secret in ("one", "two"):
            await store.open_session(Session(person_id=alice.person_id, created_at=NOW, seen_at=NOW, ends_at=NOW + LEASE), secret)
        assert await store.seen_since(NOW) == (2, 1, 1)
        assert await store.seen_since(NOW + MINUTE) == (2, 1, 0)
