"""The inbox: where people live with their messages. The whole view is in the URL; what is marked can be taken back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.errors import Conflict, InvalidInput
from angelia.model.message import Severity
from angelia.model.moments import number_of, public_id
from angelia.model.person import Person
from angelia.store import InboxGroup, InboxItem, InboxQuery
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.inbox import View, seen_by, title_of, undo
from angelia.web.pages.kit import page
from angelia.web.pages.marking import CHANGES, mark_until
from angelia.web.signin.guard import Maybe, Visiting, sign_in_place

router = APIRouter(include_in_schema=False)
FILTERS = ("type", "source", "severity", "reason", "tag", "object", "thread", "text")
KEPT = ("state", *FILTERS, "sort", "group")
GROUPS_A_PAGE = 25
DEFAULT_GROUP = "object"
_HERE = ("before", "after", "did", "count", "undo")
MOST_IN_FACET = 12
Group = Annotated[str, Query(pattern="^(object|thread|none)$")]


@dataclass(frozen=True, slots=True)
class Place:
    """One view as it stands in the URL: only what differs from the plain inbox."""

    fields: Mapping[str, str]

    def __call__(self, **changes: object) -> str:
        """The place of this view with some fields changed; an empty one goes. Paging begins anew."""
        fields = {name: str(value) for name, value in ({**self.fields, **changes}).items() if value not in ("", None)}
        return "/inbox?" + urlencode(fields) if fields else "/inbox"

    @property
    def query(self) -> str:
        """The view as a query."""
        return urlencode(self.fields)


def place_of(fields: Mapping[str, str]) -> Place:
    """The view of a query: what is empty or as always goes."""
    always = {"sort": "-received", "group": DEFAULT_GROUP}
    return Place({name: fields[name] for name in KEPT if fields.get(name) and fields[name] != always.get(name)})


@router.get("/")
async def start(visitor: Maybe) -> Response:
    """To the inbox, or to signing in."""
    return RedirectResponse("/inbox" if visitor is not None else sign_in_place("/"), 303)


@router.get("/inbox")
async def inbox(
    request: Request,
    visitor: Visiting,
    house: House,
    view: View,
    group: Group = DEFAULT_GROUP,
    did: str = "",
    count: int = Query(0, ge=0, le=1_000_000),
    undo: str = Query("", pattern="^[0-9a-f]{0,15}$"),
) -> Response:
    """One view of the inbox."""
    place = place_of(request.query_params)
    if "" in request.query_params.values():  # a form sends its empty fields too: the URL of a view is to be short enough to be passed on
        return RedirectResponse(place(), 303)
    seen = await house.live.stamp(visitor.person.person_id)  # before the look: what comes between is shown twice rather than not at all
    group_by = "" if group == "none" else group
    query = replace(await seen_by(house, visitor.person, view), limit=min(view.limit, GROUPS_A_PAGE) if group_by else view.limit)
    found = await house.store.inbox_page(visitor.person.person_id, query, group_by)
    chosen = [name for name in FILTERS if name in place.fields]
    return page(
        request,
        visitor,
        "inbox.html",
        found=found,
        blocks=blocks_of(found.groups, group_by, lambda one: title_of(house, one)),
        place=place,
        view=view,
        group=group,
        facets=facets_of(found.facets, view),
        newer=_cursor(found.groups[0].first_id, view, is_next=False) if found.has_fewer and found.groups else None,
        older=_cursor(found.next_id, view, is_next=True) if found.next_id is not None else None,
        chosen=chosen,
        did=did if did in (*CHANGES, "undo", "nothing", "acknowledge", "untaken") else "",
        count=count,
        undo=undo,
        has_pressing=any(item.message.severity >= Severity.HIGH for one in found.groups for item in one.items),
        seen=seen,
        unread=await _unread(house, visitor.person, seen, None if chosen or view.state else found.unread),
        here={name: request.query_params[name] for name in _HERE if name in request.query_params},
    )


def _cursor(delivery_id: int, view: InboxQuery, *, is_next: bool) -> dict[str, str]:
    return {"before" if is_next == view.is_newest_first else "after": public_id("dlv", delivery_id)}


@dataclass(frozen=True, slots=True)
class Block:
    """A list on the page: a group under its head, or what stands alone, together."""

    group: InboxGroup | None
    items: list[InboxItem]
    title: str = ""


def blocks_of(groups: tuple[InboxGroup, ...], group_by: str, named: Callable[[InboxGroup], str]) -> list[Block]:
    """Groups of several entries have a head; single ones that follow each other share a list."""
    blocks: list[Block] = []
    for group in groups:
        if group_by and group.total > 1:
            blocks.append(Block(group, list(group.items), named(group)))
        elif blocks and blocks[-1].group is None:
            blocks[-1].items.extend(group.items)
        else:
            blocks.append(Block(None, list(group.items)))
    return blocks


def facets_of(counts: Mapping[str, Mapping[str, int]], view: InboxQuery) -> dict[str, list[tuple[str, int]]]:
    """What can be chosen beside the list, with how many there would be: types one step below the chosen one, severities with all above."""
    severities = [(severity.label, sum(counts["severity"].get(above.label, 0) for above in Severity if above >= severity)) for severity in Severity]
    return {
        "type": _most(_below(counts["type"], view.subtree)),
        "source": _most(counts["source"]),
        "severity": [(label, count) for label, count in reversed(severities) if count and label != "low"],
        "reason": _most(counts["reason"]),
    }


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_IN_FACET]


def _below(counts: Mapping[str, int], subtree: str) -> dict[str, int]:
    """Counts of the types one step below a subtree, each with all that is below it."""
    start, found = f"{subtree}." if subtree else "", dict[str, int]()
    for key, count in counts.items():
        if key.startswith(start):
            child = start + key[len(start) :].split(".", 1)[0]
            found[child] = found.get(child, 0) + count
    return found


@router.post("/inbox/mark")
async def mark_some(
    request: Request,
    visitor: Visiting,
    house: House,
    view: View,
    within: Annotated[str, Query(pattern="^(|object|thread)$")] = "",
    key: str = "",
) -> Response:
    """Mark what is selected, all of the view, or one group of it; then back to the view, with a way to take it back."""
    form = await request.form()
    change = str(form.get("change", ""))
    if change not in (*CHANGES, "acknowledge"):
        raise InvalidInput("this is no way to mark messages", "change")
    place = place_of(request.query_params)
    if within:
        view = replace(view, object_ref=key) if within == "object" else replace(view, thread=key)
    ids = None if form.get("whole") or within else [number for text in form.getlist("ids") if (number := number_of("dlv", str(text))) is not None]
    if ids == []:
        return RedirectResponse(place(did="nothing"), 303)
    if ids is None and change == "acknowledge":  # whom would it serve to take over what she has not looked at?
        return RedirectResponse(place(did="untaken"), 303)
    if change == "acknowledge":
        entries = await house.store.deliveries(ids or [])
        person_id = visitor.person.person_id
        taken = [entry.message_id for entry in entries.values() if entry.person_id == person_id and entry.message_id is not None]
        return RedirectResponse(place(did=change, count=await house.answers.acknowledge(person_id, taken, "web")), 303)
    # Selected entries are marked whatever their state became meanwhile in another tab; the whole view is the view.
    scope = view if ids is None else replace(view, state="all")
    choice = str(form.get("later", ""))
    marked = await mark_until(house, visitor.person, replace(scope, before_id=None, after_id=None), ids, change, choice)
    return RedirectResponse(place(did=change, count=marked.changed, undo=marked.undo if marked.changed else ""), 303)


@router.post("/inbox/undo")
async def undo_it(visitor: Visiting, house: House, undo_: Annotated[str, Form(alias="undo")] = "", view: Annotated[str, Form()] = "") -> Response:
    """Take back the last change, then back to the view."""
    place = place_of(dict(parse_qsl(view[:4_000])))
    try:
        count = await undo(house, visitor.person, undo_)
    except Conflict:
        return RedirectResponse(place(did="undo"), 303)
    return RedirectResponse(place(did="undo", count=count), 303)


@router.get("/inbox/live")
async def live(request: Request, visitor: Visiting, house: House, seen: str = "") -> Response:
    """What an open page asks every few seconds: 204 while nothing is new, else the number of unread ones, and a hint to look again."""
    person = visitor.person
    stamp = await house.live.stamp(person.person_id)
    if stamp == seen:
        return Response(status_code=204, headers={"Cache-Control": "private, no-store"})

    values: dict[str, Any] = {"unread": await _unread(house, person, stamp), "seen": stamp}
    answer = page(request, visitor, "parts/unread.html", **values)
    if seen:
        answer.headers["HX-Trigger"] = "inbox-changed"
    return answer


async def _unread(house: Context, person: Person, stamp: str, known: int | None = None) -> int:
    """How many are unread, counted once a change of the inbox; `known` is what a look at all of it has told already."""

    async def count() -> int:
        if known is not None:
            return known
        view = await seen_by(house, person, InboxQuery(state="unread"))
        return (await house.store.inbox_counts(person.person_id, view))["total"]

    return await house.live.unread(person.person_id, stamp, count)
