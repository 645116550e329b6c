"""The ODA dialect: an analysis service as its unmodified clients know it, under /dispatch-data/."""

import contextlib
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from datetime import datetime
from hashlib import blake2b
from pathlib import Path

from angelia import telemetry
from angelia.dialects.oda_description import instr_list, meta_data, meta_data_src, par_names
from angelia.dialects.oda_files import OdaFiles
from angelia.dialects.oda_ids import JobIds
from angelia.dialects.oda_lists import CATALOGUE, CATALOGUE_FILE, SCWS_FILE, check_catalogue, with_scws
from angelia.dialects.oda_looking import OdaLooking
from angelia.dialects.oda_people import EXPIRED, Guest, OdaPeople
from angelia.dialects.oda_runs import OdaRuns
from angelia.dialects.oda_settings import OdaSettings
from angelia.dialects.oda_wire import (
    Answer,
    Asked,
    NotUnderstood,
    RoleMissing,
    as_json,
    as_text,
    not_authorized,
    read_request,
    session_of,
    told,
)
from angelia.flow.dispatcher import Dispatcher
from angelia.inlet import Accept, drafted
from angelia.model.declaration import Declaration
from angelia.model.errors import AngeliaError, Forbidden, InvalidInput, NotAuthenticated, NotFound, RateLimited, StoreUnavailable, TooLarge
from angelia.model.message import HOUSE, Message, Recipient, Sender, Severity
from angelia.model.preference import Site
from angelia.store import Store
from angelia.wire.asgi import App, Receive, Scope, Send, headers_of, respond
from angelia.wire.file_answer import FileAnswer
from angelia.wire.problems import Header
from angelia.wire.site_tokens import Expired, SiteTokens

PREFIX = "/dispatch-data"
SENT = "incident report email successfully sent"
SENT_BY_CHAT = "incident report message successfully sent via matrix"
NOT_SENT, NOT_SENT_BY_CHAT = "sending email failed", "sending of an incident report message via matrix failed"
"""Where the site names nobody who hears of incidents: the report is kept, and that is all."""
MOST_INCIDENT = 20_000
Endpoint = Callable[[Asked], Awaitable[Answer]]


