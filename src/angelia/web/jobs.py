"""Jobs over the API: what there is to compute, ask for it, follow it, take its products; and the call-backs of instruments."""

import asyncio
import io
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from angelia.flow.dispatcher import JobOptions
from angelia.model.declaration import Declaration
from angelia.model.errors import Forbidden, InvalidInput, UnsupportedMedia
from angelia.model.job import MESSAGE_LENGTH, STATES, HistoryRow, Job, JobState, Principal, Product, Report, share_of
from angelia.model.moments import public_id, to_text
from angelia.parameters import schema_of
from angelia.products.source import Source
from angelia.web.access import House, Known
from angelia.web.context import Context
from angelia.web.forms import Limit, number
from angelia.web.paging import PagedRoute, page_of
from angelia.wire.callers import READING, WRITING, Caller
from angelia.wire.file_answer import FileAnswer

router = APIRouter(prefix="/api/v1", tags=["jobs"], route_class=PagedRoute)
Body = dict[str, Any]
CAMPAIGN = r"^[A-Za-z0-9_.-]{0,64}$"
"""What a campaign may be called."""
_MOST_REPORT = 65_536
_BY_ACTION = {state.label: state for state in (JobState.SUBMITTED, JobState.DONE, JobState.FAILED)}


class JobIn(BaseModel):
    """A request to an instrument. `parameters` are checked against its declaration; `seconds` from now it must have ended. Jobs of one `campaign`
    are told of at once, when the last of them has ended.
    """

    model_config = ConfigDict(extra="forbid")
    instrument: str = Field(max_length=64)
    product: str = Field(max_length=200)
    parameters: dict[str, Any] = Field(default_factory=dict)
    private: bool = False
    fresh: bool = False
    session: str = Field(default="", max_length=64, pattern=r"^[A-Za-z0-9_-]*$")
    campaign: str = Field(default="", max_length=64, pattern=CAMPAIGN)
    seconds: float | None = Field(default=None, gt=0, le=31_536_000)


class ReportIn(BaseModel):
    """A call-back: how a job stands, as its instrument says. `sequence` counts from 1; leave it out if you don't count."""

    model_config = ConfigDict(extra="allow")
    state: str = ""
    progress: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    message: str = Field(default="", max_length=MESSAGE_LENGTH)
    sequence: int = Field(default=0, ge=0, lt=1 << 62)


async def principal_of(caller: Caller, house: Context, *, is_change: bool = False) -> Principal:
    """Who asks, with her groups as roles."""
    if caller.person is None:
        if caller.is_trusted:
            return Principal("", is_admin=True)
        raise Forbidden("jobs are a person's: this token is not one")
    if caller.scopes.isdisjoint(WRITING if is_change else READING):
        raise Forbidden(f"this token lacks the scope {'write' if is_change else 'read'}")
    names = await house.store.names_of(caller.person.person_id)
    return Principal(caller.person.login, frozenset(name[6:] for name in names if name.startswith("group:")), caller.is_admin)


@router.get("/instruments")
async def instruments(caller: Known, house: House) -> Body:
    """The instruments that she may use, with their products."""
    principal = await principal_of(caller, house)
    return {"items": [_instrument_out(one) for one in house.dispatcher.visible(principal)]}


@router.get("/instruments/{name}")
async def instrument(name: str, caller: Known, house: House) -> Body:
    """One of them; each product has a JSON Schema of its parameters."""
    principal = await principal_of(caller, house)
    hers = {one.name: one for one in house.dispatcher.visible(principal)}
    if name not in hers:
        raise house.dispatcher.unknown(name, principal)
    declaration = hers[name]
    shown = _instrument_out(declaration)
    for product in shown["products"]:
        product["schema"] = schema_of(declaration, product["name"])
    return shown


@router.post("/jobs", status_code=202)
async def submit(asked: JobIn, caller: Known, house: House) -> Body:
    """Ask for a product. Answers at once; the same request of before shares its run, or its result."""
    principal = await principal_of(caller, house, is_change=True)
    options = JobOptions(session=asked.session, campaign=asked.campaign, is_private=asked.private, is_fresh=asked.fresh, seconds=asked.seconds)
    done = await house.dispatcher.request(principal, asked.instrument, asked.product, asked.parameters, options)
    return job_out(done.job, principal) | {"result": done.joined.value, "unused": list(done.unused)}


