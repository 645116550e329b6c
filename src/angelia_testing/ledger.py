"""The book of a load: what was attempted and acknowledged, held against what came."""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Filled by the clients while they run; keys are idempotency keys, and subjects as well."""

    attempted: set[str] = field(default_factory=set)
    acknowledged: dict[str, set[str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    slowest: float = 0.0

    def ids(self) -> set[str]:
        """All ids that were given in an acknowledgement."""
        return set().union(*self.acknowledged.values())


@dataclass(frozen=True)
class Reckoning:
    """The five counts, and what was attempted. `lost` and `unexpected` must be 0; `recovered` came without an acknowledgement, which is allowed."""

    attempted: int
    acknowledged: int
    lost: int
    unexpected: int
    duplicated: int
    recovered: int


def reckon(ledger: Ledger, came: Mapping[str, int], per_key: int = 1) -> Reckoning:
    """`came` says how often each key came; each should come `per_key` times (once for each recipient)."""
    return Reckoning(
        attempted=len(ledger.attempted),
        acknowledged=len(ledger.acknowledged),
        lost=sum(came.get(key, 0) < per_key for key in ledger.acknowledged),
        unexpected=sum(key not in ledger.attempted for key in came),
        duplicated=sum(max(0, times - per_key) for times in came.values()),
        recovered=sum(key in ledger.attempted and key not in ledger.acknowledged for key in came),
    )


class Load:
    """Clients that post with a key each, again and again until acknowledged, and keep the book.

    `count` messages over all clients, or without end until `end`. `keys` gives every client the same keys in the same order instead.
    """

    def __init__(
        self,
        port: int,
        count: int | None = None,
        *,
        clients: int = 1,
        to: Sequence[str] = ("alice",),
        name: str = "load",
        keys: Sequence[str] | None = None,
        rest: float = 0.0,
    ) -> None:
        self.ledger = Ledger()
        self._port, self._to, self._name, self._rest = port, list(to), name, rest
        self._numbers = iter(range(count)) if count is not None else itertools.count()
        self._keys = keys
        self._lock = threading.Lock()
        self._is_ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True, name=f"{name}-{number}") for number in range(clients)]

    def start(self) -> "Load":
        """Begin to post."""
        for thread in self._threads:
            thread.start()
        return self

    @property
    def is_running(self) -> bool:
        """True while a client has something to post."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self, seconds: float = 60.0) -> Ledger:
        """Wait until all is acknowledged."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert not self.is_running, f"{len(self.ledger.acknowledged)} acknowledged, {self.ledger.statuses}, {self.ledger.broken} broken off"
        return self.ledger

    def end(self, seconds: float = 30.0) -> Ledger:
        """Begin nothing new; wait until what was begun is acknowledged."""
        self._is_ended.set()
        return self.join(seconds)

    def acknowledged(self) -> set[str]:
        """The keys acknowledged so far."""
        with self._lock:
            return set(self.ledger.acknowledged)

    def ids(self) -> set[str]:
        """The ids acknowledged so far."""
        with self._lock:
            return self.ledger.ids()

    def _following(self) -> Iterable[str]:
        if self._keys is not None:
            yield from self._keys
            return
        while not self._is_ended.is_set():
            with self._lock:
                number = next(self._numbers, None)
            if number is None:
                return
            yield f"{self._name}-{number}"

    def _run(self) -> None:
        chance = random.Random(threading.current_thread().name)
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        for key in self._following():
            body = json.dumps({"type": "load.test", "to": self._to, "subject": key, "idempotency_key": key})
            with self._lock:
                self.ledger.attempted.add(key)
            while not self._post(client, key, body):
                time.sleep(chance.uniform(0.01, 0.1))
            if self._rest:
                time.sleep(self._rest)
        client.close()

    def _post(self, client: http.client.HTTPConnection, key: str, body: str) -> bool:
        began = time.monotonic()
        try:
            client.request("POST", "/api/v1/messages", body, {"Content-Type": "application/json"})
            answer = client.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            client.close()
            with self._lock:
                self.ledger.broken += 1
            return False
        with self._lock:
            self.ledger.slowest = max(self.ledger.slowest, time.monotonic() - began)
            self.ledger.statuses[answer.status] += 1
            if answer.status in (200, 201):
                self.ledger.acknowledged.setdefault(key, set()).add(json.loads(text)["id"])
        return answer.status in (200, 201)


def lost_ids(acknowledged: Collection[str], there: Collection[str]) -> set[str]:
    """Acknowledged, but not there."""
    return set(acknowledged) - set(there)