class OdaDialect:
    """Answers below its prefix, and gives everything else to the app behind it."""

    def __init__(
        self, behind: App, dispatcher: Dispatcher, store: Store, accept: Accept, now: Callable[[], datetime], changed: Callable[[str], None],
        *, settings: OdaSettings, base_url: str, folder: Path, most: int, site: Callable[[], Site],
        agents: Collection[str],
    ) -> None:  # fmt: skip
        self._behind, self._dispatcher, self._accept, self._now, self._most = behind, dispatcher, accept, now, most
        self._settings = settings
        self._products_url = (settings.products_url or base_url).rstrip("/")
        tokens = SiteTokens(settings.secret, settings.longest_refresh) if settings.secret else None
        self._people = OdaPeople(store, tokens, now, changed, site=site, agents=agents, is_old="codes" in settings.before)
        ids = self._ids = JobIds(dispatcher, is_legacy="ids" in settings.before)
        self._runs = OdaRuns(dispatcher, self._people, ids, now, self._products_url, settings.before)
        self._looking = OdaLooking(dispatcher, self._people, ids, store, now, self._products_url)
        self._files = OdaFiles(dispatcher, self._people, ids, now, folder, self._products_url)
        self._endpoints = self._table()

    def _table(self) -> dict[str, tuple[str, Endpoint]]:
        both, get, files = "GET POST", "GET HEAD", "GET POST HEAD"
        return {
            "/run_analysis": (both, self._run_analysis),
            "/call_back": (both, self._runs.call_back),
            "/instr-list": (get, self._instr_list),
            "/api/instr-list": (get, self._instr_list),
            "/meta-data": (get, self._meta_data),
            "/api/meta-data": (get, self._meta_data),
            "/meta-data-src": (get, self._meta_data_src),
            "/par-names": (get, self._par_names),
            "/api/par-names": (get, self._par_names),
            "/parameters": (get, self._parameters),
            "/api/parameters": (get, self._parameters),
            "/inspect-state": (both, self._looking.inspect_state),
            "/inspect-user-state": (both, self._looking.inspect_user_state),
            "/resolve-job-url": (get, self._looking.resolve_job_url),
            "/refresh_token": (both, self._refresh_token),
            "/update_token_email_options": (both, self._update_options),
            "/download_products": (files, self._files.download_products),
            "/download_file": (files, self._download_file),
            "/report_incident": ("POST", self._report_incident),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX + "/"):
            return await self._behind(scope, receive, send)
        return await self.at_root(scope, receive, send)

    async def at_root(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI, where nothing else is served: the prefix may be left out."""
        if scope["type"] != "http":
            raise OSError("only HTTP is spoken here")
        path = scope["path"].removeprefix(PREFIX).rstrip("/")
        answer = await self._answer(path, scope, receive)
        answer = replace(answer, headers=(*answer.headers, *self._cors(path, scope)))
        return await _give(answer, scope, receive, send)

    async def _answer(self, path: str, scope: Scope, receive: Receive) -> Answer:
        methods, endpoint = self._endpoints.get(path, ("", None))
        if endpoint is None:
            return as_json({"error_message": "there is no such endpoint", "error": "NotFound():there is no such endpoint"}, 404)
        if scope["method"] == "OPTIONS":
            return Answer(204, headers=((b"allow", methods.replace(" ", ", ").encode()),))
        if scope["method"] not in methods.split():
            answer = as_json({"error_message": "this method is not for this endpoint", "error": "MethodNotAllowed():"}, 405)
            return replace(answer, headers=(*answer.headers, (b"allow", methods.replace(" ", ", ").encode())))
        try:
            if path == "/run_analysis" and (polled := await self._runs.polled(scope)) is not None:
                return polled
            return await self._ask(endpoint, await read_request(scope, receive, self._most))
        except RoleMissing as error:
            return as_text(str(error), 403)
        except NotUnderstood as error:
            return told(error, self._installed())
        except (StoreUnavailable, RateLimited) as error:
            # Its clients ask again after 502 to 504, and only after these.
            answer = told(NotUnderstood(str(error), "InternalError", 503), self._installed())
            return replace(answer, headers=(*answer.headers, (b"retry-after", b"%d" % math.ceil(error.retry_after))))
        except AngeliaError as error:
            return told(_as_envelope(error), self._installed())
        except Exception as error:  # noqa: BLE001 - whatever it is, clients read its envelope
            telemetry.log.exception("request_failed", path=path)
            return told(NotUnderstood("request not valid", "InternalError", 500, type(error).__name__), self._installed())

    async def _ask(self, endpoint: Endpoint, asked: Asked) -> Answer:
        try:
            return await endpoint(asked)
        finally:
            for file in asked.files.values():
                await file.close()

    def _installed(self) -> list[str]:
        return instr_list((found.declaration for found in self._dispatcher.instruments.values()), frozenset())

    def _cors(self, path: str, scope: Scope) -> tuple[Header, ...]:
        told = self._settings
        paths = _listed(told.cors_paths)
        origin = headers_of(scope).get(b"origin", b"").decode("latin-1")
        origins = _listed(told.cors_origins)
        if not origins or not origin or ("*" not in paths and path not in paths) or ("*" not in origins and origin not in origins):
            return ()
        return (
            (b"access-control-allow-origin", b"*" if "*" in origins else origin.encode("latin-1")),
            (b"access-control-allow-headers", ",".join(_listed(told.cors_headers)).encode()),
            (b"access-control-allow-methods", ",".join(_listed(told.cors_methods)).encode()),
            (b"vary", b"origin"),
        )

    async def _run_analysis(self, asked: Asked) -> Answer:
        is_new = asked.text("query_status") == "new"
        if not asked.files:
            return await self._runs.run_analysis(replace(asked, values=with_scws(asked.values, None)) if is_new else asked)
        guest, files = self._people.guest(asked), dict(asked.files)
        taken = self._takes(asked, guest)
        scws = files.pop(SCWS_FILE, None)
        values = with_scws(asked.values, None if scws is None else await scws.read()) if is_new else asked.values
        if (catalogue := files.pop(CATALOGUE_FILE, None)) is not None:
            check_catalogue(await catalogue.read(16))
            await catalogue.seek(0)
            files[CATALOGUE] = catalogue
        # Nobody fills the hub with what no instrument asks for.
        kept = await self._files.keep({name: file for name, file in files.items() if name in taken}, guest)
        unused = dict.fromkeys(files.keys() - taken, "")
        return await self._runs.run_analysis(replace(asked, values={**values, **unused, **kept}, files={}))

    def _takes(self, asked: Asked, guest: Guest) -> frozenset[str]:
        """The parameters of what is asked for."""
        declaration = self._runs.declaration(asked, guest)
        product = declaration.product(asked.text("product_type"))
        return frozenset(one.name for one in declaration.parameters_of(product)) if product is not None else frozenset()

    def _described(self, asked: Asked) -> tuple[Declaration, str]:
        return self._runs.declaration(asked, self._people.guest(asked)), asked.text("product_type")

    async def _instr_list(self, asked: Asked) -> Answer:
        guest = self._people.guest(asked)
        return as_json(instr_list(self._dispatcher.visible(guest.principal), guest.roles))

    async def _meta_data(self, asked: Asked) -> Answer:
        return as_json(meta_data(*self._described(asked)))

    async def _meta_data_src(self, asked: Asked) -> Answer:
        return as_json(meta_data_src(self._described(asked)[0]))

    async def _par_names(self, asked: Asked) -> Answer:
        return as_json(par_names(*self._described(asked)))

    async def _parameters(self, asked: Asked) -> Answer:
        said = {name: value for name, value in asked.values.items() if name != "token"}
        return as_json({**said, "session_id": session_of(asked)})

    async def _download_file(self, asked: Asked) -> Answer:
        return self._files.download_file(asked)

    async def _refresh_token(self, asked: Asked) -> Answer:
        guest = self._people.with_roles(asked, "refresh your token", ["refresh-tokens"])
        _check_new(asked)
        wanted = asked.text("refresh_interval")
        try:
            seconds = float(wanted) if wanted else None
        except ValueError:
            raise NotUnderstood("refresh_interval is a number of seconds") from None
        try:
            return as_text(self._people.tokens.refreshed(guest.token, self._now(), seconds))
        except Forbidden:
            most = f"{self._settings.longest_refresh:g}"
            raise not_authorized(
                "Request not authorized",
                f"The refresh interval requested exceeds the maximum allowed, please provide a value which is lower than {most} seconds",
            ) from None

    async def _update_options(self, asked: Asked) -> Answer:
        guest: Guest = self._people.with_roles(asked)
        _check_new(asked)
        options = {name: value for name, value in asked.values.items() if name not in ("token", "query_status", "session_id")}
        return as_text(self._people.tokens.changed(guest.token, self._now(), options))

    async def _report_incident(self, asked: Asked) -> Answer:
        """Told as every message is: to whom the site names, in the way that each has chosen."""
        if "token" not in asked.query:
            raise RoleMissing("A token must be provided.")
        guest = self._people.with_roles(asked)
        job = await self._ids.find(guest.principal, asked.text("job_id"))
        if job is None:
            raise not_authorized("Request not authorized", "an incident is reported of one of your own jobs")
        content = asked.text("incident_content")[:MOST_INCIDENT]
        people = tuple(Recipient(name, reason="looks after incidents") for name in _listed(self._settings.incidents_to))
        message = Message(
            message_id=0, source=HOUSE, type="job.incident", received_at=self._now(), occurred_at=self._now(), sender=Sender(HOUSE, "Angelia"),
            recipients=people, actor=guest.principal.login, severity=Severity.HIGH, subject=f"Incident with {job.instrument} {job.product}",
            body=content, object=job.public_id, thread=job.public_id,
            params={"job": job.public_id, "instrument": job.instrument, "session": job.session, "incident_time": asked.text("incident_time")[:64]},
            is_restricted=True, access=tuple(recipient.principal for recipient in people),
        )  # fmt: skip
        key = blake2b(f"{job.public_id} {guest.principal.login} {content}".encode(), digest_size=16).hexdigest()
        await self._accept(HOUSE, [drafted(message, f"incident {key}")])
        reports: dict[str, list[object]] = {"res_content_incident_reports": [], "res_content_incident_reports_failed": []}
        return as_json(
            {
                "email_report_status": SENT if people else NOT_SENT,
                "martix_message_report_status": SENT_BY_CHAT if people else NOT_SENT_BY_CHAT,
                "martix_message_report_status_details": {"res_content": reports},
            }
        )


def _check_new(asked: Asked) -> None:
    if asked.text("query_status") != "new":
        raise NotUnderstood("[ InstrumentQueryBackEnd : mock ] constructor failed: 'query_status'")


def _as_envelope(error: AngeliaError) -> NotUnderstood:
    if isinstance(error, Expired):
        return not_authorized(EXPIRED)
    if isinstance(error, Forbidden | NotAuthenticated):
        return not_authorized(str(error))
    if isinstance(error, TooLarge):
        return NotUnderstood(str(error), status=413)
    if isinstance(error, InvalidInput | NotFound):
        return NotUnderstood(str(error))
    return NotUnderstood(str(error), "InternalError", 500)


def _listed(text: str) -> list[str]:
    return [part for entry in text.split(",") if (part := entry.strip())]


async def _give(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    headers = [*answer.headers, (b"cache-control", b"private, no-store")]
    if answer.source is None:
        body = b"" if scope["method"] == "HEAD" else answer.body
        await respond(send, answer.status, body, headers, scope)
        return
    response = FileAnswer(answer.source, answer.status)
    kept = [(name, value) for name, value in response.raw_headers if name not in {name for name, _ in headers}]
    response.raw_headers = [*kept, *headers]
    try:
        await response(scope, receive, send)
    finally:
        if answer.is_temporary and isinstance(answer.source, Path):
            with contextlib.suppress(OSError):
                answer.source.unlink()