@router.post("/uploads", status_code=201)
async def upload(request: Request, caller: Known, house: House) -> Body:
    """A file for a parameter of the kind `file` or `catalogue`: the body is its bytes. What stands for it in a request is `value`; it is hers, and is
    kept as long as jobs are, counted from the last one that was given it.
    """
    principal = await principal_of(caller, house, is_change=True)
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise UnsupportedMedia("the body is the file itself, without a form around it: curl --data-binary @file")
    content = await request.body()
    key = await asyncio.to_thread(house.dispatcher.uploads.keep, io.BytesIO(content), principal.login)
    return {"value": house.dispatcher.uploads.address(key), "size": len(content)}


@router.get("/jobs")
async def jobs(
    caller: Known,
    house: House,
    state: str = "",
    instrument: Annotated[str, Query(max_length=64)] = "",
    session: Annotated[str, Query(max_length=64)] = "",
    campaign: Annotated[str, Query(max_length=64)] = "",
    everybody: bool = False,
    after: str = "",
    limit: Limit = 50,
) -> Body:
    """Hers, the youngest first; with `everybody`, and for the operator at the machine, those of all."""
    if state and state not in STATES:
        raise InvalidInput(f"a state is one of {', '.join(STATES)}", "state")
    principal = await principal_of(caller, house)
    found = await house.dispatcher.jobs(
        principal,
        states=[STATES[state]] if state else (),
        instrument=instrument,
        session=session,
        campaign=campaign,
        before_id=number("job", after, "after") if after else None,
        limit=limit + 1,
        of_all=everybody or caller.is_trusted,
    )
    shown, following = page_of(found, limit, lambda job: job.public_id)
    return {"items": [job_out(job, principal) for job in shown], "next": following}


@router.get("/jobs/{job_id}")
async def job(job_id: str, caller: Known, house: House) -> Body:
    """One of hers, with its history and what came of it."""
    principal = await principal_of(caller, house)
    found = await house.dispatcher.job(principal, number("job", job_id))
    history = await house.dispatcher.history(principal, found.job_id)
    products = await house.dispatcher.products(principal, found.job_id)
    return job_out(found, principal) | {
        "history": [_row_out(row, found, principal) for row in history],
        "products": [_product_out(found, product) for product in products],
    }


@router.post("/jobs/{job_id}/cancel")
async def cancel(job_id: str, caller: Known, house: House) -> Body:
    """End it. Where others asked for the same it goes on for them."""
    principal = await principal_of(caller, house, is_change=True)
    return job_out(await house.dispatcher.cancel(principal, number("job", job_id)), principal)


@router.post("/jobs/{job_id}/retry")
async def retry(job_id: str, caller: Known, house: House) -> Body:
    """Once more, where it failed, was cancelled or lost."""
    principal = await principal_of(caller, house, is_change=True)
    return job_out(await house.dispatcher.retry(principal, number("job", job_id)), principal)


@router.get("/jobs/{job_id}/products")
async def products(job_id: str, caller: Known, house: House) -> Body:
    """What came of it."""
    principal = await principal_of(caller, house)
    found = await house.dispatcher.job(principal, number("job", job_id))
    return {"items": [_product_out(found, product) for product in await house.dispatcher.products(principal, found.job_id)]}


@router.get("/jobs/{job_id}/archive")
async def archive(job_id: str, caller: Known, house: House) -> Response:
    """All products in one file (tar, gzip)."""
    principal = await principal_of(caller, house)
    return await job_archive(await house.dispatcher.job(principal, number("job", job_id)), principal, house)


@router.get("/jobs/{job_id}/products/{name:path}")
async def product(job_id: str, name: str, caller: Known, house: House) -> Response:
    """The bytes of one product; ranges are answered."""
    principal = await principal_of(caller, house)
    found, source = await house.dispatcher.product(principal, number("job", job_id), name)
    return product_file(found, source)


@router.post("/jobs/{job_id}/callback")
async def call_back(job_id: str, report: ReportIn, house: House, authorization: Annotated[str, Header()] = "") -> Body:
    """What an instrument says of a job, with the secret that it was given for this attempt: `Authorization: Bearer <secret>`."""
    kind, _, secret = authorization.partition(" ")
    if kind.lower() != "bearer" or not secret:
        raise Forbidden("this needs the secret of the job: Authorization: Bearer ...")
    if report.state and report.state not in STATES:
        raise InvalidInput(f"a state is one of {', '.join(STATES)}", "state")
    body = report.model_dump(exclude_defaults=True)
    if len(report.model_dump_json()) > _MOST_REPORT:
        raise InvalidInput(f"a report has at most {_MOST_REPORT} bytes")
    told = Report(STATES.get(report.state), report.progress, report.message, report.sequence, body)
    return {"taken": await house.dispatcher.call_back(number("job", job_id), secret.strip(), told)}


