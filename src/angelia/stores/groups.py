"""Groups and relations to objects, in SQL."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, literal, not_, select, update

from angelia.model.errors import NotFound
from angelia.model.person import Address, AddressState, Group
from angelia.stores import rows as shape
from angelia.stores.addresses import address_from, insert_address
from angelia.stores.changes import touch
from angelia.stores.engine import SqlEngine, run
from angelia.stores.tables import addresses, groups, members, persons, relations

_r = relations.c
_is_human = not_(persons.c.login.startswith("group:"))
_PRINCIPAL = (
    "INSERT INTO persons (login, name, time_zone, language) VALUES (?, ?, 'UTC', 'en') ON CONFLICT (login) "
    "DO UPDATE SET name = excluded.name, is_active = 1 RETURNING id"
)


class GroupsMixin:
    """The part of PersonStore about groups and relations, in SQL."""

    engine: SqlEngine

    async def put_group(self, group: Group, vouched: Collection[Address] | None = None) -> Group:
        """See PersonStore."""

        def work(connection: Connection) -> Group:
            found = select(persons.c.login, persons.c.id).where(persons.c.login.in_(group.members), _is_human)
            ids = {row.login: row.id for row in connection.execute(found)}
            missing = sorted(set(group.members) - ids.keys())
            if missing:
                raise NotFound(f"nobody has the login {', '.join(missing)}")
            put = "INSERT INTO groups (name, title) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET title = excluded.title RETURNING id"
            group_id = run(connection, put, (group.name, group.title)).scalar_one()
            present = set(connection.scalars(select(members.c.person_id).where(members.c.group_id == group_id)))
            connection.execute(delete(members).where(members.c.group_id == group_id))
            if ids:
                connection.execute(insert(members), [{"group_id": group_id, "person_id": key} for key in ids.values()])
            principal_id = run(connection, _PRINCIPAL, (group.principal, group.title)).scalar_one()
            if vouched is not None:
                _vouch(connection, principal_id, vouched)
            touch(connection, (present ^ set(ids.values())) | {principal_id})
            kept = tuple(_addresses(connection, [group.principal]).get(group.principal, ()))
            return Group(group_id=group_id, name=group.name, title=group.title, members=tuple(sorted(ids)), addresses=kept)

        return await self.engine.write(work)

    async def group(self, name: str) -> Group | None:
        """See PersonStore."""
        return next((group for group in await self._groups(name) if group.name == name), None)

    async def list_groups(self) -> list[Group]:
        """See PersonStore."""
        return await self._groups("")

    async def _groups(self, name: str) -> list[Group]:
        statement = (
            select(groups.c.id, groups.c.name, groups.c.title, persons.c.login)
            .outerjoin(members, members.c.group_id == groups.c.id)
            .outerjoin(persons, persons.c.id == members.c.person_id)
            .order_by(groups.c.name, persons.c.login)
        )
        if name:
            statement = statement.where(groups.c.name == name)

        def work(connection: Connection) -> list[Group]:
            found: dict[str, tuple[int, str, list[str]]] = {}
            for row in connection.execute(statement):
                logins = found.setdefault(row.name, (row.id, row.title, []))[2]
                if row.login is not None:
                    logins.append(row.login)
            made = [Group(group_id=i, name=key, title=title, members=tuple(who)) for key, (i, title, who) in found.items()]
            reached = _addresses(connection, [group.principal for group in made])
            return [replace(group, addresses=tuple(reached.get(group.principal, ()))) for group in made]

        return await self.engine.read(work)

    async def delete_group(self, name: str) -> bool:
        """See PersonStore."""

        def work(connection: Connection) -> bool:
            group_id = connection.scalar(select(groups.c.id).where(groups.c.name == name))
            if group_id is None:
                return False
            touch(connection, list(connection.scalars(select(members.c.person_id).where(members.c.group_id == group_id))))
            connection.execute(delete(members).where(members.c.group_id == group_id))
            connection.execute(delete(groups).where(groups.c.id == group_id))
            # The principal stays, since deliveries and decisions name it, but nothing reaches it any more.
            principal_id = connection.scalar(select(persons.c.id).where(persons.c.login == f"group:{name}"))
            if principal_id is not None:
                connection.execute(delete(addresses).where(addresses.c.person_id == principal_id))
                connection.execute(update(persons).where(persons.c.id == principal_id).values(is_active=0))
                touch(connection, [principal_id])
            return True

        return await self.engine.write(work)

    async def group_members(self, names: Collection[str]) -> dict[str, frozenset[int]]:
        """See PersonStore."""
        statement = (
            select(groups.c.name, members.c.person_id).outerjoin(members, members.c.group_id == groups.c.id).where(groups.c.name.in_(list(names)))
        )
        found: dict[str, set[int]] = {}
        for name, person_id in await self.engine.read(lambda connection: connection.execute(statement).all()):
            ids = found.setdefault(name, set())
            if person_id is not None:
                ids.add(person_id)
        return {name: frozenset(ids) for name, ids in found.items()}

    async def put_relations(self, ref: str, roles: Mapping[str, Collection[str]]) -> None:
        """See PersonStore."""
        values = [{"object": ref, "role": role, "principal": name} for role, names in roles.items() for name in sorted(set(names))]

        def work(connection: Connection) -> None:
            connection.execute(delete(relations).where(_r.object == ref))
            if values:
                connection.execute(insert(relations), values)

        await self.engine.write(work)

    async def relations(self, ref: str) -> dict[str, frozenset[str]]:
        """See PersonStore."""
        statement = select(_r.role, _r.principal).where(_r.object == ref)
        found: dict[str, set[str]] = {}
        for role, principal in await self.engine.read(lambda connection: connection.execute(statement).all()):
            found.setdefault(role, set()).add(principal)
        return {role: frozenset(names) for role, names in found.items()}

    async def roles_of(self, person_id: int) -> dict[str, frozenset[str]]:
        """See PersonStore."""
        own = select(persons.c.login).where(persons.c.id == person_id, _is_human)
        grouped = select(literal("group:") + groups.c.name).join(members, members.c.group_id == groups.c.id).where(members.c.person_id == person_id)
        statement = select(_r.object, _r.role).where(_r.principal.in_(own.union(grouped)))
        found: dict[str, set[str]] = {}
        for ref, role in await self.engine.read(lambda connection: connection.execute(statement).all()):
            found.setdefault(ref, set()).add(role)
        return {ref: frozenset(roles) for ref, roles in found.items()}

    async def related_ids(self, ref: str) -> dict[str, frozenset[int]]:
        """See PersonStore."""
        direct = select(_r.role, persons.c.id).join(persons, persons.c.login == _r.principal).where(_r.object == ref, _is_human)
        grouped = (
            select(_r.role, members.c.person_id)
            .join(groups, literal("group:") + groups.c.name == _r.principal)
            .join(members, members.c.group_id == groups.c.id)
            .where(_r.object == ref)
        )
        found: dict[str, set[int]] = {}
        for role, person_id in await self.engine.read(lambda connection: connection.execute(direct.union(grouped)).all()):
            found.setdefault(role, set()).add(person_id)
        return {role: frozenset(ids) for role, ids in found.items()}


def _addresses(connection: Connection, principals: Sequence[str]) -> dict[str, list[Address]]:
    """Addresses by principal."""
    found: dict[str, list[Address]] = {}
    for start in range(0, len(principals), 5_000):
        some = persons.c.login.in_(principals[start : start + 5_000])
        statement = select(persons.c.login, addresses).join(addresses, addresses.c.person_id == persons.c.id).where(some).order_by(addresses.c.id)
        for row in connection.execute(statement):
            found.setdefault(row.login, []).append(address_from(row))
    return found


def _vouch(connection: Connection, principal_id: int, vouched: Collection[Address]) -> None:
    """Exactly these addresses, all verified; one that is there already keeps its id, and with it what waits for it."""
    wanted = {(address.agent, address.value): address for address in vouched}
    for row in connection.execute(select(addresses).where(addresses.c.person_id == principal_id)).all():
        kept = wanted.pop((row.agent, row.value), None)
        if kept is None:
            connection.execute(delete(addresses).where(addresses.c.id == row.id))
        else:
            values = {"state": AddressState.OK.value, "verified_us": row.verified_us or shape.stamp(kept.verified_at)}
            connection.execute(update(addresses).where(addresses.c.id == row.id).values(**values))
    for address in wanted.values():
        values = {"agent": address.agent, "value": address.value, "state": AddressState.OK.value, "origin": "directory"}
        values |= {"person_id": principal_id, "is_default": 1, "verified_us": shape.stamp(address.verified_at)}
        insert_address(connection, values)
