"""Valid inputs made bad: a seeded mutator, so that what was found once is found again."""

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

FRAGMENTS: Sequence[bytes] = (
    b"\0", b"\r\n", b"\n", b"\r\nBcc: e@x.example\r\n", b"\x1b[2J", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8",
    b"\xe2\x80\xae",
    b"\\u0000", b"\\ud800", b"\\", b"\\u", b"\\x", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"[" * 3_000, b'{"a":' * 3_000, b"null",
    b"true",
    b"NaN", b"Infinity", b"-0", b"1e999", b"9" * 5_000, b"9223372036854775808", b"-1", b"1_0", b"0x1", b"<", b">", b"&", b"&x;", b"&#0;",
    b"&#xD800;", b"]]>",
    b"<![CDATA[", b"<!--", b"-->", b"<?xml version='1.0' encoding='utf-7'?>", b"<!DOCTYPE x [<!ENTITY x 'y'>]>", b"<a>" * 3_000,
    b" xmlns=''", b"%00", b"%ff",
    b"%", b"%zz", b"&a=b&a=b", b"=", b";", b"+", b"=?utf-8?q?x=0ABcc:_evil@x?=", b"=?", b"?=", b"{{7*7}}", b"{% for x in y %}",
    b"${jndi:ldap://x}", b"%s%n",
    b"<script>alert(1)</script>", b"<img src=x onerror=alert(1)>", b"[x](javascript:alert(1))", b"../../etc/passwd",
    b"'; DROP TABLE messages; --", b"*)(uid=*",
    b"a" * 300, b"a" * 70_000, "é".encode(), "e\u0301".encode() * 200, "\U0001f600".encode(), "\ufffe\uffff".encode(), "٢".encode(),
    b"__proto__", b"__class__",
)  # fmt: skip
"""What has broken readers somewhere."""

VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 2**63, -(2**63) - 1, 10**400, 1e308, float("inf"), float("nan"), -0.0, "", " ", "\0", "\ud800", "\r\n",
    "a" * 300, "a" * 70_000,
    [], {}, [[]], [{}], {"": ""}, {"a": {"a": {"a": {}}}}, [None], [0], ["", ""], {"id": ""}, [{"id": "alice", "x": 1}], "alice", ["alice"],
    ["\ud800"], "urgent",
    "HIGH", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "2026-11-22T10:00:00Z", "javascript:alert(1)",
    "https://x.example/",
    "=?utf-8?q?x=0ABcc:_evil@x?=", "x\r\nBcc: e@x", "\u2028\u2029\x85\x0b", "\u202e", "\ufffe", {"$gt": ""}, ["a"] * 1_001, [["a",
    "b"]] * 65, "obs.build", "..", "*",
)  # fmt: skip
"""What a field does not expect."""


class Mutator:
    """Endless bad inputs from a few good ones; the same seed gives the same inputs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def bytes_of(self, seeds: Sequence[bytes]) -> bytes:
        """One of the seeds after up to five changes; now and then none."""
        data = self.random.choice(seeds)
        for _ in range(self.random.choice((0, 1, 1, 1, 2, 3, 5))):
            data = self._changed(data, seeds)
        return data

    def _changed(self, data: bytes, seeds: Sequence[bytes]) -> bytes:
        chance = self.random
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.choice((0, 1, 2, 8, 40)))
        match chance.randrange(7):
            case 0 | 1:
                return data[:start] + chance.choice(FRAGMENTS) + data[start:]
            case 2:
                return data[:start] + chance.choice(FRAGMENTS) + data[end:]
            case 3:
                return data[:start] + data[end:]
            case 4:
                return data[:end] + data[start:]
            case 5:
                return data[:start] + bytes([chance.randrange(256)]) + data[start + 1 :]
            case _:
                other = chance.choice(seeds)
                return data[:start] + other[chance.randint(0, len(other)) :]

    def document_of(self, seed: Any) -> Any:
        """The seed with one to three of its values, at any depth, replaced; or a name changed."""
        document = json.loads(json.dumps(seed))
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            self._replace(document)
        return document

    def _replace(self, part: Any) -> None:
        chance = self.random
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            if not keys:
                return
            key = chance.choice(keys)
            if isinstance(part[key], dict | list) and part[key] and chance.random() < 0.7:
                part = part[key]
                continue
            if isinstance(part, dict) and chance.random() < 0.15:
                part[self.text()] = part.pop(key)
            else:
                part[key] = copy.deepcopy(chance.choice(VALUES)) if chance.random() < 0.6 else self.text()
            return

    def text(self) -> str:
        """A hostile text, short or long."""
        return b"".join(self.random.choices(FRAGMENTS, k=self.random.choice((1, 1, 2, 4)))).decode("utf-8", "replace")[
            : self.random.choice((3, 60, 255, 5_000))
        ]

    def json_of(self, seed: Any) -> bytes:
        """`document_of` as JSON bytes, in one of the ways to write it."""
        return json.dumps(self.document_of(seed), ensure_ascii=self.random.random() < 0.7).encode("utf-8", "surrogatepass")
