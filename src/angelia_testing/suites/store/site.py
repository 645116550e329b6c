"""The site: its document, sources, tokens, types and feeds."""

from dataclasses import replace

import pytest

from angelia.model.errors import Conflict
from angelia.model.message import MessageType
from angelia.model.person import Person
from angelia.store import Feed, Source, Store, Token
from angelia_testing.suites.store.making import MINUTE, NOW


class SiteSuite:
    """The promises of `angelia.store.SiteStore`."""

    async def test_the_site_its_sources_and_tokens(self, store: Store) -> None:
        assert await store.site() == ({}, 0)
        assert await store.versions() == (0, (await store.people_changed_since(-1))[0])
        assert await store.put_site({"preferences": {}}) == 1
        assert (await store.versions())[0] == 1
        with pytest.raises(Conflict):
            await store.put_site({}, expected_version=0)
        source = await store.put_source(Source(name="ci", subtrees=("obs",)))
        assert await store.source("ci") == source
        token = await store.add_token(Token(owner="source:ci", scopes=frozenset({"post"}), created_at=NOW), "hash")
        assert await store.token("hash") == token
        await store.touch_tokens([token.token_id], NOW)
        assert await store.revoke_token(token.token_id)
        revoked = await store.token("hash")
        assert revoked is not None and revoked.is_revoked
        await store.put_type(MessageType(key="a.b", first_seen_at=NOW, last_seen_at=NOW, aliases=("A_B",)))
        assert await store.type_aliases() == {"a_b": "a.b"}
        for is_public in (True, False, None):
            await store.put_type(MessageType(key="p.q", first_seen_at=NOW, last_seen_at=NOW, is_public=is_public))
            assert [entry.is_public for entry in await store.types(["p", "p.q"])] == [None, is_public]
        with pytest.raises(Conflict):
            await store.put_type(MessageType(key="c", first_seen_at=NOW, last_seen_at=NOW, aliases=("a_b",)))
        await store.put_template("k", "text")
        assert await store.templates() == {"k": "text"}
        await store.audit("root", "did", "it", {"x": 1}, NOW)
        assert (await store.audit_log())[0]["action"] == "did"
        assert await store.new_node() != await store.new_node()

    async def test_feeds(self, store: Store) -> None:
        alice = await store.put_person(Person(person_id=0, login="alice"))
        feed = await store.add_feed(Feed(person_id=alice.person_id, title="t", query={"type": "obs"}, created_at=NOW), "h1")
        assert await store.feed("h1") == feed
        assert await store.touch_feed(feed.feed_id, NOW, 5 * MINUTE)
        assert not await store.touch_feed(feed.feed_id, NOW + 5 * MINUTE, 5 * MINUTE)
        assert await store.feed("h1") == replace(feed, last_read_at=NOW)
        assert await store.touch_feed(feed.feed_id, NOW + 6 * MINUTE, 5 * MINUTE)
        assert [one.last_read_at for one in await store.list_feeds(alice.person_id)] == [NOW + 6 * MINUTE]
        assert await store.rotate_feed(alice.person_id, feed.feed_id, "h2")
        assert await store.feed("h1") is None
        assert await store.feed("h2") == feed
        assert not await store.rotate_feed(alice.person_id + 1, feed.feed_id, None)
        assert await store.rotate_feed(alice.person_id, feed.feed_id, None)
        assert await store.list_feeds(alice.person_id) == []
        assert not await store.touch_feed(feed.feed_id, NOW, MINUTE)
