"""A person's document: saved with all that hangs on it, and what it comes to for a type."""

import copy
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from angelia.flow.profiles import rule_rows
from angelia.model.delivery import Reason
from angelia.model.errors import Conflict, InvalidInput, NotFound
from angelia.model.message import Message, RecipientKind, ancestry
from angelia.model.preference import ANY_TYPE, NOW, OFF, Site, Statements, Wants
from angelia.planning.decision import Profile
from angelia.planning.document import parse_wants
from angelia.planning.editing import named_schedules
from angelia.planning.naming import check_names
from angelia.planning.resolve import muted_by
from angelia.store import Document, Store

MOST_FOLLOWS = 10_000
_TRIES = 5


async def save_wants(
    store: Store, login: str, document: Document, expected_version: int | None, site: Site, now: datetime, spared: Collection[str] = ()
) -> int:
    """Check and replace her document; what waits and is now muted or paused goes no more (promise P10). The new version.

    InvalidInput names the field; Conflict where the version has moved on; NotFound for nobody. Schedules that are `spared` need not exist.
    """
    wants = parse_wants(document, known_schedules={*site.schedules, *spared})
    if len(wants.follows) > MOST_FOLLOWS:
        raise InvalidInput(f"at most {MOST_FOLLOWS} follows", "follows")
    person = await store.person(login)
    if person is None:
        raise NotFound(f"nobody has the login {login!r}")
    _check_what_is_new(document, wants, (await store.wants(login))[0], site)
    version = await store.put_wants(login, document, follows=wants.follows, rules=rule_rows(wants.rules), expected_version=expected_version)
    for agent in wants.paused:
        await store.cancel_waiting(person.person_id, agent=agent, reason=Reason.PAUSED, now=now)
    if any(mute.holds_at(now) for mute in wants.mutes.values()):
        await store.cancel_waiting(person.person_id, about=lambda message: _is_muted(message, wants, person.login, now), reason=Reason.MUTED, now=now)
    return version


def _check_what_is_new(document: Document, wants: Wants, stored: Document, site: Site) -> None:
    """What is stored was taken once, and must not keep her from changing something else."""
    if site.agents:
        check_names(document, site.agents, stored)
    hold = wants.hold
    if hold is not None and hold.since is not None and hold.since >= hold.until and document.get("hold") != stored.get("hold"):
        raise InvalidInput("you are back before you leave", "hold.since")


def _is_muted(message: Message, wants: Wants, login: str, now: datetime) -> bool:
    is_to = any(recipient.principal == login and recipient.kind is RecipientKind.TO for recipient in message.recipients)
    return muted_by(message, wants.mutes, now, is_to=is_to) is not None


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
            # A schedule that the operator has taken away since must not keep her from muting a thing or ending her mails.
            return await save_wants(store, login, changed, version, site, now, named_schedules(document))
        except Conflict:
            continue
    raise Conflict("these preferences are being changed by somebody else; try again")


def effective(profile: Profile, site: Site, key: str, *, without: str = "") -> dict[str, dict[str, str]]:
    """For a type, per agent: `when`, and the scope that says so (`preference:obs`, `site:*`, `lock:obs`), rules left aside.

    `without` is a scope that is not to speak (`preference:obs`, `unknown`): what would hold if she took it back. `*` stands for what has no scope.
    """
    wants = profile.wants
    if key == ANY_TYPE:
        layers = [("preference:*", wants.preferences.get(ANY_TYPE)), ("site:*", site.preferences.get(ANY_TYPE))]
        return _first_said(layer for layer in layers if layer[0] != without) | _locked(site, [ANY_TYPE])
    scopes = ancestry(key)
    layers = [(f"preference:{scope}", wants.preferences.get(scope)) for scope in (*scopes, "*")]
    layers += [(f"site:{scope}", site.preferences.get(scope)) for scope in scopes]
    layers += [("unknown", wants.unknown), ("site:*", site.preferences.get("*"))]
    return _first_said(layer for layer in layers if layer[0] != without) | _locked(site, [*scopes, ANY_TYPE])


def _locked(site: Site, scopes: Sequence[str]) -> dict[str, dict[str, str]]:
    """What comes at once whatever she says (rule R3); of several scopes the nearest is named."""
    return {
        agent: {"when": NOW, "form": "full", "from": f"lock:{scope}"} for scope in reversed(scopes) for agent in sorted(site.locks.get(scope, ()))
    }


def _first_said(layers: Iterable[tuple[str, Statements | None]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for origin, statements in layers:
        for agent, treatments in (statements or {}).items():
            if agent not in found:
                when = treatments[0].when
                form = treatments[0].form_in(is_digest=when not in (OFF, NOW))
                found[agent] = {"when": when, "form": form, "from": origin}
    return found
