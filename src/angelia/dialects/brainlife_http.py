"""The HTTP side of brainlife's notification requests: POST and GET /api/event/notification."""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from angelia.dialects.brainlife_requests import stored_form
from angelia.model.errors import InvalidInput, NotAuthenticated, RateLimited
from angelia.store import Store, TaskRequest
from angelia.wire.admission import Admission, Guest
from angelia.wire.asgi import Receive, Scope, body_of, headers_of, kind_of

PATHS = frozenset({"/api/event/notification", "/api/event/notification/", "/notification", "/notification/"})
MOST_BYTES = 102_400
MOST_WAITING = 1_000
"""Requests of one user that are not said yet."""
_ID = re.compile(r"[0-9a-f]{24}")
_PLACES = ("task_id", "instance_id")
Answer = tuple[int, dict[str, Any]]


class NotificationRequests:
    """Takes requests and shows them."""

    def __init__(self, store: Store, admission: Admission, now: Callable[[], datetime]) -> None:
        self._store = store
        self._admission = admission
        self._now = now

    async def answer(self, scope: Scope, receive: Receive) -> Answer:
        """Status and document."""
        try:
            guest = self._guest(headers_of(scope).get(b"authorization", b"").decode("latin-1"))
        except _NotAuthorized as error:
            return 401, error.document
        if scope["method"] == "POST":
            return await self._add(guest, _fields(kind_of(headers_of(scope)), await body_of(headers_of(scope), receive, MOST_BYTES)))
        return await self._list(guest, dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=50)))

    def _guest(self, authorization: str) -> Guest:
        if not authorization:
            raise _NotAuthorized("credentials_required", "No authorization token was found")
        words = authorization.split(" ")
        if len(words) != 2 or words[0].lower() != "bearer":
            raise _NotAuthorized("credentials_bad_scheme", "Format is Authorization: Bearer [token]")
        try:
            return self._admission.foreign(words[1])
        except NotAuthenticated as error:
            message = "jwt expired" if "expired" in str(error) else "jwt malformed" if words[1].count(".") != 2 else "invalid signature"
            raise _NotAuthorized("invalid_token", message) from None

    async def _add(self, guest: Guest, fields: Mapping[str, Any]) -> Answer:
        """The user is always the token's `sub`; what the original refused as wrongly typed is refused, too."""
        user = _user(guest)
        for name in ("event", "handler"):
            if not isinstance(fields.get(name, ""), str):
                raise InvalidInput("this is a text", name)
        chosen = fields.get("_id", secrets.token_hex(12))
        if not isinstance(chosen, str) or not _ID.fullmatch(chosen):
            raise InvalidInput("an id has 24 hexadecimal digits", "_id")
        if await self._store.count_waiting_requests(user) >= MOST_WAITING:
            raise RateLimited(f"{MOST_WAITING} requests wait already", 3_600)
        config = fields.get("config")
        places = {name: str(config[name])[:200] if isinstance(config, dict) and config.get(name) else "" for name in _PLACES}
        kept = {name: fields[name] for name in ("event", "handler", "config") if name in fields}
        request = TaskRequest(
            request_id=chosen,
            user_id=user,
            event=str(fields.get("event", "")),
            document=json.dumps(kept, ensure_ascii=True),
            created_at=self._now(),
            # A request that names when it was said is inert, as it was with the original.
            triggered_at=self._now() if fields.get("trigger_date") else None,
            task_id=places["task_id"],
            instance_id=places["instance_id"],
        )
        if not await self._store.put_task_request(request):
            raise InvalidInput("this id is taken", "_id")
        return 200, stored_form(request)

    async def _list(self, guest: Guest, query: Mapping[str, str]) -> Answer:
        """Hers; an administrator (`scopes.sca` contains admin) may name a user_id, or null for all."""
        wanted = _wanted(query.get("find") or query.get("where") or "{}")
        user: str | None = _user(guest)
        scopes = guest.claims.get("scopes")
        if isinstance(scopes, dict) and isinstance(scopes.get("sca"), list) and "admin" in scopes["sca"] and "user_id" in wanted:
            user = str(wanted["user_id"]) if wanted["user_id"] is not None else None
        wanted.pop("user_id", None)
        found = [stored_form(request) for request in await self._store.task_requests(user)]
        fitting = [entry for entry in found if all(_at(entry, path) == value for path, value in wanted.items())]
        skip, limit = _number(query, "skip", 0), _number(query, "limit", 100)
        names = query.get("select", "").replace(",", " ").split()
        page = fitting[skip : skip + limit]
        shown = [{name: value for name, value in entry.items() if not names or name in names or name == "_id"} for entry in page]
        return 200, {"notifications": shown, "count": len(fitting)}


class _NotAuthorized(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.document = {"name": "UnauthorizedError", "message": message, "code": code, "status": 401, "inner": {"message": message}}


def _user(guest: Guest) -> str:
    sub = guest.claims.get("sub")
    return str(sub)[:200] if isinstance(sub, str | int) and not isinstance(sub, bool) else ""


def _fields(kind: bytes, body: bytes) -> Mapping[str, Any]:
    try:
        if kind == b"application/x-www-form-urlencoded":
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise InvalidInput("this is no JSON that we can read", is_syntax=True) from None
    if not isinstance(found, dict):
        raise InvalidInput("a request is a JSON object", is_syntax=True)
    return found


def _wanted(text: str) -> dict[str, Any]:
    """A query by example: equal values by dotted paths. Operators of MongoDB are not taken."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput("find is a JSON object", "find", is_syntax=True) from None
    if not isinstance(found, dict) or any(name.startswith("$") or isinstance(value, dict | list) for name, value in found.items()):
        raise InvalidInput("find names fields and the values that they must have", "find")
    return found


def _at(entry: Any, path: str) -> Any:
    for word in path.split("."):
        entry = entry.get(word) if isinstance(entry, dict) else None
    return entry


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else default
