"""Two weeks of the sample site, played through: everything comes in and goes out as it does anywhere, only the clock is moved."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, time, timedelta
from typing import Any

import httpx2

from angelia.flow.clock import SteadyClock
from angelia.front import app_of
from angelia.house import House
from angelia.store import InboxQuery

LASTS = timedelta(days=14)
LIFE = ("planner", "digester", "relay")
"""The stages that a message goes through, in order."""
READ_AT = time(20)
"""When alice reads what has come, in UTC."""
NOT_SEEN, ARCHIVED = 2, 8
"""Days ago: what came later she has not seen yet; what came before from the build service she has put away."""


def _failed(package: str, arch: str, **more: Any) -> dict[str, Any]:
    reads = {"okular": "ld: cannot find -lpoppler-qt6", "kate": "test_highlighting: 3 of 212 tests failed"}
    return {
        "type": "obs.build.fail",
        "object": f"KDE/{package}",
        "subject": f"{package} failed to build on {arch}",
        "params": {"project": "KDE", "package": package, "arch": arch},
        "collapse_key": f"KDE/{package}/{arch}",
        "body": f"{reads[package]}\nSee https://build.example.org/KDE/{package}",
        **more,
    }


def _built(package: str, arch: str) -> dict[str, Any]:
    return {
        "type": "obs.build.success",
        "object": f"KDE/{package}",
        "subject": f"{package} builds again",
        "params": {"project": "KDE", "package": package, "arch": arch},
    }


def _request(number: int, what: str, subject: str, **more: Any) -> dict[str, Any]:
    thing = f"request/{number}"
    return {"type": f"obs.request.{what}", "object": thing, "thread": thing, "subject": subject, **more}


def _measured(number: int, what: str, subject: str, body: str, **more: Any) -> dict[str, Any]:
    return {
        "source": "yumo",
        "type": f"instrument.{what}",
        "object": f"yumo/{number}",
        "thread": f"yumo/{number}",
        "subject": subject,
        "to": ["alice", "bob"],
        "tags": [["instrument", "yumo"]],
        "body": body,
        **more,
    }


def _data(number: int, **more: Any) -> dict[str, Any]:
    return {
        "source": "data portal",
        "type": "dataset.published",
        "object": f"dataset/{number}",
        "subject": f"The data of run {number} are published",
        "severity": "low",
        "to": ["alice"],
        "body": "48 files, 2.1 GB.",
        **more,
    }


HISTORY: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (13, "09:12", _failed("okular", "x86_64", severity="high")),
    (13, "09:31", _failed("okular", "x86_64", severity="high")),
    (13, "14:02", _built("okular", "x86_64")),
    (13, "15:40", _request(1009, "review", "Please review request 1009", to=["carol"], actor="bob", body="Update kate to 26.04.3")),
    (12, "06:00", _measured(2204, "measurement.start", "Measurement 2204 has started", "Sample 17, 12 hours planned.")),
    (12, "18:05", _measured(2204, "measurement.end", "Measurement 2204 has ended", "12 hours, 48 files.")),
    (11, "10:20", _data(2203)),
    (10, "08:44", _failed("kate", "s390x")),
    (10, "11:17", _built("kate", "s390x")),
    (9, "13:05", _request(1009, "comment", "bob answered in request 1009", to=["carol", "alice"], actor="bob", body="The tests pass now.")),
    (8, "07:30", _failed("okular", "aarch64")),
    (8, "09:02", _request(1009, "accepted", "Request 1009 is accepted", to=["bob", "alice"], actor="carol")),
    (7, "06:00", _measured(2208, "measurement.start", "Measurement 2208 has started", "Sample 18, 12 hours planned.")),
    (7, "13:26", _measured(2208, "error", "3 of 12 frames could not be read", "Detector 2 does not answer.", severity="urgent")),
    (7, "13:58", _measured(2208, "measurement.end", "Measurement 2208 has ended", "8 hours, 31 files; detector 2 was exchanged.")),
    (6, "10:15", _data(2204)),
    (6, "16:21", _request(1017, "review", "Please review request 1017", to=["carol"], actor="alice", body="Build okular without poppler-qt5")),
    (5, "09:50", _failed("kate", "s390x")),
    (
        4,
        "12:33",
        _request(1017, "comment", "carol asks something in request 1017", to=["alice"], actor="carol", body="Is poppler-qt5 used by anybody else?"),
    ),
    (3, "08:05", _failed("okular", "x86_64", severity="high")),
    (3, "10:48", _built("okular", "x86_64")),
    (1, "05:30", _measured(2210, "measurement.end", "Measurement 2210 has ended", "12 hours, 47 files.")),
    (1, "09:40", _request(1017, "accepted", "Request 1017 is accepted", to=["alice"], actor="carol")),
    (1, "11:00", _data(2208)),
    (0, "00:00", _failed("okular", "x86_64", severity="high")),
    (0, "00:00", _failed("kate", "s390x")),
    (0, "00:00", _built("kate", "s390x")),
    (0, "00:00", _request(1024, "review", "Please review request 1024", to=["carol"], actor="bob", body="Update okular to 26.08")),
    (0, "00:00", _measured(2211, "measurement.end", "Measurement 2211 has ended", "12 hours, 48 files.")),
)
"""Days ago, when (UTC), and what; the source is the build service unless said. What is of today came just now."""


class Played:
    """A time that goes on when it is told to."""

    def __init__(self, begins_at: datetime) -> None:
        self._at = begins_at
        self.clock = SteadyClock(self._nanoseconds, self._nanoseconds)

    def _nanoseconds(self) -> int:
        return int(self._at.timestamp() * 1e6) * 1_000

    def go_to(self, at: datetime) -> None:
        """Later, or nothing happens: this clock, too, never goes back."""
        self._at = max(self._at, at)


async def play(house: House, played: Played, tokens: Mapping[str, str]) -> None:
    """The history, to the end, which is now; `tokens` are those of the sources, by name."""
    today, seen = datetime.now(UTC), LASTS.days
    transport = httpx2.ASGITransport(app_of(house))
    await house.refresh()
    async with asyncio.timeout(120), httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
        for days, moment, said in HISTORY:
            while seen - 1 > days and seen > NOT_SEEN:
                seen -= 1
                await _reach(house, played, _at(today, seen, READ_AT))
                await _read(house, seen)
            await _reach(house, played, _at(today, days, time.fromisoformat(moment)) if days else today)
            message = {"source": "build service", **said}
            secret = tokens[message.pop("source")]
            answer = await client.post("/api/v1/messages", json=message, headers={"Authorization": f"Bearer {secret}"})
            answer.raise_for_status()
        await _reach(house, played, datetime.now(UTC))
        await _work_off(house)


def _at(today: datetime, days: int, moment: time) -> datetime:
    return datetime.combine(today.date() - timedelta(days=days), moment, UTC)


async def _reach(house: House, played: Played, at: datetime) -> None:
    """Go on to this moment; what becomes due on the way is worked off when it is due."""
    await _work_off(house)
    while (due := await house.store.next_due_at(list(house.agents), house.now())) is not None and due <= at:
        played.go_to(due)
        await _work_off(house)
    played.go_to(at)


async def _work_off(house: House) -> None:
    life = [stage for stage in house.stages if stage.name in LIFE]
    while sum([await stage.turn(house.now()) for stage in life]):
        for stage in life:
            await stage.drain()


async def _read(house: House, days: int) -> None:
    """What alice does in an evening."""
    alice = await house.store.person("alice")
    if alice is not None:
        await house.store.mark(alice.person_id, InboxQuery(), None, "read", house.now(), is_undoable=False)
        if days == ARCHIVED:
            await house.store.mark(alice.person_id, InboxQuery(subtree="obs"), None, "archive", house.now(), is_undoable=False)
