"""The type registry: all types as a tree, and what the operator says of each."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from angelia.model.errors import AngeliaError
from angelia.model.message import MessageType, ancestry, checked_type
from angelia.store import Traffic
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import TypeForm
from angelia.web.pages.admin.asked import Asked, done, made, number, text, texts, told, words
from angelia.web.pages.kit import page
from angelia.web.pages.languages import LANGUAGES
from angelia.web.signin.guard import Administering, Visitor
from angelia.web.site import put_site, put_type
from angelia.web.statistics import hourly

router = APIRouter(include_in_schema=False)
PAGE = 200
SEVERITIES = ("low", "normal", "high", "urgent")
STATES = ("auto", "curated", "retired")


@router.get("/admin/types")
async def list_types(
    request: Request, visitor: Administering, house: House, text: str = "", state: str = "", key: str = "", after: str = ""
) -> Response:
    """The tree, or what of it holds a text, from the type `after` on; with `key` to the page of that type, seen or not."""
    if key:
        return RedirectResponse(f"/admin/types/{checked_type(key.strip())}", 303)
    hours = await hourly(house)
    document, _ = await house.store.site()
    sources, counts = _seen(hours)
    known = sorted(await house.store.types(), key=attrgetter("key"))
    found = [entry for entry in known if _holds(entry, text.strip().lower()) and state in ("", entry.state)]
    start = bisect_right(found, after, key=attrgetter("key"))
    listed = found[start : start + PAGE]
    days = _days(hours, {entry.key for entry in listed})
    shown = [
        {
            "entry": entry,
            "depth": min(entry.key.count("."), 4),
            "sources": sorted(sources.get(entry.key, ())),
            "count": counts.get(entry.key, 0),
            "spark": spark(days[entry.key]),
        }
        for entry in listed
    ]
    following = urlencode({"text": text, "state": state, "after": listed[-1].key}) if start + PAGE < len(found) else ""
    values: dict[str, Any] = {
        "shown": shown,
        "total": len(found),
        "following": following,
        "text": text,
        "state": state,
        "states": STATES,
        "locks": document.get("locks", {}),
    }
    return page(request, visitor, "admin/types.html", **values)


def _holds(entry: MessageType, text: str) -> bool:
    return not text or text in entry.key or any(text in word.lower() for word in (*entry.labels.values(), *entry.aliases))


def _days(hours: Mapping[datetime, Traffic], keys: Collection[str]) -> dict[str, list[int]]:
    """Of the last 7 times 24 hours, the oldest first, how many messages came of each of these types with all below it."""
    made = {key: [0] * 7 for key in keys}
    newest = max(hours, default=None)
    for hour, traffic in hours.items():
        day = 6 - min((newest - hour) // timedelta(days=1), 6) if newest else 6
        for (key, _), count in traffic.messages.items():
            for scope in ancestry(key):
                if scope in made:
                    made[scope][day] += count
    return made


def spark(counts: Sequence[int]) -> str:
    """The points of a small curve, 48 wide and 14 high; "" where there is nothing to draw."""
    most = max(counts, default=0)
    return " ".join(f"{8 * place},{13 - 12 * count / most:.1f}" for place, count in enumerate(counts)) if most else ""


def _seen(hours: Mapping[datetime, Traffic]) -> tuple[dict[str, set[str]], dict[str, int]]:
    """Of the last 7 days, for each type with all below it: its sources, and how many messages."""
    week: Counter[tuple[str, str]] = Counter()
    for traffic in hours.values():
        week.update(traffic.messages)
    sources: dict[str, set[str]] = {}
    counts: Counter[str] = Counter()
    for (key, source), count in week.items():
        for scope in ancestry(key):
            sources.setdefault(scope, set()).add(source)
            counts[scope] += count
    return sources, counts


async def _values(house: Context, key: str) -> dict[str, Any]:
    found = await house.store.types([key])
    document, version = await house.store.site()
    hours = await hourly(house)
    sources, counts = _seen(hours)
    locks: Any = document.get("locks", {})
    inherited = {scope: locks[scope] for scope in (*ancestry(key)[1:], "*") if scope in locks}
    templates = sorted(name for name in await house.store.templates() if name.startswith(f"{key}/"))
    return {
        "key": key,
        "entry": found[0] if found else None,
        "parents": ancestry(key)[:0:-1],
        "sources": sorted(sources.get(key, ())),
        "count": counts.get(key, 0),
        "locked": list(locks.get(key, ())),
        "inherited": inherited,
        "agents": list(house.agents),
        "version": version,
        "templates": templates,
        "severities": SEVERITIES,
        "states": STATES,
    }


_FIELDS = ("default_severity", "collapse_key", "thread_key", "retention_days", "aliases", "state", "is_public")
_MARKS = {None: "", True: "yes", False: "no"}
"""`is_public` of a type, as the form says it."""


def _shown(entry: MessageType | None) -> dict[str, Any]:
    """The form's fields, as the type stands."""
    tags = dict.fromkeys((*LANGUAGES, "de", "ru", *(entry.labels if entry else ()), *(entry.descriptions if entry else ())))
    severity = entry.default_severity if entry else None
    return {
        "texts": {tag: (entry.labels.get(tag, ""), entry.descriptions.get(tag, "")) if entry else ("", "") for tag in tags},
        "default_severity": severity.label if severity is not None else "",
        "collapse_key": entry.collapse_key if entry else "",
        "thread_key": entry.thread_key if entry else "",
        "retention_days": str(entry.retention_days or "") if entry else "",
        "aliases": " ".join(entry.aliases) if entry else "",
        "state": "retired" if entry and entry.state == "retired" else "curated",
        "is_public": _MARKS[entry.is_public if entry else None],
    }


