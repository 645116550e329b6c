"""A person's document: saved with all that hangs on it, and what it comes to for a type."""

import copy
from collections.abc import Callable
from datetime import datetime
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from angelia.flow.profiles import rule_rows
from angelia.model.delivery import Reason
from angelia.model.errors import Conflict, InvalidInput, NotFound
from angelia.model.message import ancestry
from angelia.model.preference import NOW, OFF, Site
from angelia.model.message import Message, ancestry
from angelia.model.moments import public_id
from angelia.model.preference import ANY_TYPE, NOW, OFF, Site, Statements, Wants
from angelia.planning.document import parse_wants
from angelia.planning.resolve import Profile
from angelia.store import Document, Store

MOST_FOLLOWS = 10_000
_TRIES = 5


async def save_wants(store: Store, login: str, document: Document, expected_version: int | None, site: Site, now: datetime) -> int:
    """Check and replace her document; what waits and is now muted or paused goes no more (promise P10). The new version.

    InvalidInput names the field; Conflict where the version has moved on; NotFound for nobody.
    """
    wants = parse_wants(document, known_schedules=site.schedules)
    if len(wants.follows) > MOST_FOLLOWS:
        raise InvalidInput(f"at most {MOST_FOLLOWS} follows", "follows")
    person = await store.person(login)
    if person is None:
        raise NotFound(f"nobody has the login {login!r}")
    version = await store.put_wants(login, document, follows=wants.follows, rules=rule_rows(wants.rules), expected_version=expected_version)
    for agent in wants.paused:
        await store.cancel_waiting(person.person_id, agent=agent, reason=Reason.PAUSED, now=now)
    for ref in wants.mutes:
        if not ref.endswith("/"):
            await store.cancel_waiting(person.person_id, object_ref=ref, reason=Reason.MUTED, now=now)
    return version


async def change_wants(
    store: Store, login: str, change: Callable[[dict[str, Any]], None], site: Site, now: datetime, expected_version: int | None = None
) -> int:
    """Read, change, save; again if somebody else saved meanwhile, unless it is to change the `expected_version` only. The new version."""
    for _ in range(_TRIES):
        document, version = await store.wants(login)
        if expected_version not in (None, version):
            raise Conflict(f"the preferences are at version {version}, not {expected_version}: read them again")
        changed = copy.deepcopy(dict(document))
        change(changed)
        if changed == document:
            return version
        try:
            return await save_wants(store, login, changed, version, site, now)
        except Conflict:
            continue
    raise Conflict("these preferences are being changed by somebody else; try again")


def effective(profile: Profile, site: Site, key: str) -> dict[str, dict[str, str]]:
    """For a type, per agent: `when`, and the scope that says so (`preference:obs`, `site:*`), rules left aside."""
async def try_on_history(store: Store, site: Site, login: str, document: Document, now: datetime, days: int = 30) -> dict[str, object]:
    """What the last `days` would have been with this document: counts by agent and outcome, before and after, with samples.

    Tries up to 10,000 of the newest messages; relations are today's, mutes and holds as the document says.
    """
    wants = parse_wants(document, known_schedules=site.schedules)
    person = await store.person(login)
    if person is None:
        raise NotFound(f"nobody has the login {login!r}")
    (row,) = await store.profiles([person.person_id])
    old, new = profile_of(row, site), _with(row, wants, site)
    known = {m.message_id: (m, r) for m, r in await store.history(person.person_id, now - timedelta(days=days), MOST_TRIED)}
    before: Counter[str] = Counter()
    after: Counter[str] = Counter()
    own = await _group_agents(store, row.groups, site)
    samples: list[dict[str, object]] = []
    differing = 0
    for message in await _recent(store, now - timedelta(days=days)):
        standing = await _standing(store, message, new, known.get(message.message_id), own)
        was = _outcomes(resolve(message, old, standing, site, message.received_at))
        will = _outcomes(resolve(message, new, standing, site, message.received_at))
        before.update(_labels(was))
        after.update(_labels(will))
        changed = sum(1 for agent in was.keys() | will.keys() if was.get(agent) != will.get(agent))
        differing += changed
        if changed and len(samples) < 20:
            samples.append(_sample(message, was, will))
    return {"days": days, "deliveries_that_differ": differing, "before": dict(before), "after": dict(after), "samples": samples}
