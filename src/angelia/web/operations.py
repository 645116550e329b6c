"""What operators look at and act on: deliveries, dead letters, agents, parked messages, backlog, breakers."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from angelia.model.delivery import Delivery, State
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.moments import public_id, to_text
from angelia.planning.retry import Breaker
from angelia.web.access import Admin, House
from angelia.web.context import Context
from angelia.web.forms import AgentChange, Ids, Limit, ReplayForm, number
from angelia.web.paging import PagedRoute, page_of
from angelia.web.shapes import delivery_out, message_out

router = APIRouter(prefix="/api/v1", tags=["operations"], route_class=PagedRoute)
Body = dict[str, Any]
AGES = (timedelta(minutes=1), timedelta(minutes=10), timedelta(hours=1), timedelta(days=1))
_STATES = {state.label: state for state in State}


MOST_REPLAYED = 100_000
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A view of the deliveries: states, agent, person."""

    states: frozenset[State]
    agent: str
    person_id: int | None


async def delivery_view(house: House, state: str = "dead,bounced", agent: str = "", login: str = "") -> DeliveryView:
    """As it stands in the query: states (comma-separated; the default is the dead letters), agent, login."""
    names = [name for name in state.split(",") if name]
    if not names or any(name not in _STATES for name in names):
        raise InvalidInput(f"state is some of {', '.join(_STATES)}", "state")
    person = await house.store.person(login) if login else None
    if login and person is None:
        raise NotFound("there is no such person")
    return DeliveryView(frozenset(_STATES[name] for name in names), agent, None if person is None else person.person_id)


View = Annotated[DeliveryView, Depends(delivery_view)]


async def _page(view: DeliveryView, house: Context, before_id: int | None, limit: int) -> list[Delivery]:
    return await house.store.list_deliveries(states=view.states, agent=view.agent, person_id=view.person_id, before_id=before_id, limit=limit)


@router.get("/deliveries")
async def deliveries(_: Admin, house: House, view: View, before: str = "", limit: Limit = 100) -> Body:
    """Newest first, by states; the default is the dead letters."""
    found = await _page(view, house, number("dlv", before, "before") if before else None, limit + 1)
    shown, following = page_of(found, limit, lambda delivery: public_id("dlv", delivery.delivery_id))
    return {"items": [delivery_out(delivery) for delivery in shown], "next": following}


@router.get("/deliveries/retries")
async def retries(_: Admin, house: House, limit: Limit = 100) -> Body:
    """What failed and will be tried again by itself, the longest due first."""
    found = await house.store.retries(list(house.agents), limit)
    return {"items": [delivery_out(delivery) for delivery in found]}


@router.post("/deliveries/replay")
async def replay(form: ReplayForm, caller: Admin, house: House, view: View) -> Body:
    """Try dead letters again from the start: the listed ones, or, without ids, the whole view (at most 100,000 at once)."""
    if form.ids is not None:
        ids = [number("dlv", text) for text in form.ids]
    else:
        ids = await _all_ids(view, house)
    replayed = await house.store.replay(ids, house.now())
    await house.store.audit(caller.name, "deliveries.replay", view.agent, {"asked": len(ids), "replayed": replayed}, house.now())
    house.changed("deliveries")
    return {"replayed": replayed}


async def _all_ids(view: DeliveryView, house: Context) -> list[int]:
    dead = DeliveryView(view.states & {State.DEAD, State.BOUNCED}, view.agent, view.person_id)
    ids: list[int] = []
    while dead.states and len(ids) < MOST_REPLAYED:
        page = await _page(dead, house, ids[-1] if ids else None, _PAGE)
        ids += [delivery.delivery_id for delivery in page]
        if len(page) < _PAGE:
            break
    return ids


@router.get("/breakers")
async def breakers(_: Admin, house: House) -> Body:
    """Destinations that failed lately: how often in a row, and until when they are left alone."""
    found = await house.store.breakers()
    return {
        "items": [
            {
                "destination": destination,
                "failures": breaker.failures,
                "is_open": breaker.is_open,
                "rests_until": None if breaker.rests_until is None else to_text(breaker.rests_until),
            }
            for destination, breaker in sorted(found.items())
        ]
    }


@router.delete("/breakers", status_code=204)
async def reset_breaker(caller: Admin, house: House, destination: str = Query(max_length=1_000)) -> None:
    """Try a destination again at once; every relay sees it within seconds."""
    if destination not in await house.store.breakers():
        raise NotFound("there is no such breaker")
    await house.store.put_breakers({destination: Breaker()})
    await house.store.audit(caller.name, "breaker.reset", destination, {}, house.now())
    house.changed("deliveries")


@router.get("/agents")
async def agents(_: Admin, house: House) -> Body:
    """Every agent, and whether it is paused."""
    paused = await house.store.paused_agents()
    return {
        "items": [
            {"name": name, "is_pull": agent.is_pull, "is_interruptive": agent.is_interruptive, "is_paused": name in paused}
            for name, agent in house.agents.items()
        ]
    }


@router.patch("/agents/{name}")
async def change_agent(name: str, form: AgentChange, caller: Admin, house: House) -> Body:
    """Pause an agent: its backlog is kept until it is let go."""
    if name not in house.agents:
        raise NotFound("there is no such agent")
    await house.store.pause_agent(name, form.is_paused)
    await house.store.audit(caller.name, "agent.pause" if form.is_paused else "agent.resume", name, {}, house.now())
    house.changed("deliveries")
    return {"name": name, "is_paused": form.is_paused}


@router.get("/parked")
async def parked(_: Admin, house: House, limit: Limit = 100) -> Body:
    """Messages that planning could not get past."""
    return {
        "items": [
            {"message": message_out(item.message), "attempts": item.attempts, "error": item.error}
            for item in await house.store.parked_messages(limit)
        ]
    }


@router.post("/parked/release")
async def release(form: Ids, caller: Admin, house: House) -> Body:
    """Plan them again."""
    released = await house.store.unpark_messages([number("msg", text) for text in form.ids])
    await house.store.audit(caller.name, "parked.release", "", {"released": released}, house.now())
    house.changed("messages")
    return {"released": released}


@router.get("/backlog")
async def backlog(_: Admin, house: House) -> Body:
    """What waits, by agent and age: `overdue` counts what was due a minute, ten minutes, an hour and a day ago."""
    late = await house.store.overdue(list(house.agents), house.now(), AGES)
    return {
        "items": [
            {
                "agent": item.agent,
                "due": item.due,
                "held": item.held,
                "sending": item.sending,
                "oldest_due_at": None if item.oldest_due_at is None else to_text(item.oldest_due_at),
                "overdue": dict(zip(("1m", "10m", "1h", "1d"), late.get(item.agent, ()), strict=False)),
            }
            for item in await house.store.backlog()
        ]
    }


@router.get("/conservation")
async def conservation(_: Admin, house: House) -> Body:
    """Promise P3: how many deliveries stand in each state, and what is wrong, if anything is."""
    counts = await house.store.conservation()
    states = {state.label: counts.get(state, 0) for state in State}
    return {"planned": sum(states.values()), "states": states, "faults": await house.store.check()}
