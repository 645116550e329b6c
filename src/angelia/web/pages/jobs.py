"""Jobs: hers in a list; one of them with its progress, what was asked, what happened and what came of it."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from angelia.model.job import STATES, Job, JobState
from angelia.model.moments import to_text
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import number
from angelia.web.jobs import principal_of, product_file, told_by
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting

router = APIRouter(include_in_schema=False)
A_PAGE = 25
SHOWN = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
"""What browsers draw without running anything of it."""
MOST_SHOWN = 5_000_000
"""Bytes of a picture that stands on the page; larger ones are downloads only."""
_AGAIN = (JobState.FAILED, JobState.CANCELLED, JobState.LOST)


@router.get("/jobs")
async def jobs(
    request: Request,
    visitor: Visiting,
    house: House,
    state: Annotated[str, Query(max_length=20)] = "",
    instrument: Annotated[str, Query(max_length=64)] = "",
    after: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Her jobs, the youngest first; of one state and one instrument, if she says so."""
    state = state if state in STATES else ""
    found = await house.dispatcher.jobs(
        await principal_of(visitor.caller, house),
        states=[STATES[state]] if state else (),
        instrument=instrument,
        before_id=number("job", after) if after else None,
        limit=A_PAGE + 1,
    )
    shown = found[:A_PAGE]
    kept = {name: value for name, value in (("state", state), ("instrument", instrument)) if value}
    return page(
        request,
        visitor,
        "jobs.html",
        jobs=shown,
        titles=titles_of(house),
        states=list(STATES),
        state=state,
        instrument=instrument,
        first="/jobs" + (f"?{urlencode(kept)}" if kept else "") if after else "",
        older=f"/jobs?{urlencode({**kept, 'after': shown[-1].public_id})}" if len(found) > A_PAGE else "",
    )


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
    return page(
        request,
        visitor,
        "job.html",
        job=found,
        stamp=stamp,
        title_of=titles_of(house).get(found.instrument, found.instrument),
        product_title=product.title if product and product.title else found.product,
        has_form=product is not None,
        can_retry=found.state in _AGAIN and found.instrument in house.dispatcher.instruments,
        labels=labels,
        history=[(row, told_by(row, principal)) for row in reversed(history)],
        products=[(one, one.content_type in SHOWN and one.size <= MOST_SHOWN) for one in await house.dispatcher.products(principal, found.job_id)],
    )


@router.get("/jobs/{job_id}/files/{name:path}")
async def file(visitor: Visiting, house: House, job_id: str, name: str) -> Response:
    """One product, to be saved."""
    found, path = await house.dispatcher.product(await principal_of(visitor.caller, house), number("job", job_id), name)
    return product_file(found, str(path))


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
