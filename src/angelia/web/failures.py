"""What went wrong, as answers of the API: problems in JSON."""

import json

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError

from angelia.model.errors import AngeliaError
from angelia.wire.problems import problem, problem_of

SHAPES = ("body as one", "body as many")
"""How a body that may be one thing or a list of them was read: no part of the place of what is wrong in it."""
TOO_LONG = "this is more than a request may hold"
_UNTOLD = frozenset({"body", "query", "path", *SHAPES})


def problem_answer(status: int, detail: str, field: str = "") -> Response:
    """A problem of our own words."""
    body = json.dumps(problem(status, detail, field=field)).encode()
    return Response(body, status, media_type="application/problem+json", headers={"Cache-Control": "no-store"})


def is_too_long(request: Request) -> bool:
    """Does it say that it holds more than a request may? What says nothing of its length is counted by the framework."""
    length = request.headers.get("content-length", "0")
    return length.isdigit() and int(length) > request.app.state.context.max_body


def told_answer(error: AngeliaError) -> Response:
    """One of ours, in its own words."""
    status, body, headers = problem_of(error)
    return Response(body, status, headers={name.decode(): value.decode() for name, value in headers})


def invalid_of(error: RequestValidationError) -> tuple[int, str, str]:
    """What the framework found wrong: status, detail, place; never what was sent."""
    first = error.errors()[0]
    status = 400 if first["type"] == "json_invalid" else 422
    place = ".".join(str(part) for part in first["loc"] if part not in _UNTOLD)
    return status, "this is not JSON" if status == 400 else str(first["msg"]).removeprefix("Value error, "), place
