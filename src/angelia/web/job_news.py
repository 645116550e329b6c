"""What a person wants to be told of her jobs, by agent: her own words, before those of a token."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from angelia.flow.wants import change_wants
from angelia.model.errors import InvalidInput
from angelia.model.person import Person
from angelia.web.access import House, Reading, Writing
from angelia.web.context import Context
from angelia.web.forms import Strict

router = APIRouter(prefix="/api/v1/people/{login}/job-news", tags=["person"])
Body = dict[str, Any]
Seconds = Field(default=None, ge=0, le=31_536_000, allow_inf_nan=False)


class NewsIn(Strict):
    """One agent; what is left out is as the token says, or as is usual. `interval` and `threshold` in seconds."""

    on_submit: bool | None = None
    on_progress: bool | None = None
    on_done: bool | None = None
    on_failure: bool | None = None
    is_end_timed: bool | None = None
    interval: float | None = Seconds
    threshold: float | None = Seconds


@router.get("")
async def job_news(person: Reading, house: House) -> Body:
    """By agent, what she says herself and what her token says."""
    document, _ = await house.store.wants(person.login)
    return {"own": document.get("jobs", {}), "by_token": document.get("jobs_by_token", {})}


@router.put("/{agent}")
async def put_job_news(agent: str, news: NewsIn, person: Writing, house: House) -> Body:
    """Say it for one agent; nothing said takes it back."""
    return {"version": await say_news(house, person, {agent: news})}


async def say_news(house: Context, person: Person, said: dict[str, NewsIn]) -> int:
    """Say it for some agents; the new version of her document."""
    if unknown := sorted(said.keys() - house.agents.keys()):
        raise InvalidInput("this hub has no such agent", unknown[0])

    def change(document: Body) -> None:
        own = dict(document.get("jobs", {}))
        for agent, news in said.items():
            own.pop(agent, None)
            if words := news.model_dump(exclude_none=True):
                own[agent] = words
        document.pop("jobs", None)
        if own:
            document["jobs"] = own

    version = await change_wants(house.store, person.login, change, house.site(), house.now())
    house.changed("people")
    return version
