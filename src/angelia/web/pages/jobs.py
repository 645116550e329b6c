"""Jobs: hers in a list; one of them with its progress, what was asked, what happened and what came of it, drawn and as rows."""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from angelia.flow.wants import change_wants
from angelia.model.declaration import ProductKind
from angelia.model.errors import NotFound
from angelia.model.job import STATES, Job, JobState, Product
from angelia.model.moments import number_of, to_text
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import number
from angelia.web.jobs import job_archive, principal_of, product_file, told_by
from angelia.web.pages.job_form import said_in, usual_of
from angelia.web.pages.kit import page
from angelia.web.pages.recipes import recipes_of
from angelia.web.plots import DRAWN, WITH_ROWS, plot_answer, rows_of
from angelia.web.signin.guard import Visiting

router = APIRouter(include_in_schema=False)
A_PAGE = 25
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What browsers draw without running anything of it."""
MOST_SHOWN = 5_000_000
"""Bytes of a picture that stands on the page; larger ones are downloads only."""
MOST_WORDS = 8_192
"""Bytes of a text that stands on the page."""
A_TABLE = 100
"""Rows on one page."""
MOST_SAID = 4
"""Parameters of a job that stand in the list."""
_AGAIN = (JobState.FAILED, JobState.CANCELLED, JobState.LOST)


@router.get("/jobs")
async def jobs(
    request: Request,
    visitor: Visiting,
    house: House,
    state: Annotated[str, Query(max_length=20)] = "",
    instrument: Annotated[str, Query(max_length=64)] = "",
    campaign: Annotated[str, Query(max_length=64)] = "",
    after: Annotated[str, Query(max_length=40)] = "",
    seen: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Her jobs, the youngest first; of one state and one instrument, and of one campaign, if she says so. While one has not ended the page asks
    again, with what it has seen: 204 where that is all there is.
    """
    state = state if state in STATES else ""
    principal = await principal_of(visitor.caller, house)
    found = await house.dispatcher.jobs(
        principal,
        states=[STATES[state]] if state else (),
        instrument=instrument,
        campaign=campaign,
        before_id=number("job", after, "after") if after else None,
        limit=A_PAGE + 1,
    )
    shown = found[:A_PAGE]
    stamp = _stamp_of(shown)
    if stamp and seen == stamp and "hx-request" in request.headers:
        return Response(status_code=204, headers={"Cache-Control": "private, no-store"})
    kept = {name: value for name, value in (("state", state), ("instrument", instrument), ("campaign", campaign)) if value}
    return page(
        request,
        visitor,
        "jobs.html",
        jobs=shown,
        login=visitor.person.login,
        again=f"/jobs?{urlencode({**kept, **({'after': after} if after else {}), 'seen': stamp})}" if stamp else "",
        asked=_asked(shown, house),
        products=_products(house),
        counts=await _counts(visitor.person.login, campaign, house),
        titles=titles_of(house),
        instruments={one.name: one.title or one.name for one in house.dispatcher.visible(principal)},
        states=list(STATES),
        state=state,
        instrument=instrument,
        campaign=campaign,
        first="/jobs" + (f"?{urlencode(kept)}" if kept else "") if after else "",
        older=f"/jobs?{urlencode({**kept, 'after': shown[-1].public_id})}" if len(found) > A_PAGE else "",
    )


def _stamp_of(jobs: Sequence[Job]) -> str:
    """Another one after each change of what may still change; "" where all of them have ended: then the page does not ask again."""
    if all(job.state.is_final for job in jobs):
        return ""
    return blake2b(" ".join(f"{job.public_id} {_stamp(job)}" for job in jobs).encode(), digest_size=8).hexdigest()


def _asked(jobs: Sequence[Job], house: Context) -> dict[int, list[tuple[str, str]]]:
    """What was asked for in each that is not as usual: a list of jobs of one product says nothing else of them."""
    usual: dict[tuple[str, str], Mapping[str, Any]] = {}
    said: dict[int, list[tuple[str, str]]] = {}
    for job in jobs:
        declared = house.dispatcher.instruments[job.instrument].declaration if job.instrument in house.dispatcher.instruments else None
        product = declared.product(job.product) if declared is not None else None
        if declared is None or product is None:
            said[job.job_id] = []
            continue
        if (job.instrument, job.product) not in usual:
            usual[job.instrument, job.product] = usual_of(declared, product)
        said[job.job_id] = said_in(declared.parameters_of(product), job.values, usual[job.instrument, job.product], MOST_SAID)
    return said


