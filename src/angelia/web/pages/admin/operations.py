"""The operations board: what waits, what failed, what is dead, and the levers."""

from time import monotonic
from typing import Annotated, Any
from urllib.parse import urlencode
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Request, Response

from angelia.model.delivery import Delivery, State
from angelia.model.errors import NotFound
from angelia.model.moments import public_id
from angelia.store import Store
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import AgentChange, Ids, ReplayForm, number
from angelia.web.operations import AGES, DeliveryView, change_agent, conservation, delivery_view, release, replay, reset_breaker
from angelia.web.pages.admin.asked import Asked, done, made, text, texts
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Administering

router = APIRouter(include_in_schema=False)
PAGE = 50
RETRIES = 20
COUNTED = 30.0  # seconds; to count all deliveries takes a second where there are millions, and the board asks every five
SHARE = 50  # ... and where it takes longer they are counted less often: at most a fiftieth of the time goes into it
_counted: WeakKeyDictionary[Store, tuple[float, dict[State, int]]] = WeakKeyDictionary()
"""Until when they hold, and the counts."""


async def _view(house: House, state: str = "dead,bounced", agent: str = "", login: str = "") -> tuple[DeliveryView, str]:
    """The view with its own part of the URL. A login that nobody has shows nothing, and says so."""
    query = {name: value for name, value in (("state", state), ("agent", agent), ("login", login)) if value and value != "dead,bounced"}
    return await delivery_view(house, state or "dead,bounced", agent, login.strip()), urlencode(query)


View = Annotated[tuple[DeliveryView, str], Depends(_view)]


@router.get("/admin/operations")
async def board(request: Request, visitor: Administering, house: House, view: View, before: str = "", login: str = "", state: str = "") -> Response:
    """Everything at a glance; the page asks for it again every five seconds."""
    chosen, query = view
    store, now = house.store, house.now()
    dead = await store.list_deliveries(
        states=chosen.states,
        agent=chosen.agent,
        person_id=chosen.person_id,
        before_id=number("dlv", before, "before") if before else None,
        limit=PAGE + 1,
    )
    retries = await store.retries(list(house.agents), RETRIES)
    names, subjects = await _words(house, [*dead, *retries])
    backlog = {item.agent: item for item in await store.backlog()}
    paused = await store.paused_agents()
    counts = await _counts(house)
    values: dict[str, Any] = {
        "agents": [(name, agent, backlog.get(name), name in paused) for name, agent in house.agents.items()],
        "overdue": await store.overdue(list(house.agents), now, AGES),
        "dead": dead[:PAGE],
        "following": public_id("dlv", dead[PAGE - 1].delivery_id) if len(dead) > PAGE else "",
        "retries": retries,
        "names": names,
        "subjects": subjects,
        "breakers": sorted((await store.breakers()).items()),
        "parked": await store.parked_messages(PAGE),
        "counts": [(one, counts.get(one, 0)) for one in State],
        "total": sum(counts.values()),
        "chosen": chosen,
        "query": query,
        "login": login,
        "state": state or "dead,bounced",
        "here": f"/admin/operations?{urlencode({name: value for name, value in request.query_params.items() if name != 'said'})}",
        "said": request.query_params.get("said", ""),
    }
    return page(request, visitor, "admin/operations.html", **values)


async def _words(house: Context, deliveries: list[Delivery]) -> tuple[dict[int, str], dict[int, str]]:
    """Logins by person id, subjects by message id."""
    people = {row.person.person_id: row.person.login for row in await house.store.profiles({one.person_id for one in deliveries})}
    messages = await house.store.messages({one.message_id for one in deliveries if one.message_id is not None})
    return people, {key: message.subject or message.type for key, message in messages.items()}


async def _counts(house: Context) -> dict[State, int]:
    known = _counted.get(house.store)
    if known is None or monotonic() > known[0]:
        began = monotonic()
        counts = await house.store.conservation()
        known = _counted[house.store] = monotonic() + max(COUNTED, SHARE * (monotonic() - began)), counts
    return known[1]


def _back(query: str, said: str) -> Response:
    return done(f"/admin/operations?{query}" if query else "/admin/operations", said)


@router.post("/admin/operations/replay")
async def try_again(asked: Asked, visitor: Administering, house: House, view: View) -> Response:
    """The selected dead letters, or all of the view."""
    chosen, query = view
    ids = None if text(asked, "what") == "all" else texts(asked, "ids")
    if ids == []:
        return _back(query, "nothing")
    await replay(made(ReplayForm, ids=ids), visitor.caller, house, chosen)
    return _back(query, "replayed")


@router.post("/admin/operations/agents/{name}")
async def pause(name: str, asked: Asked, visitor: Administering, house: House) -> Response:
    """Keep its backlog back, or let it go."""
    is_paused = text(asked, "what") == "pause"
    await change_agent(name, AgentChange(is_paused=is_paused), visitor.caller, house)
    return _back("", "paused" if is_paused else "resumed")


@router.post("/admin/operations/breakers")
async def reset(asked: Asked, visitor: Administering, house: House) -> Response:
    """Try a destination again."""
    try:
        await reset_breaker(visitor.caller, house, text(asked, "destination"))
    except NotFound:
        return _back("", "nothing")
    return _back("", "reset")


@router.post("/admin/operations/parked")
async def let_go(asked: Asked, visitor: Administering, house: House) -> Response:
    """Plan parked messages again."""
    ids = texts(asked, "messages")
    if not ids:
        return _back("", "nothing")
    await release(made(Ids, ids=ids), visitor.caller, house)
    return _back("", "released")


@router.post("/admin/operations/check")
async def check(request: Request, visitor: Administering, house: House) -> Response:
    """Look for every delivery that was decided: the conservation sum in full. Takes a while on a large store."""
    return page(request, visitor, "admin/check.html", found=await conservation(visitor.caller, house))
