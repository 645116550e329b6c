"""A directory behind HTTP: asks a source who has which roles on an object, and remembers the answers for a while."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from angelia import telemetry
from angelia.directory import Failed, Members
from angelia.model.errors import BadSettings, StoreUnavailable
from angelia.outbound import Answer, NoAnswer, Outbound, Request
from angelia.store import PersonStore

MOST_KEPT = 10_000
MOST_AT_ONCE = 10
MOST_ROLES = 100
MOST_NAMES = 10_000
REST = 5.0
"""Seconds for which a source that failed is left alone: a thousand objects must not wait for it one after another (promise P7)."""

Roles = dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class HttpDirectorySettings:
    """One relation source, `[directories.<name>]`. Lengths are in seconds.

    `url` holds `{object}`, which becomes the percent-encoded object. `token` (or the content of `token_file`, read at each request, so that it
    can be changed) goes as a bearer token. An answer is fresh for `ttl`; for `stale` more it still serves while a new one is fetched. `prefix`:
    the objects that this source knows; about others it is not asked.
    """

    url: str
    token: str = ""
    token_file: str = ""
    timeout: float = 5.0
    ttl: float = 60.0
    stale: float = 3_600.0
    prefix: str = ""

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if self.url.count("{object}") != 1 or "{object}" in urlsplit(self.url).netloc:
            raise BadSettings("directories: url holds {object} once, behind the host, as in https://roles.example.org/?object={object}")
        if not 0 < self.timeout <= 20 or self.ttl < 0 or self.stale < 0:
            raise BadSettings("directories: timeout is above 0 and at most 20 seconds; ttl and stale are not below 0")


class HttpDirectory:
    """Answers as they come: 200 `{"roles": {"maintainer": ["alice", "group:qa"]}}`, 404 for an object that nobody has a role on; else Failed."""

    def __init__(self, name: str, settings: HttpDirectorySettings, outbound: Outbound, store: PersonStore, clock: Callable[[], float]) -> None:
        fault = outbound.fault_of(settings.url.replace("{object}", "x"))
        if fault:
            raise BadSettings(f"directories.{name}.url: {fault}")
        self.name = name
        self._settings = settings
        self._outbound = outbound
        self._store = store
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Members]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Members | Failed]] = {}
        self._slots = asyncio.Semaphore(MOST_AT_ONCE)
        self._rest: tuple[float, Failed] | None = None

    async def relations(self, ref: str) -> Members | Failed:
        """Fresh ones at once, stale ones while they are asked for anew, others when they have come; Failed after `timeout` at the latest."""
        if not ref.startswith(self._settings.prefix):
            return Members({})
        kept = self._kept.get(ref)
        age = self._clock() - kept[0] if kept is not None else 0.0
        if kept is not None and age < self._settings.ttl:
            return kept[1]
        resting = self._resting()
        if kept is not None and age < self._settings.ttl + self._settings.stale:
            if resting is None:
                self._ask(ref)
            return kept[1]
        if resting is not None:
            return resting
        try:
            async with asyncio.timeout(self._settings.timeout):
                # The question goes on for those who ask later: what it brings is kept.
                return await asyncio.shield(self._ask(ref))
        except TimeoutError:
            return Failed(f"no answer within {self._settings.timeout:g} s")

    def _resting(self) -> Failed | None:
        if self._rest is not None and self._clock() >= self._rest[0]:
            self._rest = None
        return self._rest[1] if self._rest is not None else None

    def _ask(self, ref: str) -> "asyncio.Task[Members | Failed]":
        """The question that is under way, or a new one."""
        task = self._asking.get(ref)
        if task is None:
            task = self._asking[ref] = asyncio.create_task(self._answer(ref))
            task.add_done_callback(lambda _: self._asking.pop(ref, None))
        return task

    async def _answer(self, ref: str) -> Members | Failed:
        async with self._slots:
            answer = self._resting() or await self._fetch(ref)
        if isinstance(answer, Failed):
            if self._rest is None:
                telemetry.log.warning("directory_failed", directory=self.name, why=answer.why)
                self._rest = self._clock() + REST, answer
            return answer
        self._kept[ref] = self._clock(), answer
        self._kept.move_to_end(ref)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer

    async def _fetch(self, ref: str) -> Members | Failed:
        settings = self._settings
        try:
            headers = {"Accept": "application/json", **await self._credentials()}
        except (OSError, UnicodeDecodeError) as error:
            return Failed(f"token_file: {getattr(error, 'strerror', None) or error}")
        url = settings.url.replace("{object}", quote(ref, safe=""))
        answer = await self._outbound.fetch(Request(url=url, headers=headers, timeout=settings.timeout))
        roles = _roles(answer)
        if isinstance(roles, Failed):
            return roles
        try:
            return await self._members(roles)
        except StoreUnavailable as error:
            return Failed(str(error))

    async def _credentials(self) -> Mapping[str, str]:
        token = self._settings.token
        if self._settings.token_file:
            token = (await asyncio.to_thread(Path(self._settings.token_file).read_text, "utf-8")).strip()
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def _members(self, roles: Roles) -> Members:
        """Names -> ids; whom the hub does not know can't be told."""
        names = {name for principals in roles.values() for name in principals}
        groups = [name[6:] for name in names if name.startswith("group:")]
        ids = await self._store.person_ids([name for name in names if not name.startswith("group:")])
        members = await self._store.group_members(groups) if groups else {}
        by_role: dict[str, frozenset[int]] = {}
        for role, principals in roles.items():
            people = {ids[name] for name in principals if name in ids}
            by_role[role] = frozenset(people).union(*(members.get(name[6:], frozenset()) for name in principals if name.startswith("group:")))
        return Members({role: people for role, people in by_role.items() if people})

    async def close(self) -> None:
        """Whoever still waits for an answer gets none."""
        waiting = list(self._asking.values())
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _roles(answer: Answer | NoAnswer) -> Roles | Failed:
    """What the source says. Only a clear answer counts: anything else is Failed, never nobody."""
    if isinstance(answer, NoAnswer):
        return Failed(answer.why)
    if answer.status == 404:
        return {}
    if answer.status != 200:
        return Failed(f"it answered {answer.status}")
    try:
        document: Any = json.loads(answer.body)
        roles = document["roles"]
        if not isinstance(roles, dict) or len(roles) > MOST_ROLES or not all(map(_is_names, roles.values())):
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        return Failed('its answer is not {"roles": {"maintainer": ["alice", "group:qa"]}}')
    return roles


def _is_names(value: object) -> bool:
    return isinstance(value, list) and len(value) <= MOST_NAMES and all(isinstance(name, str) and 0 < len(name) <= 255 for name in value)