@router.get("/jobs/{job_id}/callback")
async def call_back_by_address(job_id: str, house: House, request: Request, secret: Annotated[str, Query(max_length=200)] = "") -> Body:
    """The same for what can only ask for an address: `secret`, `action` (done, failed, or anything for under way), `progress`, `progress_max`,
    `message`. All else is kept with the report.
    """
    said = {name: text for name, text in request.query_params.items() if name != "secret"}
    if sum(len(name) + len(text) for name, text in said.items()) > _MOST_REPORT:
        raise InvalidInput(f"a report has at most {_MOST_REPORT} bytes")
    state = _BY_ACTION.get(said.get("action", ""), JobState.RUNNING)
    told = Report(state, share_of(said.get("progress", ""), said.get("progress_max", "100")), said.get("message", "")[:MESSAGE_LENGTH], 0, said)
    return {"taken": await house.dispatcher.call_back(number("job", job_id), secret, told)}


async def job_archive(job: Job, principal: Principal, house: Context) -> Response:
    """What came of a job as one file, packed for this answer."""
    there = await house.dispatcher.products(principal, job.job_id)
    made = await asyncio.to_thread(house.dispatcher.files.archive, job, there)
    headers = {"content-disposition": f"attachment; filename={job.public_id}.tar.gz", "cache-control": "private, no-store"}
    answer = FileAnswer(made, media_type="application/gzip", headers=headers)
    answer.background = BackgroundTask(made.unlink, missing_ok=True)
    return answer


def product_file(product: Product, source: Source) -> Response:
    """A product of a job as an answer."""
    name = product.path.rpartition("/")[2]
    return FileAnswer(
        source,
        media_type=product.content_type,
        headers={
            "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "content-security-policy": "sandbox; default-src 'none'",
            "x-sha256": product.sha256,
        },
    )


def job_out(job: Job, principal: Principal) -> Body:
    """A job as JSON. Who else asked for the same is nobody's business."""
    return {
        "id": job.public_id,
        "instrument": job.instrument,
        "version": job.version,
        "product": job.product,
        "owner": job.owner if principal.is_admin else principal.login,
        "state": job.state.label,
        "progress": job.progress,
        "message": job.message,
        "reason": str(job.reason),
        "attempt": job.attempt,
        "parameters": dict(job.values),
        "session": job.session if principal.is_admin or principal.login == job.owner else "",
        "campaign": job.campaign if principal.is_admin or principal.login == job.owner else "",
        "created_at": to_text(job.created_at),
        "changed_at": to_text(job.changed_at),
        "started_at": to_text(job.started_at) if job.started_at else None,
        "ended_at": to_text(job.ended_at) if job.ended_at else None,
        "deadline_at": to_text(job.deadline_at) if job.deadline_at else None,
    }


def told_by(row: HistoryRow, principal: Principal) -> str:
    """Who did it, as she may know it."""
    is_known = row.by in ("dispatcher", "instrument", principal.login) or principal.is_admin
    return row.by if is_known else "somebody else"


def _row_out(row: HistoryRow, job: Job, principal: Principal) -> Body:
    return {
        "at": to_text(row.at),
        "state": row.state.label,
        "by": told_by(row, principal),
        "attempt": row.attempt,
        "progress": row.progress,
        "message": row.message,
        "reason": str(row.reason),
    }


def _product_out(job: Job, product: Product) -> Body:
    return {
        "name": product.name,
        "kind": product.kind.value,
        "title": product.title,
        "content_type": product.content_type,
        "size": product.size,
        "sha256": product.sha256,
        "meta": dict(product.meta),
        "url": f"/api/v1/jobs/{public_id('job', job.job_id)}/products/{quote(product.name, safe='')}",
    }


def _instrument_out(declaration: Declaration) -> Body:
    return {
        "name": declaration.name,
        "version": declaration.version,
        "title": declaration.title,
        "help": declaration.help,
        "products": [{"name": product.name, "title": product.title, "help": product.help} for product in declaration.products],
    }
