"""News of jobs: of what she is told by which agent, and her token of this site made anew with that in it."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from pydantic import ValidationError

from angelia.agent import shown_by
from angelia.flow.wishes import wishes_of
from angelia.model.errors import InvalidInput, NotFound
from angelia.planning.job_news import NewsDefaults
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.job_news import NewsIn, say_news
from angelia.web.pages.wishes import Wrong, back, ways_of, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
FLAGS = ("on_submit", "on_progress", "on_done", "is_end_timed", "on_failure")
LENGTHS = ("interval", "threshold")
_WORDS: dict[str, bool | None] = {"yes": True, "no": False, "": None}


@router.get("/job-news")
async def job_news(request: Request, visitor: Visiting, house: House) -> Response:
    """For each agent that reaches her: what she says, what her token says, and what is usual."""
    return await _page(request, visitor, house)


async def _page(
    request: Request,
    visitor: Visitor,
    house: Context,
    wrong: Wrong | None = None,
    typed: dict[str, dict[str, str]] | None = None,
    renewed: str = "",
) -> Response:
    wishes = await wishes_of(house.store, visitor.person, house.site())
    document, _ = await house.store.wants(visitor.person.login)
    own, by_token = (_table(document, name) for name in ("jobs", "jobs_by_token"))
    ways = [way for way in ways_of(house, wishes) if way.is_reachable or way.agent in own or way.agent in by_token]
    shown = {way.agent: _typed(own.get(way.agent, {})) for way in ways} if typed is None else typed
    addresses = await house.store.addresses(visitor.person.person_id)
    return await wish_page(
        request, visitor, house, "job-news.html", wishes, wrong=wrong,
        rows=[(way.agent, shown.get(way.agent, {}), by_token.get(way.agent)) for way in ways],
        places={way.agent: [shown_by(house.agents[way.agent], one.value) for one in addresses if one.agent == way.agent] for way in ways},
        flags=FLAGS, lengths=LENGTHS, usual=NewsDefaults(), can_renew=house.renew is not None, renewed=renewed,
    )  # fmt: skip


def _table(document: Any, name: str) -> dict[str, dict[str, Any]]:
    return dict(document.get(name, {}))


def _typed(said: dict[str, Any]) -> dict[str, str]:
    """As the form shows it."""
    flags = {name: "yes" if said[name] else "no" for name in FLAGS if name in said}
    return flags | {name: f"{said[name]:g}" for name in LENGTHS if name in said}


@router.post("/job-news")
async def put(request: Request, visitor: Visiting, house: House) -> Response:
    """Save what all agents of the form say."""
    form = {key: str(value).strip() for key, value in (await request.form()).items()}
    typed: dict[str, dict[str, str]] = {}
    for key, text in form.items():
        agent, _, name = key.rpartition(".")
        if agent and name in (*FLAGS, *LENGTHS):
            typed.setdefault(agent, {})[name] = text
    try:
        version = await say_news(house, visitor.person, {agent: _read(agent, words) for agent, words in typed.items()})
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong_of(error), typed)
    return back("", "/job-news", version)


def _read(agent: str, words: dict[str, str]) -> NewsIn:
    said: dict[str, Any] = {name: _WORDS.get(words.get(name, "")) for name in FLAGS}
    for name in LENGTHS:
        try:
            said[name] = float(text) if (text := words.get(name, "")) else None
        except ValueError:
            raise InvalidInput("a length in seconds, at most a year", f"{agent}.{name}") from None
    try:
        return NewsIn(**said)
    except ValidationError as error:
        raise InvalidInput("a length in seconds, at most a year", f"{agent}.{error.errors()[0]['loc'][0]}") from None


@router.post("/job-news/token")
async def renew(request: Request, visitor: Visiting, house: House, token: Annotated[str, Form(max_length=20_000)] = "") -> Response:
    """Her token with the wishes of this page, shown once."""
    if house.renew is None:
        raise NotFound("this site signs no tokens")
    wishes = await wishes_of(house.store, visitor.person, house.site())
    try:
        made = house.renew(token.strip(), visitor.person.login, wishes.profile.wants.jobs)
    except InvalidInput as error:
        return await _page(request, visitor, house, wrong_of(error))
    return await _page(request, visitor, house, renewed=made)
