"""run_analysis and call_back of the ODA dialect: a job is asked for, followed, reported on."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from angelia.dialects.oda_encoding import encoded
from angelia.dialects.oda_ids import JobIds
from angelia.dialects.oda_people import Guest, OdaPeople
from angelia.dialects.oda_recipe import recipe
from angelia.dialects.oda_wire import (
    Answer,
    Asked,
    NotUnderstood,
    as_json,
    not_authorized,
    refusal,
    reply,
    session_of,
)
from angelia.flow.dispatcher import Dispatcher, JobOptions
from angelia.model.declaration import Declaration
from angelia.model.errors import Forbidden, IllegalStep, InvalidInput, NotFound
from angelia.model.job import Job, JobReason, JobState, Principal, Report, content_hash, share_of
from angelia.parameters import checked, needed_roles
from angelia.parameters.values import to_ask_again
from angelia.wire.asgi import Scope

CONTROL = frozenset(
    {
        "instrument", "product_type", "query_type", "query_status", "job_id", "session_id", "token", "run_asynch", "async_dispatcher",
        "return_progress", "allow_unknown_args", "dry_run", "verbose", "off_line", "client-name", "api", "oda_api_version", "use_scws",
    }
)  # fmt: skip
ALWAYS_KNOWN = frozenset({"p_list", "selected_catalog", "catalog_selected_objects", "user_catalog"})
"""Clients send these to every instrument."""
WAITS = frozenset({"submitted", "progress", "unaccessible", "unknown"})
LONGEST_WAIT = 60.0
"""Seconds that a request for an answer at once waits for it; its client asks again after."""
LOOK_EVERY = 0.05
JOB_STATUS: Mapping[JobState, str] = {
    JobState.QUEUED: "submitted",
    JobState.SUBMITTING: "submitted",
    JobState.SUBMITTED: "submitted",
    JobState.RUNNING: "progress",
    JobState.DONE: "done",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",
    JobState.LOST: "failed",
}
_ACTIONS: Mapping[str, JobState] = {
    "submitted": JobState.SUBMITTED,
    "done": JobState.DONE,
    "failed": JobState.FAILED,
}
"""All other actions say that it is under way."""
DRY = "dry run: nothing was started"
EMPTY = "the products are empty: the parameters may ask for what there is not"
_TIME = b'"time_request": '
_SECRETS = frozenset({"token", "secret", "work_dir", "file_name"})
"""What a call-back may hold and nobody is shown."""
MOST_REPORT = 65_536
MOST_KEPT = 10_000
"""Jobs whose reports are kept in memory between polls."""


@dataclass(frozen=True, slots=True)
class Run:
    """What run_analysis was asked for."""

    asked: Asked
    guest: Guest
    session: str
    declaration: Declaration
    product: str
    query_status: str
    job_id: str

    @property
    def given(self) -> dict[str, Any]:
        """The instrument's parameters."""
        return {name: value for name, value in self.asked.values.items() if name not in CONTROL}

    @property
    def is_answered_at_once(self) -> bool:
        """Does the client want to wait in this request?"""
        return self.asked.text("run_asynch") == "False" or self.asked.text("query_type") == "Dummy"


@dataclass(slots=True)
class Poll:
    """A question that a client asks again and again in the same words, and what was answered last, but for the time."""

    run: Run
    job_id: int
    changed_at: datetime | None = None
    before: bytes = b""


