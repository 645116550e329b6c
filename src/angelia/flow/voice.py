"""One way to notify: what the house itself has to say is a message through intake, like everybody's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from angelia.inlet import Accept, Receipt, drafted
from angelia.model.message import ADDRESS_TEST, HOUSE, Message, Recipient, Sender, Severity
from angelia.model.moments import public_id, to_text


@dataclass(frozen=True, slots=True)
class OverflowNotice:
    """From now on, to one person by one agent, in one digest at `due_at`."""

    login: str
    agent: str
    due_at: datetime


class Voice:
    """Says things; each has a key, so that saying it twice says it once."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept

    async def overflow(self, notices: Sequence[OverflowNotice]) -> None:
        """Requirement R12: one notice when single messages turn into a summary."""
        await self._say(
            [
                (
                    f"overflow {notice.login} {notice.agent} {to_text(notice.due_at)}",
                    _house_message(
                        f"{HOUSE}.overflow",
                        notice.login,
                        notice.due_at,
                        "Many messages: the rest of this hour comes as one summary",
                        f"More messages than your hourly limit came for {notice.agent}. "
                        f"Those after the limit are kept and come in one summary at {to_text(notice.due_at)}.",
                    ),
                )
                for notice in notices
            ]
        )

    async def address_refused(self, login: str, agent: str, address: str, why: str, now: datetime) -> None:
        """An address was refused for good: its owner hears of it by what else reaches her."""
        text = f"The address {address} was refused ({why}). Nothing more is sent there until you verify it again."
        await self._tell(f"refused {agent} {now.date()} {address}", "address.refused", login, now, f"Your {agent} address does not work", text)

    async def address_ended(self, login: str, agent: str, address: str, why: str, now: datetime) -> None:
        """An address can never work again, so it was deleted: its owner hears of it by what else reaches her."""
        text = f"The address {address} has ended ({why}). It was deleted from your addresses."
        await self._tell(f"ended {agent} {now.date()} {address}", "address.refused", login, now, f"Your {agent} address has ended", text)

    async def came_back(self, login: str, agent: str, address: str, why: str, now: datetime) -> None:
        """What had been sent came back, and the address may still work: told once a day, however many they are."""
        text = f"Messages that had been sent to {address} came back ({why}). Those that follow are sent there as before."
        await self._tell(f"came back {agent} {now.date()} {address}", "delivery.returned", login, now, f"A message by {agent} came back", text)

    async def fails(self, login: str, agent: str, address: str, why: str, now: datetime) -> None:
        """For a day now nothing could be sent to an address (promise P8): told once in the seven days that keys are kept, and tried on."""
        text = f"Messages for {address} can't be sent, for a day now ({why}). They are kept, and tried on."
        await self._tell(f"fails {agent} {address}", "delivery.late", login, now, f"Messages by {agent} do not reach you", text)

    async def cut_off(self, login: str, agent: str, address: str, why: str, now: datetime) -> None:
        """An address is switched off: nothing reached it for as long as a message is tried, though others were reached."""
        text = f"Nothing could be sent to {address} for days ({why}), so it is switched off. Nothing more is sent there until you verify it again."
        await self._tell(f"cut off {agent} {address} {now.date()}", "address.unreachable", login, now, f"Your {agent} address is switched off", text)

    async def gave_up(self, login: str, agent: str, address: str, why: str, now: datetime) -> None:
        """Letters to an address were tried until their lifetime was over: told once in the seven days that keys are kept, however many they are."""
        text = f"Messages for {address} could not be sent for so long that they were given up ({why}). Those that follow are tried again."
        await self._tell(f"gave up {agent} {address}", "delivery.expired", login, now, f"Messages by {agent} did not reach you", text)

    async def address_test(self, login: str, agent: str, address: str, key: str, now: datetime) -> Receipt:
        """She asked for a test of one address: it goes the way of every message, and there only. `key` makes a second try a second message."""
        text = "You asked for this test. It came the way that all your messages take, so they will reach you here, too."
        message = _house_message(ADDRESS_TEST, login, now, "This is a test of your address", text)
        tried = replace(message, is_test=True, params={"agent": agent, "address": address})
        (receipt,) = await self._say([(f"test {key}", tried)])
        return receipt

    async def nobody_answered(self, principals: Sequence[str], login: str, message: Message, steps: Sequence[str], now: datetime) -> None:
        """A chain is over: the last resort hears of it, once. What a restricted message says stays in it."""
        what = message.type if message.is_restricted else message.subject or message.type
        way = ", ".join(steps)
        text = f"The message “{what}” for {login} was not answered, though it went on to all of its steps: {way}. Nobody else is told."
        said = _house_message(f"{HOUSE}.escalation.over", login, now, f"Nobody has answered: {what}"[:255], text)
        recipients = tuple(Recipient(principal) for principal in principals)
        said = replace(said, recipients=recipients, severity=Severity.HIGH, object=message.object if not message.is_restricted else "")
        await self._say([(f"escalation over {public_id('msg', message.message_id)} {login}", said)])

    async def _tell(self, key: str, kind: str, login: str, now: datetime, subject: str, text: str) -> None:
        """Once to each: of two people with one address both hear of it."""
        await self._say([(f"{login} {key}", _house_message(f"{HOUSE}.{kind}", login, now, subject, text))])

    async def _say(self, things: Sequence[tuple[str, Message]]) -> Sequence[Receipt]:
        drafts = [drafted(message, key) for key, message in things]
        return await self._accept(HOUSE, drafts) if drafts else ()


def _house_message(key: str, login: str, at: datetime, subject: str, body: str) -> Message:
    return Message(
        message_id=0,
        source=HOUSE,
        type=key,
        received_at=at,
        occurred_at=at,
        sender=Sender(HOUSE, "Angelia"),
        recipients=(Recipient(login),),
        severity=Severity.NORMAL,
        subject=subject,
        body=body,
    )
