"""People and what they want, in SQL; each change gets a number, so that others see what is new."""

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, not_, or_, select, update

from angelia.model.errors import Conflict, NotFound
from angelia.model.moments import from_us
from angelia.model.person import Address, Person
from angelia.store import Document, ProfileRow, RuleRow
from angelia.stores import rows as shape
from angelia.stores.addresses import address_from
from angelia.stores.changes import touch
from angelia.stores.engine import SqlEngine, read_rows, run, run_among
from angelia.stores.tables import addresses, follows, groups, members, persons, rule_index, user_types

PERSON_COLUMNS = (persons.c.id, persons.c.login, persons.c.name, persons.c.time_zone, persons.c.language, persons.c.is_active,
                  persons.c.is_admin)  # fmt: skip
IS_HUMAN = not_(or_(persons.c.login.startswith("group:"), persons.c.login.startswith("public:")))
"""Groups and the public have rows as people do."""
CHANGEABLE = frozenset({"name", "time_zone", "language", "is_active", "is_admin"})
CHUNK = 10_000


def person_from(row: Sequence[Any]) -> Person:
    """From the first seven columns."""
    return Person(
        person_id=row[0],
        login=row[1],
        name=row[2],
        time_zone=row[3],
        language=row[4],
        is_active=bool(row[5]),
        is_admin=bool(row[6]),
    )


_NAMES = (
    "SELECT login AS name FROM persons WHERE id = ? UNION ALL "
    "SELECT 'group:' || groups.name FROM members JOIN groups ON groups.id = members.group_id WHERE members.person_id = ?"
)


class PeopleMixin:
    """PersonStore in SQL, addresses and groups aside."""

    engine: SqlEngine

    async def put_person(self, person: Person) -> Person:
        """See PersonStore."""
        values = {
            "login": person.login,
            "name": person.name,
            "time_zone": person.time_zone,
            "language": person.language,
            "is_active": int(person.is_active),
            "is_admin": int(person.is_admin),
        }

        def work(connection: Connection) -> Person:
            holder = connection.scalar(select(persons.c.id).where(persons.c.login == person.login))
            if holder is not None and holder != person.person_id:
                raise Conflict(f"the login {person.login!r} is taken")
            person_id = person.person_id
            if person_id:
                if not connection.execute(update(persons).where(persons.c.id == person_id).values(**values)).rowcount:
                    raise NotFound("there is no such person")
            else:
                person_id = connection.execute(insert(persons).values(**values).returning(persons.c.id)).scalar_one()
            touch(connection, [person_id])
            return replace(person, person_id=person_id)

        return await self.engine.write(work)

    async def change_person(self, person_id: int, changes: Mapping[str, str | bool]) -> Person:
        """See PersonStore."""
        values = {name: int(value) if isinstance(value, bool) else value for name, value in changes.items() if name in CHANGEABLE}

        def work(connection: Connection) -> Person:
            if values:
                connection.execute(update(persons).where(persons.c.id == person_id).values(**values))
            row = connection.execute(select(*PERSON_COLUMNS).where(persons.c.id == person_id)).first()
            if row is None:
                raise NotFound("there is no such person")
            touch(connection, [person_id])
            return person_from(row)

        return await self.engine.write(work)

    async def person(self, login: str) -> Person | None:
        """See PersonStore."""
        statement = select(*PERSON_COLUMNS).where(persons.c.login == login)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else person_from(row)

    async def list_people(self, after_login: str = "", limit: int = 100) -> list[Person]:
        """See PersonStore."""
        statement = select(*PERSON_COLUMNS).where(persons.c.login > after_login, IS_HUMAN).order_by(persons.c.login).limit(limit)
        return [person_from(row) for row in await self.engine.read(lambda connection: connection.execute(statement).all())]

    async def has_admin_beside(self, person_id: int) -> bool:
        """See PersonStore."""
        others = select(persons.c.id).where(persons.c.id != person_id, persons.c.is_admin == 1, persons.c.is_active == 1, IS_HUMAN).limit(1)
        return await self.engine.read(lambda connection: connection.execute(others).first()) is not None

    async def person_ids(self, logins: Collection[str]) -> dict[str, int]:
        """See PersonStore."""
        wanted = list(logins)

        def work(connection: Connection) -> dict[str, int]:
            found: dict[str, int] = {}
            for start in range(0, len(wanted), 5_000):
                rows = run_among(connection, "SELECT login, id FROM persons WHERE login {among}", wanted[start : start + 5_000], "text")
                found.update({row[0]: row[1] for row in rows})
            return found

        return await read_rows(self.engine, len(wanted), work)

    async def profiles(self, person_ids: Collection[int]) -> list[ProfileRow]:
        """See PersonStore."""

        def work(connection: Connection) -> list[ProfileRow]:
            found: list[ProfileRow] = []
            for ids in shape.chunks(person_ids):
                found += _profiles(connection, ids)
            return found

        return await read_rows(self.engine, len(person_ids), work)

    async def names_of(self, person_id: int) -> frozenset[str]:
        """See PersonStore."""
        return await self.engine.glance(lambda connection: frozenset(run(connection, _NAMES, (person_id, person_id)).scalars()))

    async def people_changed_since(self, sequence: int) -> tuple[int, list[int]]:
        """See PersonStore."""

        def work(connection: Connection) -> tuple[int, list[int]]:
            newest = _newest(connection)
            changed = connection.scalars(select(persons.c.id).where(persons.c.changed_seq > sequence))
            return newest, list(changed)

        newest = await self.engine.glance(_newest)
        if sequence < 0 or newest == sequence:
            return newest, []
        return await self.engine.read(work)

    async def wants(self, login: str) -> tuple[Document, int]:
        """See PersonStore."""
        statement = select(persons.c.document, persons.c.version).where(persons.c.login == login)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        if row is None:
            raise NotFound(f"nobody has the login {login!r}")
        return (json.loads(row[0]) if row[0] else {}), row[1]

    async def previous_wants(self, login: str) -> tuple[Document, int]:
        """See PersonStore."""
        statement = select(persons.c.previous, persons.c.version).where(persons.c.login == login)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        if row is None:
            raise NotFound(f"nobody has the login {login!r}")
        return (json.loads(row[0]) if row[0] else {}), row[1]

    async def put_wants(
        self,
        login: str,
        document: Document,
        *,
        follows: Collection[str],
        rules: Collection[RuleRow],
        expected_version: int | None = None,
    ) -> int:
        """See PersonStore."""
        text = json.dumps(document, ensure_ascii=False, default=str)

        def work(connection: Connection) -> int:
            holder = select(persons.c.id, persons.c.version).where(persons.c.login == login).with_for_update()
            row = connection.execute(holder).first()
            if row is None:
                raise NotFound(f"nobody has the login {login!r}")
            if expected_version is not None and row.version != expected_version:
                raise Conflict(f"the preferences are at version {row.version}, not {expected_version}: read them again")
            statement = update(persons).where(persons.c.id == row.id).values(document=text, previous=persons.c.document, version=row.version + 1)
            connection.execute(statement)
            _replace_follows(connection, row.id, frozenset(follows))
            _replace_rules(connection, row.id, rules)
            touch(connection, [row.id])
            return int(row.version) + 1

        return await self.engine.write(work)

    async def followers(self, ref: str, after_person_id: int = 0, limit: int = 10_000) -> list[int]:
        """See PersonStore."""
        statement = (
            select(follows.c.person_id)
            .where(follows.c.object == ref, follows.c.person_id > after_person_id)
            .order_by(follows.c.person_id)
            .limit(limit)
        )
        return await self.engine.read(lambda connection: list(connection.scalars(statement)))

    async def followed(self, refs: Collection[str]) -> frozenset[str]:
        """See PersonStore."""
        asked = list(refs)
        statement = "SELECT DISTINCT object FROM follows WHERE object {among}"
        return await read_rows(self.engine, len(asked), lambda connection: frozenset(run_among(connection, statement, asked, "text").scalars()))

    async def rule_rows(self, person_ids: Collection[int] | None = None) -> AsyncIterator[Sequence[RuleRow]]:
        """See PersonStore."""
        last = 0
        while True:
            statement = select(rule_index).where(rule_index.c.id > last).order_by(rule_index.c.id).limit(CHUNK)
            if person_ids is not None:
                statement = statement.where(rule_index.c.person_id.in_(list(person_ids)))
            found = await self.engine.read(lambda connection, page=statement: connection.execute(page).all())  # type: ignore[misc]
            if found:
                yield [RuleRow(row.person_id, row.pattern, row.name, row.value) for row in found]
            if len(found) < CHUNK:
                return
            last = found[-1].id

    async def user_types(self, person_id: int) -> list[tuple[str, datetime, datetime, int]]:
        """See PersonStore."""
        statement = select(user_types).where(user_types.c.person_id == person_id).order_by(user_types.c.type)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [(row.type, from_us(row.first_us), from_us(row.last_us), row.messages) for row in found]


