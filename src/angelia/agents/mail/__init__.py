"""E-mail: the agent; its settings, its MIME and its roads are in this room."""

import re

from angelia.agent import Letter, Surroundings
from angelia.agents.mail.mime import build
from angelia.agents.mail.road import MaildirRoad, Road, SmtpRoad
from angelia.agents.mail.settings import MailSettings
from angelia.model.delivery import Outcome, Refused
from angelia.model.moments import made_at
from angelia.model.person import Address
from angelia.model.return_path import Verb, answer_path, answers_end, return_path
from angelia.rendering.render import footer_of, render_digest, render_message

# One plain addr-spec of RFC 5321: no comments, no quotes, no lists, a domain with a dot. Names outside ASCII must come as punycode.
_ADDRESS = re.compile(
    r"(?=.{3,254}\Z)(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~][A-Za-z0-9!#$%&'*+/=?^_`{|}~-]*(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z"
)


class MailAgent:
    """Sends letters by mail."""

    name = "mail"
    is_pull = False
    is_interruptive = False
    is_opt_in = False
    address_example = "alice@example.org"
    Settings = MailSettings

    def __init__(self, settings: MailSettings, house: Surroundings | None = None) -> None:
        self._settings = settings
        self._templates = (house or Surroundings()).templates
        self._secret = (house or Surroundings()).secret
        self._road: Road = MaildirRoad(settings.maildir) if settings.maildir is not None else SmtpRoad(settings)
        self._destination = str(settings.maildir or settings.server[0])
        self.concurrency = settings.concurrency

    def check_address(self, value: str) -> str | None:
        """One plain address with its domain in lower case, or None."""
        if _ADDRESS.match(value) is None:
            return None
        local, _, domain = value.rpartition("@")
        return f"{local}@{domain.lower()}"

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """All mail goes by one server: it is the server that can be down."""
        del letter
        return self._destination

    async def deliver(self, letter: Letter) -> Outcome:
        """Render, build, send once."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no mail address", is_address_bad=True)
        settings = self._settings
        if letter.message is not None:
            content = render_message(letter, self.name, letter.delivery.form, self._templates)
        else:
            content = render_digest(letter, self.name, self._templates)
        envelope = build(
            letter, content, footer_of(letter), sender=settings.sender, sender_name=settings.sender_name, domain=settings.domain,
            answers=self._answers(letter),
        )  # fmt: skip
        delivery_id = letter.delivery.delivery_id
        back = return_path(settings.return_path, self._secret, delivery_id) if settings.return_path else settings.sender
        return await self._road.send(back, envelope, delivery_id)

    def _answers(self, letter: Letter) -> dict[Verb, str]:
        """An address for each answer that this letter can have. A mailing list has none: one of its readers must not answer for all the others."""
        settings, delivery = self._settings, letter.delivery
        if not settings.answers or letter.person.group is not None:
            return {}
        verbs = [Verb.ACKNOWLEDGE, Verb.SEEN]
        verbs += [Verb.UNSUBSCRIBE] if letter.unsubscribe_url else []
        verbs += [Verb.MUTE] if letter.message is not None and letter.message.object else []
        ends_at = answers_end(made_at(delivery.delivery_id), settings.answers_days)
        return {verb: answer_path(settings.answers, self._secret, verb, delivery.delivery_id, delivery.person_id, ends_at) for verb in verbs}

    async def close(self) -> None:
        """Close the road."""
        await self._road.close()
