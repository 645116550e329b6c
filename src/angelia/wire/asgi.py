"""Bare ASGI in a few functions, for what is too hot for a framework."""

import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from angelia.model.errors import InvalidInput, TooLarge, UnsupportedMedia
from angelia.wire.problems import Header

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


WHOLE = "angelia.whole"
"""The extension of a scope under which a connection takes a whole answer: `taken(scope, status, body, headers)`, False where it can't now."""


STOPPING = "angelia.stopping"
"""The extension of a scope under which a connection takes what is to be called once the server stops, or None: who streams says how it ends."""


def tell_of_stop(scope: Scope, tell: Callable[[], None] | None) -> None:
    """Call it once the server stops, as far as the connection can; None where the answer is over."""
    if (takes := scope.get("extensions", {}).get(STOPPING)) is not None:
        takes(tell)


def headers_of(scope: Scope) -> Headers:
    """All headers by name; the first value of each."""
    return dict(reversed(scope["headers"]))


def kind_of(headers: Headers) -> bytes:
    """The content type in lower case, its parameters left out; b"" if there is none."""
    return headers.get(b"content-type", b"").partition(b";")[0].strip().lower()


async def body_of(headers: Headers, receive: Receive, most: int) -> bytes:
    """The body, at most `most` bytes also after unpacking gzip; TooLarge as soon as it is more."""
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > most:
        raise TooLarge(f"a request has at most {most} bytes")
    event = await receive()
    if event["type"] == "http.disconnect":
        # No body is not an empty body: half a request must not be stored.
        raise InvalidInput("the request broke off", is_syntax=True)
    body: bytes = event.get("body", b"")
    if event.get("more_body"):
        parts, size = [body], len(body)
        while event.get("more_body"):
            event = await receive()
            if event["type"] == "http.disconnect":
                raise InvalidInput("the request broke off", is_syntax=True)
            parts.append(event.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise TooLarge(f"a request has at most {most} bytes")
        body = b"".join(parts)
    if len(body) > most:
        raise TooLarge(f"a request has at most {most} bytes")
    coding = headers.get(b"content-encoding")
    return body if coding is None else _unpacked(body, coding.strip().lower(), most)


def _unpacked(body: bytes, coding: bytes, most: int) -> bytes:
    if coding in (b"", b"identity"):
        return body
    if coding != b"gzip":
        raise UnsupportedMedia("a body may be gzip or not encoded at all")
    inflater = zlib.decompressobj(wbits=31)
    try:
        plain = inflater.decompress(body, most + 1)
    except zlib.error:
        raise InvalidInput("the body is not gzip", is_syntax=True) from None
    if len(plain) > most:
        raise TooLarge(f"a request has at most {most} bytes after unpacking")
    if not inflater.eof or inflater.unused_data:
        raise InvalidInput("the gzip body is cut off, or something follows it", is_syntax=True)
    return plain


async def respond(send: Send, status: int, body: bytes, headers: Iterable[Header], scope: Scope | None = None) -> None:
    """A whole answer. With the scope of its request it goes out in one piece, where the connection can do that: one packet instead of two."""
    said = [*headers, (b"content-length", str(len(body)).encode())]
    if scope is not None and (whole := scope.get("extensions", {}).get(WHOLE)) is not None and whole(scope, status, body, said):
        return
    await send({"type": "http.response.start", "status": status, "headers": said})
    await send({"type": "http.response.body", "body": body})
