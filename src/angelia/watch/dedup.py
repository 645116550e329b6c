"""How often a person is told of the same: the first at once, repeats counted, a rate for each recipient, and the rest in one message."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_KEYS = 10_000
MOST_SHOWN = 20
_VARYING = re.compile(r"""0x[0-9a-f]+|\b[0-9a-f]*\d[0-9a-f]*\b|\d+|"[^"\n]{0,200}"|'[^'\n]{0,200}'|[a-z]:\\\S+|(?<!\S)/\S+""", re.IGNORECASE)
_LONGEST_KEYED = 500


def normalised(text: str) -> str:
    """The first line of a text without what varies from one occurrence to the next: numbers, addresses, quoted names, paths."""
    return " ".join(_VARYING.sub("#", text.lstrip().split("\n", 1)[0][:_LONGEST_KEYED]).lower().split())


def key_of(names: Mapping[str, str], wanted: tuple[str, ...]) -> str:
    """A short key of what makes two records the same."""
    return hashlib.blake2b("\0".join(names.get(name, "") for name in wanted).encode(), digest_size=12).hexdigest()


@dataclass(slots=True)
class Window:
    """One key that has been told: until when its repeats are counted only. Times in seconds since 1970."""

    event_id: str
    text: str
    began_at: float
    until_at: float
    seen_at: float
    count: int = 0
    tellings: int = 0


@dataclass(frozen=True, slots=True)
class Repeats:
    """A window ended: so many more times until then. `number` counts the tellings of one window."""

    event_id: str
    number: int
    text: str
    count: int
    until_at: float


@dataclass(slots=True)
class Dedup:
    """Windows of `length` seconds; what goes on is told again each `remind_every` seconds. A length of 0 lets everything through."""

    length: float = 900.0
    remind_every: float = 7200.0
    windows: dict[str, Window] = field(default_factory=dict)

    def is_first(self, key: str, event_id: str, text: str, now: float) -> bool:
        """Is this to be told? Else it is counted. The same event twice (read again after a crash) is not counted twice as the first."""
        if self.length <= 0:
            return True
        window = self.windows.get(key)
        if window is not None:
            window.seen_at = now
            window.count += event_id != window.event_id
            return event_id == window.event_id
        if len(self.windows) >= MOST_KEYS:
            # The oldest is forgotten: it may be told once too often, and memory has an end.
            self.windows.pop(next(iter(self.windows)))
        self.windows[key] = Window(event_id, text, now, now + self.length, now)
        return True

    def ended(self, now: float) -> list[Repeats]:
        """What is to be told of windows that ended, each once."""
        told = []
        for key, window in list(self.windows.items()):
            # A clock that was set back must not hold a window open for ever.
            longest = max(self.length, self.remind_every)
            if window.until_at - now > longest:
                window.until_at, window.seen_at = now + self.length, now
            is_quiet = window.tellings > 0 and now - window.seen_at >= self.length
            if now < window.until_at and not is_quiet:
                continue
            if window.count:
                window.tellings += 1
                told.append(Repeats(window.event_id, window.tellings, window.text, window.count, min(now, window.until_at)))
            if is_quiet or not window.count or self.remind_every <= 0:
                del self.windows[key]
            else:
                window.count, window.until_at = 0, now + self.remind_every
        return told

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {key: asdict(window) for key, window in self.windows.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        self.windows = {key: Window(**fields) for key, fields in state.items()}


@dataclass(slots=True)
class Bucket:
    """At most `burst` at once, then `count` in each `period` seconds. A count of 0 is no limit."""

    count: int = 6
    period: float = 600.0
    burst: int = 3
    tokens: float = -1.0
    filled_at: float = 0.0

    def takes(self, now: float) -> bool:
        """May one more go now?"""
        if self.count <= 0:
            return True
        if self.tokens < 0:
            self.tokens = float(self.burst)
        elapsed = max(0.0, now - self.filled_at) if self.filled_at else 0.0
        self.tokens = min(float(self.burst), self.tokens + elapsed * self.count / self.period)
        self.filled_at = now
        if self.tokens < 1 - 1e-9:
            return False
        self.tokens -= 1
        return True


@dataclass(slots=True)
class Overflow:
    """What one recipient was not told for its rate: the first lines, and how many in all. It goes as one message."""

    first_id: str = ""
    began_at: float = 0.0
    count: int = 0
    lines: list[str] = field(default_factory=list)

    def add(self, event_id: str, text: str, now: float) -> None:
        """One more."""
        if not self.count:
            self.first_id, self.began_at = event_id, now
        self.count += 1
        if len(self.lines) < MOST_SHOWN:
            self.lines.append(text[:200])

    def is_due(self, now: float, period: float) -> bool:
        """Has it been gathered for a period? A clock that was set back ends it too."""
        return self.count > 0 and not 0 <= now - self.began_at < period

    def body(self) -> str:
        """Its text."""
        more = self.count - len(self.lines)
        return "\n".join([*self.lines, *([f"and {more} more"] if more else [])])


@dataclass(slots=True)
class Rates:
    """A bucket and an overflow for each recipient. What is most important passes once for each key, whatever the bucket says."""

    count: int = 6
    period: float = 600.0
    burst: int = 3
    buckets: dict[str, Bucket] = field(default_factory=dict)
    overflows: dict[str, Overflow] = field(default_factory=dict)

    def who_hears(self, recipients: tuple[str, ...], event_id: str, text: str, now: float, *, passes: bool) -> tuple[str, ...]:
        """Those of the recipients who are told now; for the others it is kept in their overflow."""
        told = []
        for recipient in recipients:
            bucket = self.buckets.setdefault(recipient, Bucket(self.count, self.period, self.burst))
            if bucket.takes(now) or passes:
                told.append(recipient)
            else:
                self.overflows.setdefault(recipient, Overflow()).add(event_id, text, now)
        return tuple(told)

    def due(self, now: float) -> list[tuple[str, Overflow]]:
        """The overflows that have waited long enough, taken out."""
        ready = [recipient for recipient, overflow in self.overflows.items() if overflow.is_due(now, self.period)]
        return [(recipient, self.overflows.pop(recipient)) for recipient in ready]

    def state(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {
            "buckets": {name: [bucket.tokens, bucket.filled_at] for name, bucket in self.buckets.items()},
            "overflows": {name: asdict(overflow) for name, overflow in self.overflows.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        for name, (tokens, filled_at) in state.get("buckets", {}).items():
            self.buckets[name] = Bucket(self.count, self.period, self.burst, tokens, filled_at)
        self.overflows = {name: Overflow(**fields) for name, fields in state.get("overflows", {}).items()}
