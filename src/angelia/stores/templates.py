"""The site's own templates in SQL, with every version that they had."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select

from angelia.model.moments import from_us
from angelia.store import TemplateVersion
from angelia.stores import rows as shape
from angelia.stores.engine import SqlEngine
from angelia.stores.tables import template_versions, templates

_v = template_versions.c


class TemplatesMixin:
    """TemplateStore in SQL."""

    engine: SqlEngine

    async def put_template(self, key: str, source: str | None, actor: str = "", now: datetime | None = None) -> None:
        """See TemplateStore."""

        def work(connection: Connection) -> None:
            old = connection.scalar(select(templates.c.source).where(templates.c.key == key))
            if old == source:
                return
            if old is not None and connection.scalar(select(_v.id).where(_v.key == key).limit(1)) is None:
                connection.execute(insert(template_versions).values(key=key, source=old))
            connection.execute(delete(templates).where(templates.c.key == key))
            if source is not None:
                connection.execute(insert(templates).values(key=key, source=source))
            connection.execute(insert(template_versions).values(key=key, source=source, actor=actor, at_us=shape.stamp(now) or 0))

        await self.engine.write(work)

    async def templates(self) -> dict[str, str]:
        """See TemplateStore."""
        found = await self.engine.read(lambda connection: connection.execute(select(templates)).all())
        return {row.key: row.source for row in found}

    async def template_versions(self, key: str, limit: int = 100) -> list[TemplateVersion]:
        """See TemplateStore."""
        statement = select(template_versions).where(_v.key == key).order_by(_v.id.desc()).limit(limit)
        found = await self.engine.read(lambda connection: connection.execute(statement).all())
        return [TemplateVersion(row.id, row.key, row.source, row.actor, from_us(row.at_us)) for row in found]
