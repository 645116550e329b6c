"""Ids of jobs in the ODA dialect: numbers that are unmixed, or, where the site wants it, the sums that the old dispatcher made."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from angelia.dialects.oda_wire import job_number, wire_id
from angelia.flow.dispatcher import Dispatcher
from angelia.model.errors import NotFound
from angelia.model.job import Job, Principal

_HOUSE = Principal("", is_admin=True)


class JobIds:
    """`is_legacy`: by the old sums, which equal wishes of one person share, and values of the same letters, too."""

    def __init__(self, dispatcher: Dispatcher, *, is_legacy: bool) -> None:
        self._dispatcher, self.is_legacy = dispatcher, is_legacy

    def name(self, job: Job, login: str, query_type: str = "Real") -> str:
        """What this person calls the job."""
        if not self.is_legacy:
            return wire_id(job.job_id)
        return job.alias if job.alias and job.owner == login else self.alias(job.instrument, job.product, job.values, login, query_type)

    def alias(self, instrument: str, product: str, values: Mapping[str, Any], login: str, query_type: str = "Real") -> str:
        """The old sum, "" where ids are numbers."""
        if not self.is_legacy:
            return ""
        said = {**values, "instrument": instrument, "product_type": product, "query_type": query_type} | ({"sub": login} if login else {})
        return legacy_id({name: value for name, value in said.items() if value is not None})

    async def find(self, principal: Principal, text: str) -> Job | None:
        """A job of hers by its id, in either form."""
        number = job_number(text)
        if number is not None:
            try:
                return await self._dispatcher.job(principal, number)
            except NotFound:
                pass
        if self.is_legacy and number is not None:
            try:
                return await self._dispatcher.job_by_alias(principal, text)
            except NotFound:
                pass
        return None

    async def number(self, text: str) -> int:
        """The number of whatever job it names, 0 for none: for what is opened by a secret."""
        number = job_number(text)
        if number is None or not self.is_legacy:
            return number or 0
        found = await self.find(_HOUSE, text)
        return found.job_id if found is not None else 0


def legacy_id(said: Any) -> str:
    """The sum of section 4.1: of sorted letters, so that neither order nor, alas, the places of digits matter."""
    if isinstance(said, Mapping):
        return legacy_id(list(said.items()))
    if isinstance(said, (list, tuple, set)):
        return _sum([legacy_id(item) for item in said])
    return _sum(json.dumps(said))


def _sum(parts: Any) -> str:
    return hashlib.md5(json.dumps(sorted(parts)).encode(), usedforsecurity=False).hexdigest()[:16]
