"""Words between the hub, a keeper and its worker: one letter, the length of a JSON text and of the bytes after it, and both."""

import json
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_HEAD = struct.Struct(">cII")
MOST_SAID, MOST_BYTES = 16_777_216, 1_048_576
"""Bytes of the text, and of what comes after it."""
RUN, CANCEL, PROGRESS, ENDED = b"r", b"c", b"p", b"e"
"""From the hub: begin, end this; to the hub: how far it is, what came of it."""

Frame = tuple[bytes, dict[str, Any], bytes]


class BadFrame(Exception):
    """What came is none of ours."""


def frame(kind: bytes, said: Mapping[str, Any], contents: Sequence[bytes] = ()) -> bytes:
    """As it is sent. ValueError for a text that is too long."""
    text = json.dumps(said).encode()
    if len(text) > MOST_SAID:
        raise ValueError("it is too long to be handed over")
    return b"".join((_HEAD.pack(kind, len(text), sum(map(len, contents))), text, *contents))


class Frames:
    """Puts together what comes in pieces."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, piece: bytes) -> Iterator[Frame]:
        """All that is whole by now. BadFrame, also for what can't be read."""
        rest = self._rest
        rest += piece
        while len(rest) >= _HEAD.size:
            kind, size, more = _HEAD.unpack_from(rest)
            if size > MOST_SAID or more > MOST_BYTES:
                raise BadFrame
            end = _HEAD.size + size + more
            if len(rest) < end:
                return
            try:
                said = json.loads(rest[_HEAD.size : _HEAD.size + size])
            except (ValueError, RecursionError):
                raise BadFrame from None
            if not isinstance(said, dict):
                raise BadFrame
            contents = bytes(rest[_HEAD.size + size : end])
            del rest[:end]
            yield kind, said, contents


def received(connection: socket.socket, frames: Frames, *, is_waiting: bool = True) -> list[Frame] | None:
    """What has come; None where the other side is gone."""
    try:
        piece = connection.recv(1 << 18, 0 if is_waiting else socket.MSG_DONTWAIT)
    except BlockingIOError:
        return []
    except OSError:
        return None
    return list(frames.feed(piece)) if piece else None


def parts(said: Mapping[str, Any], contents: bytes) -> list[tuple[dict[str, Any], bytes]] | None:
    """Products and their bytes; None where they are files. `said` has `products`: for each what a manifest says of it, and its `size`."""
    products = said.get("products")
    if products is None:
        return None
    found, place = [], 0
    for entry in products:
        size = int(entry["size"])
        found.append((entry, contents[place : place + size]))
        place += size
    if place != len(contents) or any(int(entry["size"]) < 0 for entry in products):
        raise BadFrame
    return found