def _newest(connection: Connection) -> int:
    newest: int | None = run(connection, "SELECT value FROM counters WHERE name = 'people'").scalar()
    return newest or 0


def _profiles(connection: Connection, ids: Sequence[int]) -> list[ProfileRow]:
    reached: dict[int, list[Address]] = {}
    for row in connection.execute(select(addresses).where(addresses.c.person_id.in_(ids)).order_by(addresses.c.id)):
        reached.setdefault(row.person_id, []).append(address_from(row))
    belongs: dict[int, list[str]] = {}
    joined = select(members.c.person_id, groups.c.name).join(groups, groups.c.id == members.c.group_id)
    for person_id, name in connection.execute(joined.where(members.c.person_id.in_(ids)).order_by(groups.c.name)):
        belongs.setdefault(person_id, []).append(name)
    statement = select(*PERSON_COLUMNS, persons.c.document, persons.c.version).where(persons.c.id.in_(ids))
    return [
        ProfileRow(
            person_from(row),
            json.loads(row.document) if row.document else {},
            row.version,
            tuple(reached.get(row.id, ())),
            tuple(belongs.get(row.id, ())),
        )
        for row in connection.execute(statement)
    ]


def _replace_follows(connection: Connection, person_id: int, wanted: frozenset[str]) -> None:
    present = frozenset(connection.scalars(select(follows.c.object).where(follows.c.person_id == person_id)))
    for gone in sorted(present - wanted):
        connection.execute(delete(follows).where(follows.c.person_id == person_id, follows.c.object == gone))
    if wanted - present:
        connection.execute(insert(follows), [{"object": ref, "person_id": person_id} for ref in sorted(wanted - present)])


def _replace_rules(connection: Connection, person_id: int, rules: Collection[RuleRow]) -> None:
    columns = (rule_index.c.pattern, rule_index.c.name, rule_index.c.value)
    present = {tuple(row) for row in connection.execute(select(*columns).where(rule_index.c.person_id == person_id))}
    wanted = {(rule.pattern, rule.name, rule.value) for rule in rules}
    if present == wanted:
        return
    connection.execute(delete(rule_index).where(rule_index.c.person_id == person_id))
    if wanted:
        values = [{"person_id": person_id, "pattern": p, "name": n, "value": v} for p, n, v in sorted(wanted)]
        connection.execute(insert(rule_index), values)
