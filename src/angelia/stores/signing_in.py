"""Passwords, identities and sessions in SQL."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from angelia.model.errors import Conflict
from angelia.model.moments import from_us, to_us
from angelia.model.person import Person
from angelia.store import Session
from angelia.stores.engine import SqlEngine, run
from angelia.stores.people import PERSON_COLUMNS, person_from
from angelia.stores.tables import credentials, identities, persons, sessions

_s = sessions.c
_SESSION = (_s.id, _s.person_id, _s.provider, _s.device, _s.created_us, _s.seen_us, _s.ends_us)
_SET = (
    "INSERT INTO credentials (person_id, password_hash, changed_us) VALUES (?, ?, ?) ON CONFLICT (person_id) "
    "DO UPDATE SET password_hash = excluded.password_hash, changed_us = excluded.changed_us"
)
_IDENTITY = "INSERT INTO identities (issuer, subject, person_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_OPEN = (
    "INSERT INTO sessions (person_id, secret_hash, provider, provider_session, device, created_us, seen_us, ends_us) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"
)


class SignInMixin:
    """SignInStore in SQL."""

    engine: SqlEngine

    async def put_password(self, person_id: int, password_hash: str | None, now: datetime) -> None:
        """See SignInStore."""

        def work(connection: Connection) -> None:
            if password_hash is None:
                connection.execute(delete(credentials).where(credentials.c.person_id == person_id))
            else:
                run(connection, _SET, (person_id, password_hash, to_us(now)))

        await self.engine.write(work)

    async def password(self, person_id: int) -> str | None:
        """See SignInStore."""
        statement = select(credentials.c.password_hash).where(credentials.c.person_id == person_id)
        found: str | None = await self.engine.read(lambda connection: connection.scalar(statement))
        return found

    async def link_identity(self, issuer: str, subject: str, person_id: int) -> None:
        """See SignInStore."""
        await self.engine.write(lambda connection: run(connection, _IDENTITY, (issuer, subject, person_id)).close())

    async def person_of_identity(self, issuer: str, subject: str) -> Person | None:
        """See SignInStore."""
        statement = (
            select(*PERSON_COLUMNS)
            .join(identities, identities.c.person_id == persons.c.id)
            .where(identities.c.issuer == issuer, identities.c.subject == subject)
        )
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else person_from(row)

    async def identities(self, person_id: int) -> list[tuple[str, str]]:
        """See SignInStore."""
        table = identities.c
        statement = select(table.issuer, table.subject).where(table.person_id == person_id).order_by(table.issuer, table.subject)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [(row[0], row[1]) for row in found]

    async def unlink_identity(self, issuer: str, subject: str, person_id: int, opening: Collection[str], *, has_passwords: bool) -> bool:
        """See SignInStore."""
        table = identities.c

        def work(connection: Connection) -> bool:
            # Two removals at once must not each leave the other's as the last.
            connection.execute(select(persons.c.id).where(persons.c.id == person_id).with_for_update()).close()
            found = connection.execute(select(table.issuer, table.subject).where(table.person_id == person_id)).all()
            others = [other for other, name in found if (other, name) != (issuer, subject)]
            if len(others) == len(found):
                return False
            if issuer in opening and not any(other in opening for other in others) and not (has_passwords and _has_password(connection, person_id)):
                raise Conflict("this is the only way to sign in: have a password set, or sign in with another provider, first")
            connection.execute(delete(identities).where(table.issuer == issuer, table.subject == subject, table.person_id == person_id))
            connection.execute(delete(sessions).where(_s.person_id == person_id, _s.provider == issuer))
            return True

        return await self.engine.write(work)

    async def open_session(self, session: Session, secret_hash: str, provider_session: str = "") -> Session:
        """See SignInStore."""
        values = (
            session.person_id, secret_hash, session.provider, provider_session, session.device[:200], to_us(session.created_at),
            to_us(session.seen_at), to_us(session.ends_at),
        )  # fmt: skip
        session_id = await self.engine.write(lambda connection: run(connection, _OPEN, values).scalar_one())
        return Session(
            session_id=session_id, person_id=session.person_id, provider=session.provider, device=session.device,
            created_at=session.created_at, seen_at=session.seen_at, ends_at=session.ends_at,
        )  # fmt: skip

    async def session(self, secret_hash: str) -> tuple[Session, Person] | None:
        """See SignInStore."""
        statement = select(*_SESSION, *PERSON_COLUMNS).join(persons, persons.c.id == _s.person_id).where(_s.secret_hash == secret_hash)
        row = await self.engine.read(lambda connection: connection.execute(statement).first())
        return None if row is None else (_session_from(row), person_from(row[len(_SESSION) :]))

    async def touch_session(self, session_id: int, now: datetime) -> None:
        """See SignInStore."""
        statement = update(sessions).where(_s.id == session_id).values(seen_us=to_us(now))
        await self.engine.write(lambda connection: connection.execute(statement).close())

    async def last_here(self, now: datetime, limit: int) -> list[int]:
        """See SignInStore."""
        statement = select(_s.person_id).where(_s.ends_us > to_us(now)).group_by(_s.person_id).order_by(func.max(_s.seen_us).desc()).limit(limit)
        return list(await self.engine.read(lambda connection: connection.execute(statement).scalars().all()))

    async def list_sessions(self, person_id: int, now: datetime) -> list[Session]:
        """See SignInStore."""
        statement = select(*_SESSION).where(_s.person_id == person_id, _s.ends_us > to_us(now)).order_by(_s.seen_us.desc(), _s.id)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [_session_from(row) for row in found]

    async def end_sessions(self, person_id: int, session_ids: Collection[int] | None = None) -> int:
        """See SignInStore."""
        statement = delete(sessions).where(_s.person_id == person_id)
        if session_ids is not None:
            statement = statement.where(_s.id.in_(list(session_ids)))
        return await self.engine.write(lambda connection: connection.execute(statement).rowcount)

    async def end_provider_sessions(self, provider: str, subject: str, provider_session: str) -> int:
        """See SignInStore."""
        statement = delete(sessions).where(_s.provider == provider)
        if provider_session:
            statement = statement.where(_s.provider_session == provider_session)
        if subject:
            hers = select(identities.c.person_id).where(identities.c.issuer == provider, identities.c.subject == subject)
            statement = statement.where(_s.person_id.in_(hers))
        if not (provider_session or subject):
            return 0
        return await self.engine.write(lambda connection: connection.execute(statement).rowcount)

    async def forget_sessions(self, now: datetime) -> int:
        """See SignInStore."""
        statement = delete(sessions).where(_s.ends_us <= to_us(now))
        return await self.engine.write(lambda connection: connection.execute(statement).rowcount)


def _has_password(connection: Connection, person_id: int) -> bool:
    return connection.scalar(select(credentials.c.person_id).where(credentials.c.person_id == person_id)) is not None


def _session_from(row: Any) -> Session:
    return Session(
        session_id=row[0], person_id=row[1], provider=row[2], device=row[3], created_at=from_us(row[4]), seen_at=from_us(row[5]),
        ends_at=from_us(row[6]),
    )  # fmt: skip