def _products(house: Context) -> dict[tuple[str, str], str]:
    """What products call themselves."""
    return {
        (name, product.name): product.title or product.name
        for name, found in house.dispatcher.instruments.items()
        for product in found.declaration.products
    }


async def _counts(login: str, campaign: str, house: Context) -> dict[str, int]:
    """How many of her jobs of a campaign stand how, those under way first."""
    found = await house.store.campaign_counts(login, campaign) if campaign else {}
    return {state.label: found[state] for state in sorted(found)}


def titles_of(house: Context) -> dict[str, str]:
    """What the instruments call themselves."""
    return {name: found.declaration.title or name for name, found in house.dispatcher.instruments.items()}


def _stamp(job: Job) -> str:
    """Another one after each change."""
    return f"{to_text(job.changed_at)} {job.state.label} {job.progress} {job.attempt}"


@router.get("/jobs/{job_id}")
async def job(request: Request, visitor: Visiting, house: House, job_id: str, seen: str = "") -> Response:
    """One of hers. While it has not ended the page asks again, with what it has seen: 204 where that is all there is."""
    principal = await principal_of(visitor.caller, house)
    found = await house.dispatcher.job(principal, number("job", job_id))
    stamp = _stamp(found)
    if seen == stamp and "hx-request" in request.headers:
        return Response(status_code=204, headers={"Cache-Control": "private, no-store"})
    declared = {one.name: one for one in house.dispatcher.visible(principal)}.get(found.instrument)
    product = declared.product(found.product) if declared else None
    labels = {one.name: one for one in declared.parameters_of(product)} if declared and product else {}
    history = await house.dispatcher.history(principal, found.job_id)
    document, _ = await house.store.wants(visitor.person.login)
    follows: Any = document.get("follows", ())
    return page(
        request,
        visitor,
        "job.html",
        job=found,
        stamp=stamp,
        campaign=found.campaign if found.owner == principal.login else "",
        title_of=titles_of(house).get(found.instrument, found.instrument),
        product_title=product.title if product and product.title else found.product,
        has_form=product is not None,
        # A campaign is told at its end alone.
        can_be_told=visitor.person.login in found.people
        and not found.state.is_final
        and not (found.owner == visitor.person.login and found.campaign),
        is_followed=found.public_id in follows,
        can_retry=found.state in _AGAIN and found.instrument in house.dispatcher.instruments,
        labels=labels,
        link=f"{house.base_url.rstrip('/')}/j/{found.public_id.removeprefix('job_')}",
        recipes=recipes_of(found, declared, product, house) if declared and product else {},
        history=[(row, told_by(row, principal)) for row in reversed(history)],
        products=[(one, _shape(one), await _words(one, found, house)) for one in await house.dispatcher.products(principal, found.job_id)],
    )


async def _words(product: Product, job: Job, house: Context) -> str:
    """What a short text says; "" for all else."""
    if product.kind not in (ProductKind.TEXT, ProductKind.JSON) or product.size > MOST_WORDS:
        return ""
    try:
        return (await asyncio.to_thread(house.dispatcher.files.source(job, product).read_bytes)).decode("utf-8", "replace")
    except (NotFound, OSError):  # it was cleaned away meanwhile
        return ""


def _shape(product: Product) -> str:
    """How a product stands on the page: as a picture, a plot, a table, or only as a file."""
    if product.content_type in SHOWN and product.size <= MOST_SHOWN:
        return "picture"
    if product.kind in DRAWN:
        return "plot"
    return "table" if product.kind in WITH_ROWS else "file"


@router.get("/j/{short}")
async def short_link(visitor: Visiting, house: House, short: str) -> Response:
    """A link that is short enough for a paper or a chat: to one of hers."""
    found = await house.dispatcher.job(await principal_of(visitor.caller, house), number("job", f"job_{short}"))
    return RedirectResponse(f"/jobs/{found.public_id}", 303)


