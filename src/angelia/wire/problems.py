"""Errors on the wire: problem details (RFC 9457), one table from our errors to status codes."""

import json
from collections.abc import Iterable
from math import ceil

from angelia.model.errors import (
    AngeliaError,
    BrokerUnavailable,
    Conflict,
    Forbidden,
    InvalidInput,
    NotAuthenticated,
    NotFound,
    Rate,
    RateLimited,
    StoreUnavailable,
    TooLarge,
    UnsupportedMedia,
)

_STATUS: tuple[tuple[type[AngeliaError], int, str], ...] = (
    (TooLarge, 413, "too-large"),
    (UnsupportedMedia, 415, "unsupported-media"),
    (InvalidInput, 422, "invalid-input"),
    (Conflict, 409, "conflict"),
    (NotAuthenticated, 401, "not-authenticated"),
    (Forbidden, 403, "forbidden"),
    (NotFound, 404, "not-found"),
    (RateLimited, 429, "rate-limited"),
    (StoreUnavailable, 503, "store-unavailable"),
    (BrokerUnavailable, 503, "broker-unavailable"),
)
TITLES = {
    400: "The request can't be read",
    401: "Credentials are needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "The request came too slowly",
    409: "Conflict",
    412: "The version has moved on",
    413: "Too large",
    414: "The URL is too long",
    415: "Media type not supported",
    421: "Another host is meant",
    422: "The input can't be used",
    428: "A precondition is needed",
    429: "Too many requests",
    431: "The headers are too large",
    500: "Something is wrong on our side",
    501: "No such method",
    503: "Not available now",
    508: "It goes round in a circle",
}
_KINDS = {status: slug for _, status, slug in reversed(_STATUS)} | {400: "invalid-input", 405: "method-not-allowed"}
PROBLEMS = tuple((status, f"urn:angelia:{slug}", TITLES[status]) for _, status, slug in _STATUS)
"""Status, type and title of each problem that has a type of its own."""
Header = tuple[bytes, bytes]


def status_of(error: AngeliaError) -> int:
    """The status code of one of our errors."""
    if isinstance(error, InvalidInput) and error.is_syntax and not isinstance(error, TooLarge | UnsupportedMedia):
        return 400
    return next((status for kind, status, _ in _STATUS if isinstance(error, kind)), 500)


def problem(status: int, detail: str, *, kind: str = "", field: str = "") -> dict[str, object]:
    """A problem document; `errors` names the field. Where no kind is said it is that of the status."""
    kind = kind or _KINDS.get(status, "error")
    document: dict[str, object] = {"type": f"urn:angelia:{kind}", "title": TITLES.get(status, "Error"), "status": status, "detail": detail}
    if field:
        document["errors"] = [{"field": field, "detail": detail}]
    return document


def problem_of(error: AngeliaError, status: int = 0) -> tuple[int, bytes, list[Header]]:
    """Status, body and headers of one of our errors; `status` is one that the wire knows better."""
    status = status or status_of(error)
    name = next((slug for kind, _, slug in _STATUS if isinstance(error, kind)), "error")
    detail = str(error) if status < 500 or isinstance(error, StoreUnavailable | BrokerUnavailable) else "an operator will find it in the log"
    document = problem(status, detail, kind=name, field=getattr(error, "field", ""))
    if faults := getattr(error, "faults", ()):
        document["errors"] = [{"field": fault.field, "detail": fault.text} for fault in faults]
    return status, json.dumps(document).encode(), [*PROBLEM_HEADERS, *_retry(error), *_challenge(status)]


def _retry(error: AngeliaError) -> Iterable[Header]:
    if isinstance(error, RateLimited | StoreUnavailable | BrokerUnavailable):
        # Rounded up: who comes back then must not be too early.
        yield b"retry-after", str(max(1, ceil(error.retry_after))).encode()
    if isinstance(error, RateLimited) and error.rate is not None:
        yield from rate_headers(error.rate)


def rate_headers(rate: Rate) -> tuple[Header, Header]:
    """What a rate allows, as draft-ietf-httpapi-ratelimit-headers has it: the policy, and how far it is used up."""
    policy = f'"{rate.name}";q={rate.quota};w={rate.window}'
    now = f'"{rate.name}";r={rate.left};t={rate.reset}'
    return (b"ratelimit-policy", policy.encode()), (b"ratelimit", now.encode())


def _challenge(status: int) -> Iterable[Header]:
    if status == 401:
        yield b"www-authenticate", b'Bearer realm="angelia"'


PROBLEM_HEADERS: list[Header] = [
    (b"content-type", b"application/problem+json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
