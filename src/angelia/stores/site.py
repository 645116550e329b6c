"""What the operator settles, in SQL: the site's document, sources, tokens, types, feeds."""

import json
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from angelia.model.errors import Conflict
from angelia.model.message import MessageType, Severity, ancestry
from angelia.model.moments import from_us, to_us
from angelia.store import Document, Feed, Source, Token
from angelia.stores import rows as shape
from angelia.stores.changes import next_number
from angelia.stores.engine import SqlEngine, run
from angelia.stores.tables import documents, feeds, persons, sources, tokens, type_aliases, types

SITE = "site"
_VERSIONS = "SELECT (SELECT version FROM documents WHERE name = ?), (SELECT value FROM counters WHERE name = 'people')"


class SiteMixin:
    """SiteStore in SQL, types aside."""

    engine: SqlEngine

    async def site(self) -> tuple[Document, int]:
        """See SiteStore."""
        statement = "SELECT document, version FROM documents WHERE name = ?"
        row = await self.engine.glance(lambda connection: run(connection, statement, (SITE,)).first())
        return (json.loads(row.document), row.version) if row is not None else ({}, 0)

    async def versions(self) -> tuple[int, int]:
        """See SiteStore."""
        site, people = await self.engine.glance(lambda connection: run(connection, _VERSIONS, (SITE,)).one())
        return site or 0, people or 0

    async def put_site(self, document: Document, expected_version: int | None = None) -> int:
        """See SiteStore."""
        text = json.dumps(document, ensure_ascii=False, default=str)

        def work(connection: Connection) -> int:
            statement = select(documents.c.version).where(documents.c.name == SITE).with_for_update()
            version = connection.scalar(statement) or 0
            if expected_version is not None and version != expected_version:
                raise Conflict(f"the site's document is at version {version}, not {expected_version}: read it again")
            put = (
                "INSERT INTO documents (name, document, version) VALUES (?, ?, ?) ON CONFLICT (name) "
                "DO UPDATE SET document = excluded.document, version = excluded.version"
            )
            run(connection, put, (SITE, text, version + 1))
            return version + 1

        return await self.engine.write(work)

    async def put_source(self, source: Source) -> Source:
        """See SiteStore."""
        fields = {
            "title": source.title,
            "subtrees": list(source.subtrees),
            "may_be_urgent": source.may_be_urgent,
            "rate_per_second": source.rate_per_second,
            "contact": source.contact,
            "is_active": source.is_active,
        }
        put = "INSERT INTO sources (name, document) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET document = excluded.document RETURNING id"
        text = json.dumps(fields, ensure_ascii=False)
        source_id = await self.engine.write(lambda connection: run(connection, put, (source.name, text)).scalar_one())
        return replace(source, source_id=source_id)

    async def source(self, name: str) -> Source | None:
        """See SiteStore."""
        statement = select(sources).where(sources.c.name == name)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else _source_from(row)

    async def list_sources(self) -> list[Source]:
        """See SiteStore."""
        statement = select(sources).order_by(sources.c.name)
        return [_source_from(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def add_token(self, token: Token, secret_hash: str) -> Token:
        """See SiteStore."""
        values = {
            "owner": token.owner,
            "title": token.title,
            "scopes": " ".join(sorted(token.scopes)),
            "secret_hash": secret_hash,
            "created_us": to_us(token.created_at),
            "expires_us": shape.stamp(token.expires_at),
        }
        statement = insert(tokens).values(**values).returning(tokens.c.id)
        token_id = await self.engine.write(lambda connection: connection.execute(statement).scalar_one())
        return replace(token, token_id=token_id)

    async def token(self, secret_hash: str) -> Token | None:
        """See SiteStore."""
        statement = select(tokens).where(tokens.c.secret_hash == secret_hash)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else _token_from(row)

    async def list_tokens(self, owner: str = "") -> list[Token]:
        """See SiteStore."""
        statement = select(tokens).order_by(tokens.c.id)
        if owner:
            statement = statement.where(tokens.c.owner == owner)
        return [_token_from(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def revoke_token(self, token_id: int) -> bool:
        """See SiteStore."""
        statement = update(tokens).where(tokens.c.id == token_id).values(is_revoked=1)
        return bool(await self.engine.write(lambda connection: connection.execute(statement).rowcount))

    async def touch_tokens(self, token_ids: Collection[int], now: datetime) -> None:
        """See SiteStore."""
        statement = update(tokens).where(tokens.c.id.in_(list(token_ids))).values(last_used_us=to_us(now))
        await self.engine.write(lambda connection: connection.execute(statement).close())

    async def add_feed(self, feed: Feed, secret_hash: str) -> Feed:
        """See SiteStore."""
        values = {
            "person_id": feed.person_id,
            "title": feed.title,
            "query": json.dumps(dict(feed.query)),
            "secret_hash": secret_hash,
            "created_us": to_us(feed.created_at),
        }
        statement = insert(feeds).values(**values).returning(feeds.c.id)
        feed_id = await self.engine.write(lambda connection: connection.execute(statement).scalar_one())
        return replace(feed, feed_id=feed_id)

    async def feed(self, secret_hash: str) -> Feed | None:
        """See SiteStore."""
        # Who is switched off must not go on reading by what she opened before.
        is_hers = (persons.c.id == feeds.c.person_id) & (persons.c.is_active == 1)
        statement = select(feeds).join(persons, is_hers).where(feeds.c.secret_hash == secret_hash, feeds.c.is_revoked == 0)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else _feed_from(row)

    async def list_feeds(self, person_id: int) -> list[Feed]:
        """See SiteStore."""
        statement = select(feeds).where(feeds.c.person_id == person_id, feeds.c.is_revoked == 0).order_by(feeds.c.id)
        return [_feed_from(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def touch_feed(self, feed_id: int, now: datetime, every: timedelta) -> bool:
        """See SiteStore."""
        is_late = or_(feeds.c.last_read_us.is_(None), feeds.c.last_read_us < to_us(now - every))
        statement = update(feeds).where(feeds.c.id == feed_id, feeds.c.is_revoked == 0, is_late).values(last_read_us=to_us(now))
        return bool(await self.engine.write(lambda connection: connection.execute(statement).rowcount))

    async def rotate_feed(self, person_id: int, feed_id: int, secret_hash: str | None) -> bool:
        """See SiteStore."""
        values: dict[str, object] = {"is_revoked": 1} if secret_hash is None else {"secret_hash": secret_hash, "last_read_us": None}
        mine = (feeds.c.id == feed_id, feeds.c.person_id == person_id, feeds.c.is_revoked == 0)
        statement = update(feeds).where(*mine).values(**values)
        return bool(await self.engine.write(lambda connection: connection.execute(statement).rowcount))

    async def new_node(self) -> int:
        """See SiteStore."""
        return (await self.engine.write(lambda connection: next_number(connection, "node"))) % 4096


class TypesMixin:
    """The type registry in SQL."""

    engine: SqlEngine

    async def types(self, keys: Collection[str] | None = None, *, is_curated: bool = False) -> list[MessageType]:
        """See SiteStore. `messages` counts candidacies, which costs intake nothing."""
        statement = select(types).order_by(types.c.key)
        if keys is not None:
            statement = statement.where(types.c.key.in_(list(keys)))
        if is_curated:
            statement = statement.where(types.c.document != "")

        def work(connection: Connection) -> list[MessageType]:
            aliases: dict[str, list[str]] = {}
            for alias, key in connection.execute(select(type_aliases).order_by(type_aliases.c.alias)):
                aliases.setdefault(key, []).append(alias)
            return [_type_from(row, tuple(aliases.get(row.key, ()))) for row in connection.execute(statement)]

        return await self.engine.read(work)

    async def put_type(self, entry: MessageType) -> None:
        """See SiteStore."""
        document = json.dumps(_type_document(entry), ensure_ascii=False)
        seen = to_us(entry.first_seen_at), to_us(entry.last_seen_at)

        def work(connection: Connection) -> None:
            for scope in ancestry(entry.key)[1:]:
                run(connection, "INSERT INTO types (key, first_us, last_us) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (scope, *seen))
            put = (
                "INSERT INTO types (key, first_us, last_us, document) VALUES (?, ?, ?, ?) ON CONFLICT (key) "
                "DO UPDATE SET document = excluded.document"
            )
            run(connection, put, (entry.key, *seen, document))
            wanted = sorted({alias.lower() for alias in entry.aliases})
            taken = select(type_aliases).where(type_aliases.c.alias.in_(wanted), type_aliases.c.key != entry.key)
            other = connection.execute(taken).first()
            if other is not None:
                raise Conflict(f"the alias {other.alias!r} belongs to the type {other.key!r}")
            connection.execute(delete(type_aliases).where(type_aliases.c.key == entry.key))
            if wanted:
                connection.execute(insert(type_aliases), [{"alias": alias, "key": entry.key} for alias in wanted])

        await self.engine.write(work)

    async def type_aliases(self) -> dict[str, str]:
        """See SiteStore."""
        found = await self.engine.read(lambda connection: connection.execute(select(type_aliases)).all())
        return {row.alias: row.key for row in found}


def _source_from(row: Row[Any]) -> Source:
    fields = json.loads(row.document)
    return Source(source_id=row.id, name=row.name, **(fields | {"subtrees": tuple(fields["subtrees"])}))


def _token_from(row: Row[Any]) -> Token:
    return Token(
        token_id=row.id,
        owner=row.owner,
        title=row.title,
        scopes=frozenset(row.scopes.split()),
        created_at=from_us(row.created_us),
        expires_at=shape.moment(row.expires_us),
        last_used_at=shape.moment(row.last_used_us),
        is_revoked=bool(row.is_revoked),
    )


def _feed_from(row: Row[Any]) -> Feed:
    return Feed(
        feed_id=row.id,
        person_id=row.person_id,
        title=row.title,
        query=json.loads(row.query),
        created_at=from_us(row.created_us),
        last_read_at=shape.moment(row.last_read_us),
        is_revoked=bool(row.is_revoked),
    )


def _type_document(entry: MessageType) -> dict[str, object]:
    return {
        "labels": dict(entry.labels),
        "descriptions": dict(entry.descriptions),
        "default_severity": None if entry.default_severity is None else entry.default_severity.label,
        "collapse_key": entry.collapse_key,
        "thread_key": entry.thread_key,
        "retention_days": entry.retention_days,
        "params": list(entry.params),
        "is_public": entry.is_public,
        "state": entry.state,
    }


def _type_from(row: Row[Any], aliases: tuple[str, ...]) -> MessageType:
    fields = json.loads(row.document) if row.document else {}
    severity = fields.get("default_severity")
    return MessageType(
        key=row.key,
        first_seen_at=from_us(row.first_us),
        last_seen_at=from_us(row.last_us),
        labels=fields.get("labels", {}),
        descriptions=fields.get("descriptions", {}),
        default_severity=None if severity is None else Severity.named(severity),
        collapse_key=fields.get("collapse_key", ""),
        thread_key=fields.get("thread_key", ""),
        retention_days=fields.get("retention_days"),
        aliases=aliases,
        params=tuple(fields.get("params", ())),
        is_public=fields.get("is_public"),
        state=fields.get("state", "auto"),
    )