def _with(row: ProfileRow, wants: Wants, site: Site) -> Profile:
    profile = profile_of(row, site)
    return Profile(profile.person, wants, profile.zone, profile.reachable, profile.groups)
async def _recent(store: Store, since: datetime) -> list[Message]:
    messages: list[Message] = []
    before_id: int | None = None
    while len(messages) < MOST_TRIED:
        page = await store.list_messages(person_id=None, before_id=before_id, limit=1_000)
        messages += [message for message in page if message.received_at >= since]
        if len(page) < 1_000 or page[-1].received_at < since:
            break
        before_id = page[-1].message_id
    return messages
async def _group_agents(store: Store, groups: Collection[str], site: Site) -> dict[str, frozenset[str]]:
    """Those of her groups that have addresses of their own, as they stand today."""
    ids = await store.person_ids([f"group:{group}" for group in groups]) if groups else {}
    return group_agents(profile_of(row, site) for row in await store.profiles(ids.values())) if ids else {}
async def _standing(
    store: Store, message: Message, profile: Profile, known: tuple[Message, LedgerRow] | None, own: Mapping[str, frozenset[str]]
) -> Standing:
    roles = {reason[5:] for reason in known[1].because if reason.startswith("role:")} if known is not None else set()
    if message.object and known is None:
        members = Members(await store.related_ids(message.object))
        roles |= roles_of(profile.person.person_id, members)
    return standing_of(message, profile, roles, own)
def _outcomes(resolution: Resolution | None) -> dict[str, tuple[str, str]]:
    decisions = resolution.decisions if resolution is not None else ()
    return {d.agent: (d.verdict.value, d.schedule) for d in decisions if d.verdict.is_delivery}
def _labels(outcomes: Mapping[str, tuple[str, str]]) -> list[str]:
    return [f"{agent} {schedule or verdict}" for agent, (verdict, schedule) in outcomes.items()]
def _sample(message: Message, was: Mapping[str, tuple[str, str]], will: Mapping[str, tuple[str, str]]) -> dict[str, object]:
    return {
        "id": public_id("msg", message.message_id),
        "type": message.type,
        "subject": message.subject,
        "before": _labels(was),
        "after": _labels(will),
    }
def effective(profile: Profile, site: Site, key: str, *, without: str = "") -> dict[str, dict[str, str]]:
    """For a type, per agent: `when`, and the scope that says so (`preference:obs`, `site:*`), rules left aside.
    `without` is a scope that is not to speak (`preference:obs`, `unknown`): what would hold if she took it back. `*` stands for what has no scope.
    wants = profile.wants
    if key == ANY_TYPE:
        layers = [("preference:*", wants.preferences.get(ANY_TYPE)), ("site:*", site.preferences.get(ANY_TYPE))]
        return _first_said(layer for layer in layers if layer[0] != without)
    scopes = ancestry(key)
    layers = [(f"preference:{scope}", wants.preferences.get(scope)) for scope in (*scopes, "*")]
    layers += [(f"site:{scope}", site.preferences.get(scope)) for scope in scopes]
    layers += [("unknown", wants.unknown), ("site:*", site.preferences.get("*"))]
    return _first_said(layer for layer in layers if layer[0] != without)


def _first_said(layers: Iterable[tuple[str, Statements | None]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for origin, statements in layers:
        for agent, treatments in (statements or {}).items():
            if agent not in found:
                when = treatments[0].when
                form = treatments[0].form_in(is_digest=when not in (OFF, NOW))
                found[agent] = {"when": when, "form": form, "from": origin}
    return found
