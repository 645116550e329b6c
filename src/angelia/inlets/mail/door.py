"""What every road by which mail comes in shares: whose address it is, and what a mail to it does. Nothing here ever answers by mail."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import Message as Mail

from angelia import telemetry
from angelia.flow.bounces import Bounces
from angelia.flow.replies import Replies
from angelia.inlets.mail.old_reports import is_from_a_daemon, old_report_in
from angelia.inlets.mail.reading import bounce_in, came_to, has_report, is_automatic, parsed, quoted_in
from angelia.model.delivery import Delivery
from angelia.model.return_path import Verb, answer_of, delivery_of, is_signed
from angelia.planning.bounces import Bounce
from angelia.store import Store

MOST_BYTES = 1 << 20
"""A report may carry the mail that failed; what is larger is not read."""


@dataclass(frozen=True, slots=True)
class ReturnTo:
    """An address for reports about one delivery."""

    delivery_id: int


@dataclass(frozen=True, slots=True)
class AnswerTo:
    """An address for one answer of the person whose delivery it is; `is_late` once it has expired."""

    delivery: Delivery
    verb: Verb
    is_late: bool


Meaning = ReturnTo | AnswerTo


class Door:
    """Knows our addresses, and does what a mail to one of them says. Each mail may come twice."""

    def __init__(self, store: Store, secret: bytes, bounces: Bounces, replies: Replies, clock: Callable[[], datetime]) -> None:
        self._store, self._secret, self._bounces, self._replies, self._clock = store, secret, bounces, replies, clock

    async def meaning(self, address: str) -> Meaning | None:
        """What mail to this address is for; None if we did not sign it. StoreUnavailable where it can't be said now."""
        delivery_id = delivery_of(address, self._secret)
        if delivery_id is not None:
            return ReturnTo(delivery_id)
        answer = answer_of(address)
        if answer is None:
            return None
        delivery = (await self._store.deliveries([answer.delivery_id])).get(answer.delivery_id)
        if delivery is None or not is_signed(answer, self._secret, delivery.person_id):
            return None
        return AnswerTo(delivery, answer.verb, answer.expires_at <= self._clock())

    async def meaning_of(self, mail: Mail) -> Meaning | None:
        """Of a whole mail, by the first address in it that is ours; a way for reports is before an answer, since reports name both.

        Some servers report to whom a mail says it is from, and not to where it came from: then the copy that they enclose tells which it was.
        """
        answer: AnswerTo | None = None
        for address in came_to(mail):
            meaning = await self.meaning(address)
            if isinstance(meaning, AnswerTo):
                answer = answer or meaning
            elif meaning is not None:
                return meaning
        if answer is not None or not (has_report(mail) or is_from_a_daemon(mail)):
            return answer
        for address in quoted_in(mail):
            meaning = await self.meaning(address)
            if meaning is not None:
                return meaning if isinstance(meaning, ReturnTo) else ReturnTo(meaning.delivery.delivery_id)
        return None

    async def take(self, meaning: Meaning, raw: bytes, sender: str | None) -> str:
        """Do what it says, and return once that is durable: what it was. StoreUnavailable and Conflict where it must be brought again."""
        kind = await self._took(meaning, raw, sender)
        telemetry.mail_back.labels(kind).inc()
        return kind

    async def _took(self, meaning: Meaning, raw: bytes, sender: str | None) -> str:
        mail = parsed(raw)
        match meaning:
            case ReturnTo(delivery_id):
                bounce = _bounce_of(mail, sender)
                return await self._returned(delivery_id, bounce) if bounce is not None else "ignored"
            case AnswerTo(delivery, verb, is_late):
                # Some servers report to where answers go. So do the absence notes of people: here a report must say that it is one.
                is_report = has_report(mail) or is_from_a_daemon(mail)
                if is_report and (bounce := _bounce_of(mail, sender)) is not None and (has_report(mail) or bounce.status.startswith("5")):
                    return await self._returned(delivery.delivery_id, bounce)
                if is_late or is_automatic(mail, sender):
                    return "late" if is_late else "automatic"
                await self._replies.act(delivery, verb)
                return "answer"

    async def _returned(self, delivery_id: int, bounce: Bounce) -> str:
        await self._bounces.came_back(delivery_id, bounce)
        return "bounce"


def _bounce_of(mail: Mail, sender: str | None) -> Bounce | None:
    return bounce_in(mail) if has_report(mail) else old_report_in(mail, sender)
