"""What people answer to a letter -> seen, acknowledged, unsubscribed, muted: each is one thing, done once however often it comes."""

from collections.abc import Callable
from datetime import datetime

from angelia.flow.answers import Answers
from angelia.flow.unsubscribe import Target, ended_by, ended_by_digest, rules_now, unsubscribe
from angelia.model.delivery import Delivery, State
from angelia.model.errors import NotFound
from angelia.model.preference import Site
from angelia.model.return_path import Verb
from angelia.store import Store

_BROUGHT = frozenset({State.DIGESTED, State.DELIVERED, State.BOUNCED})


class Replies:
    """Does what an answer says, for the person whose delivery it answers."""

    def __init__(
        self, store: Store, answers: Answers, site: Callable[[], Site], clock: Callable[[], datetime], changed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store, self._answers, self._site, self._clock, self._changed = store, answers, site, clock, changed

    async def act(self, delivery: Delivery, verb: Verb) -> None:
        """Do it; NotFound where what it is about is gone."""
        match verb:
            case Verb.ACKNOWLEDGE:
                await self._answers.acknowledge(delivery.person_id, await self._carried(delivery), delivery.agent)
            case Verb.SEEN:
                await self._answers.seen(delivery.person_id, await self._carried(delivery), delivery.agent)
            case Verb.UNSUBSCRIBE | Verb.MUTE:
                await unsubscribe(self._store, await self._target(delivery, verb), self._site(), self._clock())
                self._changed("people")

    async def _carried(self, delivery: Delivery) -> list[int]:
        """The messages that it brought: its own, or those of its digest."""
        if delivery.message_id is not None:
            return [delivery.message_id]
        items = await self._store.digest_items(delivery.digest_id or 0)
        return [item.message_id for item in items if item.message_id is not None and item.state in _BROUGHT]

    async def _target(self, delivery: Delivery, verb: Verb) -> Target:
        if delivery.message_id is None and verb is Verb.UNSUBSCRIBE:
            return ended_by_digest(delivery)
        message = None if delivery.message_id is None else (await self._store.messages([delivery.message_id])).get(delivery.message_id)
        if message is None or (verb is Verb.MUTE and not message.object):
            raise NotFound("there is no such message")
        if verb is Verb.MUTE:
            return Target(delivery.person_id, delivery.agent, "object", message.object)
        row = await self._store.ledger_row(message.message_id, delivery.person_id)
        return ended_by(delivery, message, row, await rules_now(self._store, delivery.person_id))
