"""Signing in: sessions and identities at providers."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from angelia.model.errors import Conflict
from angelia.model.person import Person
from angelia.store import Feed, Session, Store
from angelia_testing.suites.store.making import MINUTE, NOW


class SignInSuite:
    """The promises of `angelia.store.SignInStore`."""

    async def test_who_was_here_last_comes_first(self, store: Store) -> None:
        """Who has several sessions is named once, by the last that was used; sessions that are over do not count."""
        people = {login: await store.put_person(Person(person_id=0, login=login)) for login in ("alice", "bob", "carol")}
        for login, secret, seen, ends in (("alice", "a", 1, 9), ("alice", "b", 4, 9), ("bob", "c", 3, 9), ("carol", "d", 5, 5)):
            person_id, seen_at, ends_at = people[login].person_id, NOW + seen * MINUTE, NOW + ends * MINUTE
            await store.open_session(Session(person_id=person_id, created_at=NOW, seen_at=seen_at, ends_at=ends_at), secret)
        wanted = [people[login].person_id for login in ("alice", "bob")]
        assert await store.last_here(NOW + 6 * MINUTE, 10) == wanted
        assert await store.last_here(NOW + 6 * MINUTE, 1) == wanted[:1]

    async def test_identities_at_providers(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        bob = await store.put_person(Person(person_id=0, login="bob"))
        await store.link_identity("https://b", "1", alice.person_id)
        await store.link_identity("https://a", "2", alice.person_id)
        await store.link_identity("https://a", "2", bob.person_id)
        assert await store.identities(alice.person_id) == [("https://a", "2"), ("https://b", "1")]
        assert await store.identities(bob.person_id) == []
        assert await store.person_of_identity("https://a", "2") == alice
        assert await store.person_of_identity("https://a", "1") is None
        ways: dict[str, Any] = {"opening": ["https://a", "https://b"], "has_passwords": True}
        assert not await store.unlink_identity("https://a", "2", bob.person_id, **ways)
        assert not await store.unlink_identity("https://a", "1", alice.person_id, **ways)
        for provider, secret in (("https://a", "sa"), ("https://b", "sb"), ("", "sp")):
            session = Session(person_id=alice.person_id, provider=provider, created_at=NOW, seen_at=NOW, ends_at=NOW + MINUTE)
            await store.open_session(session, secret)
        assert await store.unlink_identity("https://b", "1", alice.person_id, **ways)
        assert {session.provider for session in await store.list_sessions(alice.person_id, NOW)} == {"https://a", ""}
        with pytest.raises(Conflict):
            await store.unlink_identity("https://a", "2", alice.person_id, **ways)
        assert await store.identities(alice.person_id) == [("https://a", "2")]
        await store.put_password(alice.person_id, "hash", NOW)
        with pytest.raises(Conflict):
            await store.unlink_identity("https://a", "2", alice.person_id, opening=["https://a"], has_passwords=False)
        assert await store.unlink_identity("https://a", "2", alice.person_id, **ways)
        await store.put_password(alice.person_id, None, NOW)
        await store.link_identity("https://gone", "3", alice.person_id)
        assert await store.unlink_identity("https://gone", "3", alice.person_id, **ways), "it opened nothing"
        await store.link_identity("https://a", "2", alice.person_id)
        await store.link_identity("https://b", "1", alice.person_id)
        removals = [store.unlink_identity(*one, alice.person_id, **ways) for one in (("https://a", "2"), ("https://b", "1"))]
        made = await asyncio.gather(*removals, return_exceptions=True)
        assert sorted(isinstance(one, Conflict) for one in made) == [False, True], "one of two at once leaves the other"
        assert len(await store.identities(alice.person_id)) == 1
        feed = await store.add_feed(Feed(person_id=alice.person_id, title="T", query={}, created_at=NOW), "secret")
        assert await store.feed("secret") == feed
        await store.put_person(replace(alice, is_active=False))
        assert await store.feed("secret") is None