class OdaRuns:
    """`products_url` is where people see results."""

    def __init__(
        self, dispatcher: Dispatcher, people: OdaPeople, ids: JobIds, now: Callable[[], datetime], products_url: str, before: frozenset[str]
    ) -> None:
        self._dispatcher, self._people, self._ids, self._now = dispatcher, people, ids, now
        self._products_url, self._before = products_url, before
        self._polls: dict[bytes, Poll] = {}
        self._kept: dict[int, tuple[datetime, list[dict[str, Any]]]] = {}

    async def run_analysis(self, asked: Asked) -> Answer:
        """New jobs, polls, results: section 3.2."""
        run = self._read(asked)
        if run.query_status == "new":
            return await self._start(run)
        job = await self._job(run)
        if job is None:
            return self._refusal(run, "Request not authorized", f"The provided job_id={run.job_id} does not belong to your user account")
        # With products in it an answer is too large to be kept.
        if run.query_status in WAITS and asked.address and not asked.is_true("return_progress"):
            if len(self._polls) >= MOST_KEPT:
                self._polls.clear()
            self._polls[asked.address] = Poll(run, job.job_id)
        return await self._answer(run, job)

    async def polled(self, scope: Scope) -> Answer | None:
        """The answer to a question that was asked in the same words before; None where it must be read anew.

        A client that waits asks each second: reading its parameters and writing the same answer is most of what that costs. The job is looked
        at each time, and so is the end of the token.
        """
        poll = self._polls.get(scope["query_string"]) if scope["method"] == "GET" else None
        if poll is None:
            return None
        run, now = poll.run, self._now()
        claims = run.guest.claims
        is_over = claims is not None and claims.expires_at is not None and claims.expires_at <= now
        instrument = self._dispatcher.instruments.get(run.declaration.name)
        if is_over or instrument is None or instrument.declaration is not run.declaration:
            return None
        try:
            job = await self._dispatcher.job(run.guest.principal, poll.job_id)
        except NotFound:
            return None
        if poll.changed_at != job.changed_at:
            whole = (await self._answer(run, job)).body
            # The time is the last thing in it.
            poll.before, poll.changed_at = whole[: whole.rindex(_TIME) + len(_TIME)], job.changed_at
        return Answer(200, b"%b%r}" % (poll.before, now.timestamp()))

    async def call_back(self, asked: Asked) -> Answer:
        """What a back end says of its job, with the secret of this job. What comes late or twice changes nothing, and is no error."""
        begun = self._now()
        job_id = asked.text("job_id")
        if not job_id:
            raise NotUnderstood("job_id must be present during a call_back")
        original = asked.text("time_original_request")
        if original and not _is_number(original):
            raise NotUnderstood("time_original_request is a number of seconds")
        number = await self._ids.number(job_id)
        action = asked.text("action")
        body = {name: value for name, value in asked.values.items() if name not in _SECRETS}
        if len(json.dumps(body)) > MOST_REPORT:
            raise NotUnderstood(f"a call_back has at most {MOST_REPORT} bytes")
        report = Report(
            _ACTIONS.get(action, JobState.RUNNING),
            share_of(asked.text("progress"), asked.text("progress_max", "100")),
            asked.text("message"),
            0,
            body,
        )
        try:
            await self._dispatcher.call_back(number, asked.text("secret"), report)
        except (Forbidden, IllegalStep) as error:
            raise not_authorized(str(error)) from None
        return as_json({"time_spent_s": (self._now() - begun).total_seconds()})

    def _read(self, asked: Asked) -> Run:
        session = session_of(asked)
        guest = self._people.guest(asked)
        declaration = self.declaration(asked, guest)
        query_status = asked.text("query_status")
        if not query_status:
            raise NotUnderstood(f"[ InstrumentQueryBackEnd : {declaration.name} ] constructor failed: 'query_status'")
        for name in ("query_type", "product_type"):
            if not asked.text(name):
                raise NotUnderstood(f"KeyError('{name}')", "MissingRequestParameter")
        product = asked.text("product_type")
        if declaration.product(product) is None:
            names = {found.name: f"{found.name}_query" for found in declaration.products}
            raise NotUnderstood(
                f"[ InstrumentQueryBackEnd : {declaration.name} ] constructor failed: product type {product[:100]} not in query_dictionary {names}"
            )
        job_id = asked.text("job_id")
        if query_status != "new" and not job_id:
            raise NotUnderstood(f'job_id must be present if query_status != "new" (it is "{query_status[:20]}")')
        return Run(asked, guest, session, declaration, product, query_status, job_id)

    def declaration(self, asked: Asked, guest: Guest) -> Declaration:
        """Of the instrument that is asked for, if she may use it."""
        name = asked.text("instrument")
        if not name:
            raise NotUnderstood(f"have parameters: {[key for key in (*asked.values, 'session_id') if key != 'token']} ", "NoInstrumentSpecified")
        try:
            declaration = self._dispatcher.declaration(name, guest.principal)
        except NotFound:
            known = [found.name for found in self._dispatcher.visible(guest.principal)]
            raise NotUnderstood(f'instrument: "{name[:100]}", known: {known}', "InstrumentNotRecognized") from None
        if not set(declaration.roles) <= guest.roles:
            raise not_authorized(
                "Unfortunately, your priviledges are not sufficient to make the request for this instrument.\n"
                f"Your priviledge roles include {sorted(guest.roles)}, but the following roles are missing: "
                f"{', '.join(sorted(set(declaration.roles) - guest.roles))}."
            )
        return declaration

    async def _start(self, run: Run) -> Answer:
        principal = run.guest.principal
        try:
            found = checked(run.declaration, run.product, run.given)
        except InvalidInput as error:
            raise NotUnderstood(str(error)) from None
        needed = needed_roles(run.declaration, run.product, found.values)
        if missing := {role: why for role, why in needed.items() if role not in principal.roles}:
            return self._refusal(run, _lacking(run.guest, missing))
        if run.job_id:
            await self._check_needless_id(run, found.values)
        if run.asked.is_true("dry_run"):
            return self._tried(run, found.values)
        await self._people.introduce(run.guest)
        try:
            alias = self._ids.alias(run.declaration.name, run.product, found.values, principal.login, run.asked.text("query_type"))
            options = JobOptions(session=run.session, alias=alias, is_fresh="reruns" in self._before, is_told_again=True)
            done = await self._dispatcher.request(principal, run.declaration.name, run.product, run.given, options)
        except Forbidden as error:
            return self._refusal(run, str(error))
        job = await self._ended(principal, done.job, LONGEST_WAIT) if run.is_answered_at_once else done.job
        return await self._answer(run, job)

    def _tried(self, run: Run, values: Mapping[str, Any]) -> Answer:
        """All that can be said of a request without a job: nothing is started."""
        name = content_hash(run.declaration.name, run.declaration.version, run.product, values)[:16]
        products = {**self._described(run, values), "instrument_parameters": dict(values), "session_id": run.session, "job_id": name}
        document = reply(
            "done", name, run.session, run.session, self._now().timestamp(), status="done", comment=_comment(run), message=DRY, products=products
        )  # fmt: skip
        return as_json(document)

    async def _check_needless_id(self, run: Run, values: Mapping[str, Any]) -> None:
        job = await self._job(run)
        if job is None or dict(job.values) != dict(values) or job.product != run.product:
            raise NotUnderstood(
                f'during query_status == "new", provided (unnecessarily) job_id {run.job_id[:64]} did not match the job computed from request'
            )

    async def _job(self, run: Run) -> Job | None:
        """Hers, and of this instrument."""
        job = await self._ids.find(run.guest.principal, run.job_id)
        return job if job is not None and job.instrument == run.declaration.name else None

    def _name(self, run: Run, job: Job) -> str:
        return self._ids.name(job, run.guest.principal.login, run.asked.text("query_type"))

    async def _ended(self, principal: Principal, job: Job, seconds: float) -> Job:
        """The job once it ended, or as it is when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while not job.state.is_final:
                    await asyncio.sleep(LOOK_EVERY)
                    job = await self._dispatcher.job(principal, job.job_id)
        except TimeoutError:
            pass
        return job

    async def _answer(self, run: Run, job: Job) -> Answer:
        status = JOB_STATUS[job.state]
        comment = _comment(run)
        if status == "failed" or run.query_status == "failed":
            why = job.message or f"failed: the job was {job.state.label}"
            return await self._reply(run, job, "failed", status, message=why, error=str(job.reason), comment=comment, failed=True)
        if status != "done":
            more = {"products": await self._products(run, job)} if run.asked.is_true("return_progress") else {}
            return await self._reply(run, job, status, status, comment=comment, message=job.message, **more)
        if run.query_status in WAITS:
            return await self._reply(run, job, "ready", "ready", comment=comment)
        products = await self._products(run, job)
        warning = EMPTY if job.reason is JobReason.EMPTY else ""
        return await self._reply(run, job, "done", "done", comment=comment, message=job.message, warning=warning, products=products)

    async def _reply(self, run: Run, job: Job, query_status: str, status: str, **more: Any) -> Answer:
        if "products" not in more and run.query_status == "new":
            more["products"] = self._described(run, job.values)
        reports = await self._reports(run.guest.principal, job)
        document = reply(
            query_status,
            self._name(run, job),
            job.session or run.session,
            run.session,
            self._now().timestamp(),
            status=status,
            reports=reports,
            **more,
        )
        return as_json(document)

    async def _reports(self, principal: Principal, job: Job) -> list[dict[str, Any]]:
        """What its back end said, oldest first. Most polls find a job that has not changed since the last one."""
        kept = self._kept.get(job.job_id)
        if kept is not None and kept[0] == job.changed_at:
            return kept[1]
        history = await self._dispatcher.history(principal, job.job_id)
        reports = [{"message": row.message, **row.report} for row in history if row.report]
        if len(self._kept) >= MOST_KEPT:
            self._kept.clear()
        self._kept[job.job_id] = job.changed_at, reports
        return reports

    async def _products(self, run: Run, job: Job) -> dict[str, Any]:
        principal = run.guest.principal
        listed = await self._dispatcher.products(principal, job.job_id)
        files = [(product, self._dispatcher.files.source(job, product)) for product in listed]
        made = await asyncio.to_thread(encoded, files, has_pickles="pickles" in self._before)
        answer = {**made.products, **self._described(run, job.values), "session_id": run.session, "job_id": self._name(run, job)}
        names = [source.name for _, source in files]
        return answer | {
            "prod_process_message": "",
            "file_name": names,
            "download_file_name": f"{run.product}.tar.gz" if len(names) != 1 else f"{names[0]}.gz",
            "left_out": list(made.left_out),
        }

    def _described(self, run: Run, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as they are used, and the code that asks for the same: without any token in it."""
        instrument = run.declaration.name
        parameters = {**values, "instrument": instrument, "product_type": run.product, "query_status": run.query_status}
        parameters |= {"query_type": run.asked.text("query_type"), "session_id": run.session}
        product = run.declaration.product(run.product) or run.declaration.products[0]
        given = to_ask_again(run.declaration.parameters_of(product), values)
        return {"input_prod_list": [], "analysis_parameters": parameters, "api_code": recipe(instrument, run.product, given, self._products_url)}

    def _refusal(self, run: Run, text: str, debug: str = "") -> Answer:
        return refusal(text, run.job_id, run.session, self._now().timestamp(), debug)


def _lacking(guest: Guest, missing: Mapping[str, str]) -> str:
    """`missing` is why, by role."""
    roles = "".join(f"\n - {role}: {why or 'please refer to support for details'}" for role, why in missing.items())
    return (
        "Unfortunately, your priviledges are not sufficient to make the request for this particular product and parameter combination.\n"
        f"- Your priviledge roles include {sorted(guest.roles)}\n- You are lacking all of the following roles:{roles}\n"
        "You can request support if you think you should be able to make this request."
    )


def _comment(run: Run) -> str:
    parameters = run.declaration.parameters_of(run.declaration.product(run.product) or run.declaration.products[0])
    known = {name for parameter in parameters for name in (parameter.name, parameter.unit_name)} | ALWAYS_KNOWN
    unused = sorted(name for name in run.given if name not in known)
    if not unused:
        return ""
    return f"Please note that argument{'s' if len(unused) > 1 else ''} {', '.join(unused)} {'are' if len(unused) > 1 else 'is'} not used"


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) < 1e300
    except ValueError:
        return False
