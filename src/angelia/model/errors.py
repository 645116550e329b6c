"""The errors of the house, by who must act."""

from typing import NamedTuple


class AngeliaError(Exception):
    """Root of all foreseen errors; its text says what happened and what to do."""


class InvalidInput(AngeliaError):
    """The caller sent something that can't be used: syntax, a limit, or a value that means nothing.

    `field` is a dotted path into the input (`to.0.login`), or "" where the whole is meant. HTTP 400 or 422.
    """

    def __init__(self, text: str, field: str = "", *, is_syntax: bool = False) -> None:
        super().__init__(text)
        self.field = field
        self.is_syntax = is_syntax


class TooLarge(InvalidInput):
    """The caller sent more than a limit allows. HTTP 413."""


class UnsupportedMedia(InvalidInput):
    """A content type or coding that we don't read. HTTP 415."""


class Conflict(AngeliaError):
    """The same key came with other content, or a version is not the newest. HTTP 409 or 412."""


class NotAuthenticated(AngeliaError):
    """No credentials, or credentials that we don't know. HTTP 401."""


class Forbidden(AngeliaError):
    """Known caller, but not allowed to do this. HTTP 403."""


class NotFound(AngeliaError):
    """There is no such thing, or none that the caller may know of. HTTP 404."""


class Rate(NamedTuple):
    """How often something may be done, and how often it still may: `quota` in `window` seconds, `left` of them now, all again in `reset` seconds."""

    name: str
    quota: int
    window: int
    left: int
    reset: int


class RateLimited(AngeliaError):
    """The caller is over a cap; `retry_after` in seconds. `rate` says which, where it is one that fills again with time. HTTP 429."""

    def __init__(self, text: str, retry_after: float, rate: Rate | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after
        self.rate = rate


class StoreUnavailable(AngeliaError):
    """The store can't make anything durable now: disk, database, overload. The operator must act; the caller may retry. HTTP 503."""

    def __init__(self, text: str, retry_after: float = 2.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class BrokerUnavailable(AngeliaError):
    """The broker doesn't take events now: down, blocked by an alarm, too slow. The operator must act; the caller may retry. HTTP 503."""

    def __init__(self, text: str, retry_after: float = 2.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class SchemaMismatch(AngeliaError):
    """The store holds a schema that this version doesn't speak; the operator runs `angelia db upgrade`."""


class IllegalStep(AngeliaError):
    """A state change that the table does not allow: a bug, or a worker that lost its lease."""


class BadSettings(AngeliaError):
    """The configuration can't be used; the operator must mend it."""