@router.get("/admin/types/{key}")
async def show_type(request: Request, key: str, visitor: Administering, house: House) -> Response:
    """What is known of a type and said of it; one that was never seen can be described already."""
    values = await _values(house, checked_type(key))
    return page(request, visitor, "admin/type.html", **values, form=_shown(values["entry"]))


@router.post("/admin/types/{key}")
async def save_type(request: Request, key: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """Curate it; its locks go into the site's document."""
    key = checked_type(key)
    try:
        await put_type(key, _form(asked), visitor.caller, house)
        await _lock(key, texts(asked, "locks"), text(asked, "version"), visitor, house)
    except AngeliaError as error:
        tags = dict.fromkeys(name.partition(".")[2] for name in asked if name.startswith("label."))
        again = {name: text(asked, name) for name in _FIELDS}
        again_texts = {tag: (text(asked, f"label.{tag}"), text(asked, f"description.{tag}")) for tag in tags}
        return told(request, visitor, "admin/type.html", error, **await _values(house, key), form=again | {"texts": again_texts})
    return done(f"/admin/types/{key}", "saved")


def _form(asked: FormData) -> TypeForm:
    def by_language(prefix: str) -> dict[str, str]:
        found = {name.removeprefix(prefix): text(asked, name) for name in asked if name.startswith(prefix)}
        return {tag: value for tag, value in found.items() if value}

    return made(
        TypeForm,
        labels=by_language("label."),
        descriptions=by_language("description."),
        default_severity=text(asked, "default_severity") or None,
        collapse_key=text(asked, "collapse_key"),
        thread_key=text(asked, "thread_key"),
        retention_days=number(asked, "retention_days"),
        aliases=words(text(asked, "aliases")),
        state=text(asked, "state") or "curated",
        is_public=next((mark for mark, word in _MARKS.items() if word == text(asked, "is_public")), None),
    )


async def _lock(key: str, agents: list[str], version: str, visitor: Visitor, house: Context) -> None:
    document, _ = await house.store.site()
    stored: Any = document.get("locks", {})
    locks = dict(stored)
    if agents:
        locks[key] = agents
    else:
        locks.pop(key, None)
    if locks != stored:
        await put_site(dict(document) | {"locks": locks}, visitor.caller, house, Response(), version or None)