@router.get("/jobs/{job_id}/plots/{name:path}")
async def plots(request: Request, visitor: Visiting, house: House, job_id: str, name: str) -> Response:
    """What the page draws of a product."""
    return await plot_answer(request, await principal_of(visitor.caller, house), house, job_id, name)


@router.get("/jobs/{job_id}/rows/{name:path}")
async def rows(
    request: Request, visitor: Visiting, house: House, job_id: str, name: str, first: Annotated[int, Query(ge=0, le=1 << 40)] = 0
) -> Response:
    """The numbers of a product in a table, a page at a time: for all who can't see a plot, or want the digits."""
    principal = await principal_of(visitor.caller, house)
    job = await house.dispatcher.job(principal, number("job", job_id))
    product, _ = await house.dispatcher.product(principal, job.job_id, name)
    found = await rows_of(principal, house, job_id, name, first, A_TABLE)
    place = f"/jobs/{job.public_id}/rows/{quote(name)}"
    following = first + A_TABLE
    is_grid = product.kind is ProductKind.IMAGE
    cells = [[_shown(cell, is_grid) for cell in row] for row in found.rows]
    return page(
        request,
        visitor,
        "job-rows.html",
        job=job,
        product=product,
        found=found,
        cells=cells,
        widest=[max((row[at] for row in cells), key=len, default="") for at in range(len(found.columns))],
        is_grid=is_grid,
        newer=f"{place}?first={max(0, first - A_TABLE)}" if first else "",
        older=f"{place}?first={following}" if following < found.total else "",
    )


def _shown(cell: Any, is_grid: bool) -> str:
    """A pixel is looked at beside the others; the digits of a table are wanted as they are."""
    if cell is None:
        return "–"
    return f"{cell:.5g}" if is_grid and isinstance(cell, float) else str(cell)


@router.get("/jobs/{job_id}/archive")
async def archive(visitor: Visiting, house: House, job_id: str) -> Response:
    """All products in one file, to be saved."""
    principal = await principal_of(visitor.caller, house)
    return await job_archive(await house.dispatcher.job(principal, number("job", job_id)), principal, house)


@router.get("/jobs/{job_id}/files/{name:path}")
async def file(visitor: Visiting, house: House, job_id: str, name: str) -> Response:
    """One product, to be saved."""
    found, source = await house.dispatcher.product(await principal_of(visitor.caller, house), number("job", job_id), name)
    return product_file(found, source)


@router.post("/jobs/{job_id}/tell")
async def tell(visitor: Visiting, house: House, job_id: str, wanted: Annotated[str, Form(max_length=3)] = "yes") -> Response:
    """Tell her of the end of this one, whatever is usual of jobs; or no more. Those that have ended since are followed no longer."""
    principal = await principal_of(visitor.caller, house)
    found = await house.dispatcher.job(principal, number("job", job_id))
    document, _ = await house.store.wants(visitor.person.login)
    follows: Any = document.get("follows", ())
    ids = {ref: one for ref in follows if (one := number_of("job", ref)) is not None}
    there = await house.store.jobs_by_id(list(ids.values())) if ids else {}
    over = {ref for ref, one in ids.items() if one not in there or there[one].state.is_final}

    def change(wants: dict[str, Any]) -> None:
        kept = {*wants.get("follows", [])} - over - {found.public_id}
        wants["follows"] = sorted(kept | ({found.public_id} if wanted == "yes" else set()))

    await change_wants(house.store, visitor.person.login, change, house.site(), house.now())
    house.changed("people")
    return RedirectResponse(f"/jobs/{found.public_id}", 303)


@router.post("/jobs/{job_id}/cancel")
async def cancel(visitor: Visiting, house: House, job_id: str) -> Response:
    """End it; where others asked for the same it goes on without her, and then she has none to look at."""
    job = await house.dispatcher.cancel(await principal_of(visitor.caller, house, is_change=True), number("job", job_id))
    is_left = not visitor.person.is_admin and visitor.person.login not in job.people
    return RedirectResponse("/jobs" if is_left else f"/jobs/{job_id}", 303)


@router.post("/jobs/{job_id}/retry")
async def retry(visitor: Visiting, house: House, job_id: str) -> Response:
    """Once more, as it was."""
    await house.dispatcher.retry(await principal_of(visitor.caller, house, is_change=True), number("job", job_id))
    return RedirectResponse(f"/jobs/{job_id}", 303)
