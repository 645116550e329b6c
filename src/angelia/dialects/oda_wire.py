"""The ODA dialect's wire: parameters of a request from query and form, answers, and the two envelopes of errors."""

import json
import re
import secrets
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

import angelia
from angelia.model.errors import AngeliaError, InvalidInput
from angelia.products.source import Source
from angelia.wire.asgi import Receive, Scope, body_of, headers_of, kind_of
from angelia.wire.problems import Header

SPOKEN = "1.3.5"
"""The version of the client whose forms are spoken."""
MOST_FIELDS = 1000
MOST_FILES = 8
_TEXTS = frozenset({"catalog_selected_objects", "selected_catalog"})
"""Values that stay texts, be they JSON or not."""
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LETTERS = string.ascii_uppercase + string.digits
_MULTIPLIER, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
_JOB_ID = re.compile(r"[0-9a-f]{16}")
JSON: Header = (b"content-type", b"application/json")
TEXT: Header = (b"content-type", b"text/plain; charset=utf-8")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body, headers. `source` is the file that is the body, or what is kept as one, `is_temporary` where it is removed after."""

    status: int
    body: bytes = b""
    headers: tuple[Header, ...] = (JSON,)
    source: Source | None = None
    is_temporary: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: `values` are texts, or what JSON text stood for; `files` are uploads by field. `address` is the query as it was sent, where
    there is nothing else.
    """

    values: Mapping[str, Any]
    files: Mapping[str, UploadFile] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    address: bytes = b""

    def text(self, name: str, default: str = "") -> str:
        """A control value as text."""
        value = self.values.get(name, default)
        return value if isinstance(value, str) else json.dumps(value)

    def is_true(self, name: str) -> bool:
        """Only the literal `True` counts."""
        return self.text(name) == "True"


class NotUnderstood(AngeliaError):
    """An error with its own envelope; `name` is the class by which clients know it."""

    def __init__(self, text: str, name: str = "RequestNotUnderstood", status: int = 400, debug: str = "") -> None:
        super().__init__(text)
        self.name, self.status, self.debug = name, status, debug


class RoleMissing(AngeliaError):
    """Told as plain text with status 403."""


def not_authorized(text: str, debug: str = "") -> NotUnderstood:
    """A 403 in the envelope of exceptions."""
    return NotUnderstood(text, "RequestNotAuthorized", 403, debug)


async def read_request(scope: Scope, receive: Receive, most: int) -> Asked:
    """The union of query string and body; a field of the body wins."""
    try:
        query = _pairs(scope["query_string"].decode("latin-1"))
        values: dict[str, str] = dict(query)
        files: dict[str, UploadFile] = {}
        if scope["method"] == "POST":
            headers = headers_of(scope)
            if kind_of(headers) == b"multipart/form-data":
                fields, files = await _multipart(scope, receive, most)
                values |= fields
            else:
                values |= _pairs((await body_of(headers, receive, most)).decode("utf-8", "replace"))
    except ValueError:
        raise InvalidInput(f"a request has at most {MOST_FIELDS} fields") from None
    address = scope["query_string"] if scope["method"] == "GET" else b""
    return Asked({name: _value(name, text) for name, text in values.items()}, files, query, address)


def _pairs(text: str) -> dict[str, str]:
    pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    # The first of each name counts, but clients send a list of science windows as one field for each.
    scws = [value for name, value in pairs if name == "scw_list"]
    return dict(reversed(pairs)) | ({"scw_list": ",".join(scws)} if len(scws) > 1 else {})


async def _multipart(scope: Scope, receive: Receive, most: int) -> tuple[dict[str, str], dict[str, UploadFile]]:
    length = headers_of(scope).get(b"content-length", b"")
    if not length.isdigit() or int(length) > most:
        raise InvalidInput(f"an upload says how long it is, at most {most} bytes")
    try:
        form = await Request(scope, receive).form(max_files=MOST_FILES, max_fields=MOST_FIELDS, max_part_size=most)
    except HTTPException as error:
        raise InvalidInput(f"the form can't be read: {error.detail}") from None
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    return texts, {name: value for name, value in form.items() if isinstance(value, UploadFile)}


def _value(name: str, text: str) -> Any:
    if name in _TEXTS or text[:1] not in ("{", "["):
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def session_of(asked: Asked) -> str:
    """As the client says, else a new one of 16 letters and digits. It names things, so it is checked."""
    given = asked.text("session_id")
    if given in ("", "new", "None"):
        return "".join(secrets.choice(_LETTERS) for _ in range(16))
    if not _SESSION.fullmatch(given):
        raise NotUnderstood("session_id has letters, digits, '_' and '-', at most 64")
    return given


def wire_id(job_id: int) -> str:
    """A job's id as 16 hexadecimal digits. Ids grow with time; here the first eight must tell jobs apart, so they are mixed (and can be unmixed)."""
    return f"{job_id * _MULTIPLIER & _MASK:016x}"


def job_number(text: str) -> int | None:
    """The job that a wire id names; None for what is none."""
    if not _JOB_ID.fullmatch(text):
        return None
    number = int(text, 16) * _INVERSE & _MASK
    return number if number < 1 << 63 else None


def as_json(document: Any, status: int = 200) -> Answer:
    """Without NaN: it would break the client."""
    return Answer(status, json.dumps(document, allow_nan=False).encode())


def as_text(text: str, status: int = 200) -> Answer:
    """Plain text."""
    return Answer(status, text.encode(), (TEXT,))


def redirect(address: str) -> Answer:
    """302."""
    return Answer(302, b"", (TEXT, (b"location", address.encode("ascii", "replace"))))


def told(error: NotUnderstood, installed: Iterable[str]) -> Answer:
    """The envelope of exceptions. Of the configuration nothing is told."""
    text = str(error)
    document: dict[str, Any] = {"error_message": text, "error": f"{error.name}():{text}"}
    if error.debug:
        document["debug_message"] = error.debug
    document |= {
        "cdci_data_analysis_version": angelia.__version__,
        "cdci_data_analysis_version_details": "angelia",
        "oda_api_version": SPOKEN,
        "installed_instruments": list(installed),
        "debug_mode": "no",
        "config": {},
    }
    return as_json(document, error.status)


def refusal(text: str, job_id: str, session: str, now: float, debug: str = "") -> Answer:
    """The envelope of a query that failed, with status 403."""
    document = reply("failed", job_id, session, session, now, status="failed", message=text, debug=debug, failed=True)
    return as_json(document | {"status_code": 403}, 403)


def reply(
    query_status: str, job_id: str, job_session: str, session: str, now: float, *, status: str, message: str = "", error: str = "", debug: str = "",
    comment: str = "", warning: str = "", failed: bool = False, products: Mapping[str, Any] | None = None, reports: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:  # fmt: skip
    """What run_analysis answers. `status` is the job's in the old words, `now` in epoch seconds."""
    monitor: dict[str, Any] = {"job_id": job_id, "session_id": job_session, "status": status}
    if listed := list(reports):
        monitor |= {"full_report_dict": listed[-1], "full_report_dict_list": listed}
    return {
        "query_status": query_status,
        "products": dict(products or {}),
        "exit_status": {
            "job_status": status,
            "status": 1 if failed else 0,
            "message": message,
            "error_message": error,
            "debug_message": debug,
            "comment": comment,
            "warning": warning,
        },
        "job_monitor": monitor,
        "job_status": status,
        "session_id": session,
        "time_request": now,
    }
