"""Who may follow which exchange: the credentials of a live client, and the rule of each exchange."""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from time import monotonic
from typing import Any, Protocol
from urllib.parse import quote

from angelia import telemetry
from angelia.broker import ExchangeSettings
from angelia.model.errors import NotAuthenticated
from angelia.outbound import Answer, Outbound, Request
from angelia.wire.callers import Caller, Callers

CHECK_WITHIN = 5.0  # seconds
REMEMBERED = 30.0  # seconds that the answer of a check counts
HELD = 300.0
"""Seconds that a yes counts for a binding that its client has already, where the check does not answer: an outage there is no loss of rights."""
MOST_REMEMBERED = 20_000
MOST_CHECKS = 32
"""Checks that are under way at once."""


class Verdict(Enum):
    """What comes of asking for a binding."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"
    """There is no such exchange for anybody."""


@dataclass(frozen=True, slots=True)
class Guest:
    """Who a live client is: a caller of ours, the bearer of a foreign token with `claims`, or nobody. `ends_at` is in epoch seconds."""

    caller: Caller | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    ends_at: float | None = None

    @property
    def is_somebody(self) -> bool:
        """Has it shown credentials?"""
        return self.caller is not None or bool(self.token)

    @property
    def name(self) -> str:
        """For logs and marks."""
        return self.caller.name if self.caller is not None else f"token:{self.claims.get('sub', '')}"


NOBODY = Guest()


class Signatures(Protocol):
    """Who knows the tokens of another service; its library is read only where there is one."""

    def claims(self, token: str) -> Mapping[str, Any]:
        """What a good token says; NotAuthenticated for all others."""


class Admission:
    """Checks credentials and bindings. All answers fail closed."""

    def __init__(
        self,
        exchanges: Mapping[str, ExchangeSettings],
        callers: Callers,
        outbound: Outbound,
        epoch_seconds: Callable[[], float],
        *,
        signatures: Signatures | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.exchanges = exchanges
        self._callers = callers
        self._outbound = outbound
        self._epoch_seconds = epoch_seconds
        self._signatures = signatures
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, bool]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[bool | None]] = {}
        self._slots = asyncio.Semaphore(MOST_CHECKS)
        self._unanswered: set[str] = set()

    async def guest(self, token: str) -> Guest:
        """Whom a token stands for: one of the hub's own, or one signed with the configured key. NotAuthenticated."""
        if token.startswith("ang_") or self._signatures is None:
            caller = await self._callers.of(f"Bearer {token}".encode("utf-8", "replace"))
            return Guest(caller=caller, token=token)
        return self.foreign(token)

    def foreign(self, token: str) -> Guest:
        """The bearer of a token signed with the configured key; `exp` and `nbf` may be fractions, `sub` a number. NotAuthenticated."""
        now = self._epoch_seconds()
        claims = self._claims(token)
        ends_at, begins_at = claims.get("exp"), claims.get("nbf")
        for moment in (ends_at, begins_at):
            if moment is not None and (isinstance(moment, bool) or not isinstance(moment, int | float)):
                raise NotAuthenticated("exp and nbf are numbers")
        if ends_at is not None and ends_at <= now:
            raise NotAuthenticated("this token has expired")
        if begins_at is not None and begins_at > now:
            raise NotAuthenticated("this token is not good yet")
        return Guest(claims=claims, token=token, ends_at=ends_at)

    def _claims(self, token: str) -> Mapping[str, Any]:
        if self._signatures is None:
            raise NotAuthenticated("this is no token that we know")
        return self._signatures.claims(token)

    @property
    def rights(self) -> int:
        """Another number once a token was revoked, or a person switched off, as far as this process has heard."""
        return self._callers.version

    async def check(self, guest: Guest, exchange: str, pattern: str, *, is_held: bool = False) -> Verdict:
        """May this guest bind this pattern? `pattern` is checked already as text. `is_held`: may it keep it? Then the last answer of a check that
        is away counts for a while longer.
        """
        rule = self.exchanges.get(exchange)
        if rule is None:
            return Verdict.UNKNOWN
        return Verdict.GRANTED if await self._is_granted(guest, exchange, rule, pattern, is_held=is_held) else Verdict.DENIED

    async def _is_granted(self, guest: Guest, exchange: str, rule: ExchangeSettings, pattern: str, *, is_held: bool) -> bool:
        caller = guest.caller
        if rule.access == "public":
            return True
        if caller is not None and caller.is_admin:
            return True
        if caller is not None and not caller.may_read:
            return False  # a token that is good for posting only shows nothing, whoever has it
        if rule.access == "signed-in":
            return guest.is_somebody and (caller is None or caller.person is not None)
        if rule.access == "admin" or not guest.is_somebody:
            return False
        word = _checked_word(rule, pattern)
        if word is None:
            return False
        if word in _list(rule.open_words):
            return True
        if rule.access == "claim":
            return _claim_holds(guest.claims, rule.claim, word)
        return await self._asked(guest, exchange, rule, word, HELD if is_held else 0.0)

    async def _asked(self, guest: Guest, exchange: str, rule: ExchangeSettings, word: str, patience: float) -> bool:
        """What the configured URL says; everything but a clear yes is no. Those who ask the same at the same time share one question."""
        mark = sha256(guest.token.encode("utf-8", "replace")).hexdigest(), f"{exchange}\0{word}"
        kept = self._kept.get(mark)
        if kept is not None and self._clock() - kept[0] < REMEMBERED:
            return kept[1]
        task = self._asking.get(mark)
        if task is None:
            task = self._asking[mark] = asyncio.create_task(self._fetch(guest.token, exchange, rule, word))
            task.add_done_callback(lambda _: self._asking.pop(mark, None))
        is_granted: bool | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CHECK_WITHIN):
                is_granted = await asyncio.shield(task)
        if is_granted is None:
            return kept is not None and kept[1] and self._clock() - kept[0] < patience
        self._kept[mark] = self._clock(), is_granted
        self._kept.move_to_end(mark)
        if len(self._kept) > MOST_REMEMBERED:
            self._kept.popitem(last=False)
        return is_granted

    async def _fetch(self, token: str, exchange: str, rule: ExchangeSettings, word: str) -> bool | None:
        """Yes or no; None where nobody says: no answer, or one that tells of a fault there."""
        url = rule.check_url.replace("{word}", quote(word, safe=""))
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        async with self._slots:
            answer = await self._outbound.fetch(Request(url=url, headers=headers, timeout=CHECK_WITHIN, most=65_536))
        is_granted = isinstance(answer, Answer) and answer.said.get("status") == "ok"
        if isinstance(answer, Answer) and (is_granted or answer.status < 500):
            self._unanswered.discard(exchange)
            return is_granted
        if exchange not in self._unanswered:
            # Once for each outage: clients see a refusal only, and would see it for ever where the hub may not go there at all.
            self._unanswered.add(exchange)
            why = f"it answers {answer.status}" if isinstance(answer, Answer) else answer.why
            telemetry.log.warning("check_unanswered", exchange=exchange, url=rule.check_url, why=why)
        return None

    async def close(self) -> None:
        """Who still waits gets a no."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _checked_word(rule: ExchangeSettings, pattern: str) -> str | None:
    """The word of the pattern that decides; None where a wildcard stands there or before it, or the first word is none of those allowed."""
    words = pattern.split(".")
    if len(words) < rule.word or any(word in ("*", "#", "") for word in (words[0], words[rule.word - 1])):
        return None
    # Before the checked word `#` could stand for any number of words, so another one would be checked than is matched.
    if "#" in words[: rule.word]:
        return None
    first = _list(rule.first_words)
    if first and words[0] not in first:
        return None
    return words[rule.word - 1]


def _claim_holds(claims: Mapping[str, Any], name: str, word: str) -> bool:
    """Does the claim contain the word, or is it the word? Numbers are compared as text; a 0 in brainlife's `gids` separates and is no group."""
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    entries = found if isinstance(found, list) else [found]
    return any(str(entry) == word for entry in entries if isinstance(entry, str | int) and not isinstance(entry, bool) and entry not in {0, ""})
