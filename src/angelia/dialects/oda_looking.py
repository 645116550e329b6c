"""Looking at jobs in the ODA dialect: inspect-state, inspect-user-state, and addresses that lead back to a request."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from angelia.dialects.oda_ids import JobIds
from angelia.dialects.oda_people import CHAT, MAIL, OdaPeople
from angelia.dialects.oda_runs import JOB_STATUS
from angelia.dialects.oda_wire import Answer, Asked, NotUnderstood, as_json, job_number, redirect, wire_id
from angelia.flow.dispatcher import Dispatcher
from angelia.flow.job_voice import message_type
from angelia.model.delivery import Delivery, State
from angelia.model.job import HistoryRow, Job, JobState, Principal
from angelia.model.message import HOUSE, Message
from angelia.planning.job_news import request_address
from angelia.store import Store

ACTION = "inspect the state for a given job_id"
ROLE = "job manager"
RECENT_DAYS = 3.0
PAGE = 200
MOST_WITH_LETTERS = 20
"""Jobs of one look whose letters are looked up; to see those of another, ask for it by its id."""
MOST_LOOKED_AT = 2_000
"""Jobs that one look without an id goes through."""
MOST_NAMES = 200_000
"""Jobs among which one is looked for by the beginning of its id."""
_RESOLVED = ("job_id", "session_id", "token")


class OdaLooking:
    """What became of jobs, for their owners and for those who look after them."""

    def __init__(self, dispatcher: Dispatcher, people: OdaPeople, ids: JobIds, store: Store, now: Callable[[], datetime], products_url: str) -> None:
        self._dispatcher, self._people, self._ids, self._now = dispatcher, people, ids, now
        self._store, self._products_url = store, products_url

    async def inspect_state(self, asked: Asked) -> Answer:
        """Everybody's jobs, for job managers."""
        guest = self._people.with_roles(asked, ACTION, [ROLE])
        return await self._inspect(asked, Principal(guest.principal.login, guest.roles, is_admin=True))

    async def inspect_user_state(self, asked: Asked) -> Answer:
        """Her own."""
        return await self._inspect(asked, self._people.with_roles(asked).principal)

    async def _inspect(self, asked: Asked, principal: Principal) -> Answer:
        jobs = await self._found(asked, principal)
        is_grouped, has_parameters = asked.is_true("group_by_job"), not asked.is_true("exclude_analysis_parameters")
        records = []
        for place, job in enumerate(jobs):
            content = await self._content(job, principal, has_parameters=has_parameters)
            if place < MOST_WITH_LETTERS:
                content |= await self._letters(job)
            name = self._ids.name(job, job.owner)
            records.append(_grouped(job, name, content) if is_grouped else _flat(job, name, content))
        return as_json({"records": records})

    async def _found(self, asked: Asked, principal: Principal) -> list[Job]:
        """By the first eight digits of an id, or all of it; the recent ones where none is given."""
        wanted = asked.text("job_id")
        if job_number(wanted) is not None:
            one = await self._ids.find(principal, wanted)
            return [] if one is None else [one]
        since = self._now() - timedelta(days=_days(asked.text("recent_days")))
        if wanted and not self._ids.is_legacy:
            # What begins so is found among many, and not read before: an id tells its name by itself.
            named = await self._dispatcher.jobs_among(
                principal, lambda job_id: wire_id(job_id).startswith(wanted), MOST_NAMES, of_all=principal.is_admin
            )
            return [job for job in named if job.changed_at >= since]
        found: list[Job] = []
        before = None
        for _ in range(MOST_LOOKED_AT // PAGE):
            page = await self._dispatcher.jobs(principal, before_id=before, limit=PAGE, of_all=principal.is_admin)
            found += [job for job in page if job.changed_at >= since and self._ids.name(job, job.owner).startswith(wanted[:16])]
            if len(page) < PAGE or page[-1].created_at < since:
                break
            before = page[-1].job_id
        return found

    async def _content(self, job: Job, principal: Principal, *, has_parameters: bool) -> dict[str, Any]:
        history = await self._dispatcher.history(principal, job.job_id)
        products = await self._dispatcher.products(principal, job.job_id)
        names = [product.path for product in products]
        content: dict[str, Any] = {
            "file_list": names,
            "fits_files": [name for name in names if name.endswith((".fits", ".fits.gz"))],
            "email_history": [],
            "matrix_message_history": [],
            "job_monitor": [_monitor(job, self._ids.name(job, job.owner), row) for row in history],
        }
        if has_parameters:
            parameters = {**job.values, "instrument": job.instrument, "product_type": job.product, "session_id": job.session}
            content["analysis_parameters"] = parameters | {"token": {"sub": job.owner} if job.owner else None}
        return content

    async def _letters(self, job: Job) -> dict[str, Any]:
        """What its owner was told of it, by mail and by chat, oldest first."""
        person = await self._store.person(job.owner) if job.owner else None
        if person is None:
            return {}
        subtree = message_type(job.instrument, JobState.DONE).rpartition(".")[0]
        there = await self._store.list_messages(person_id=person.person_id, subtree=subtree, source=HOUSE, limit=PAGE)
        about = {message.message_id: message for message in there if message.object == job.public_id}
        if not about:
            return {}
        told: dict[str, list[dict[str, Any]]] = {}
        for key, agent, name in (("email_history", MAIL, "email"), ("matrix_message_history", CHAT, "matrix_message")):
            letters = await self._store.list_deliveries(states={State.DELIVERED}, agent=agent, person_id=person.person_id, limit=PAGE)
            ours = [letter for letter in letters if letter.message_id in about]
            told[key] = [_letter(letter, about[letter.message_id or 0], job, name) for letter in reversed(ours)]
        return told

    async def resolve_job_url(self, asked: Asked) -> Answer:
        """From the short address of a job to the request with all its parameters."""
        if set(asked.values) != set(_RESOLVED):
            extra = sorted(set(asked.values) - set(_RESOLVED))
            return self._failed(f"found unexpected parameters: {extra}, expected only and only these {list(_RESOLVED)}", 400)
        try:
            guest = self._people.guest(asked)
            job = await self._ids.find(guest.principal, asked.text("job_id"))
        except NotUnderstood as error:
            return self._failed(str(error), error.status)
        if job is None:
            return self._failed("Request not authorized", 403)
        given = self._dispatcher.as_given(job)
        if given is None:
            return self._failed(f"{job.instrument} does not offer {job.product} any more", 400)
        return redirect(request_address(job, given, self._products_url))

    def _failed(self, text: str, status: int) -> Answer:
        return redirect(f"{self._products_url}?{urlencode({'error_message': text, 'status_code': status})}")


def _flat(job: Job, name: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "mtime": job.changed_at.timestamp(),
        "ctime": job.created_at.timestamp(),
        "session_id": job.session,
        "job_id": name,
        "request_completed": job.state is JobState.DONE,
        "aliased_marker": "",
        **content,
    }


def _grouped(job: Job, name: str, content: dict[str, Any]) -> dict[str, Any]:
    folder = f"scratch_sid_{job.session}_jid_{name}"
    status = {"request_completed": job.state is JobState.DONE, "scratch_dir_fn": folder, "scratch_dir_content": content}
    return {"job_id": name, "job_status_data": [status]}


def _monitor(job: Job, name: str, row: HistoryRow) -> dict[str, Any]:
    status = JOB_STATUS[row.state]
    said: dict[str, Any] = {"job_id": name, "session_id": job.session, "status": status, "message": row.message}
    if row.report:
        said["full_report_dict"] = dict(row.report)
    return {
        "ctime": row.at.timestamp(),
        "ctime_isot": row.at.strftime("%Y-%m-%dT%H:%M:%S"),
        "fn": f"job_monitor_{row.number}.json",
        "job_monitor_content": said,
    }


def _letter(letter: Delivery, message: Message, job: Job, name: str) -> dict[str, Any]:
    """Named as the files of old were: what it said, when it left, when the job was first asked for."""
    at = letter.ended_at or message.received_at
    state = "submitted" if message.params.get("state") == JobState.QUEUED.label else str(message.params.get("state"))
    suffix = "email" if name == "email" else "json"
    return {
        "ctime": at.timestamp(),
        "ctime_isot": at.strftime("%Y-%m-%dT%H:%M:%S"),
        "fn": f"{name}_history/{name}_{state}_{at.timestamp():.3f}_{job.created_at.timestamp():.3f}.{suffix}",
    }


def _days(text: str) -> float:
    try:
        days = float(text) if text else RECENT_DAYS
    except ValueError:
        days = math.nan
    if math.isnan(days):
        raise NotUnderstood("recent_days is a number")
    return min(max(days, 0.0), 36_500.0)
