"""What operators look at and act on: deliveries, dead letters, agents, parked messages, backlog, audit."""

from typing import Any

from fastapi import APIRouter

from angelia.model.delivery import State
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.moments import public_id, to_text
from angelia.web.access import Admin, House
from angelia.web.forms import AgentChange, Ids, Limit, RowId, delivery_out, message_out, number

router = APIRouter(prefix="/api/v1", tags=["operations"])
Body = dict[str, Any]
_STATES = {state.label: state for state in State}


@router.get("/deliveries")
async def deliveries(
    _: Admin,
    house: House,
    state: str = "dead,bounced",
    agent: str = "",
    login: str = "",
    before: str = "",
    limit: Limit = 100,
) -> Body:
    """Newest first, by states (comma-separated); the default is the dead letters."""
    names = [name for name in state.split(",") if name]
    if not names or any(name not in _STATES for name in names):
        raise InvalidInput(f"state is some of {', '.join(_STATES)}", "state")
    person = await house.store.person(login) if login else None
    if login and person is None:
        raise NotFound("there is no such person")
    found = await house.store.list_deliveries(
        states=[_STATES[name] for name in names],
        agent=agent,
        person_id=None if person is None else person.person_id,
        before_id=number("dlv", before) if before else None,
        limit=limit,
    )
    following = public_id("dlv", found[-1].delivery_id) if len(found) == limit else None
    return {"items": [delivery_out(delivery) for delivery in found], "next": following}


@router.post("/deliveries/replay")
async def replay(form: Ids, caller: Admin, house: House) -> Body:
    """Try dead letters again from the start."""
    ids = [number("dlv", text) for text in form.ids]
    replayed = await house.store.replay(ids, house.now())
    await house.store.audit(caller.name, "deliveries.replay", "", {"asked": len(ids), "replayed": replayed}, house.now())
    house.changed("deliveries")
    return {"replayed": replayed}


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
    """What waits, by agent and age."""
    return {
        "items": [
            {
                "agent": item.agent,
                "due": item.due,
                "held": item.held,
                "sending": item.sending,
                "oldest_due_at": None if item.oldest_due_at is None else to_text(item.oldest_due_at),
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


@router.get("/audit")
async def audit(_: Admin, house: House, before: RowId | None = None, limit: Limit = 100) -> Body:
    """Who did what, newest first."""
    return {"items": await house.store.audit_log(before, limit)}
