"""Telegram: letters by a bot (Bot API, core.telegram.org/bots/api), as plain text, so that nothing in them can be markup."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta

from angelia.agent import Letter, Surroundings
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.person import Address
from angelia.outbound import Answer, NoAnswer, Request, host_of
from angelia.rendering.render import plain_content
from angelia.rendering.text import shortened

MOST_TEXT = 4_096
"""UTF-16 code units: so Telegram counts."""
_CHAT = re.compile(r"-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]{4,31}")
_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{20,100}")
# What a 400 or 403 says where the chat is lost for the bot; other 400s are about the letter.
_LOST = re.compile(
    r"chat not found|bot was blocked|bot was kicked|user is deactivated|bot can't initiate|not a member|have no rights|need administrator",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """`token` is the bot's, from @BotFather; `timeout` in seconds."""

    token: str = ""
    api: str = "https://api.telegram.org"
    timeout: float = 15.0
    concurrency: int = 10

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not _TOKEN.fullmatch(self.token):
            raise BadSettings("agents.telegram.token is that of your bot, as @BotFather gave it")
        if not self.api.startswith(("https://", "http://")) or self.api.endswith("/"):
            raise BadSettings("agents.telegram.api starts with https:// or http:// and does not end in /")
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.telegram: timeout and concurrency are above 0")


class TelegramAgent:
    """Sends letters to chats. The bot may write to people who have written to it, and to groups that it is in."""

    name = "telegram"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    address_example = "123456789"
    Settings = TelegramSettings

    def __init__(self, settings: TelegramSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates, self._outbound = house.templates, house.outbound
        self.concurrency = settings.concurrency

    def check_address(self, value: str) -> str | None:
        """The number of a chat, or the @name of a public channel."""
        return value if _CHAT.fullmatch(value) else None

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """All chats hang on one server."""
        del letter
        return host_of(self._settings.api)[0]

    async def deliver(self, letter: Letter) -> Outcome:
        """One `sendMessage`."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no chat", is_address_bad=True)
        value = letter.address.value
        body = {
            "chat_id": value if value.startswith("@") else int(value),
            "text": self._text(letter),
            "link_preview_options": {"is_disabled": True},
        }
        request = Request(
            url=f"{self._settings.api}/bot{self._settings.token}/sendMessage",
            method="POST",
            headers={"Content-Type": "application/json"},
            content=json.dumps(body).encode(),
            timeout=self._settings.timeout,
        )
        answer = await self._outbound.fetch(request)
        if isinstance(answer, NoAnswer):
            return Later(answer.why)
        return _outcome(answer)

    def _text(self, letter: Letter) -> str:
        """Subject, text, link, and the number of the delivery as a hash tag: a repeat has the same, and one finds it by a tap."""
        content = plain_content(letter, self.name, self._templates)
        end = f"\n\n{letter.web_url} #d{letter.delivery.delivery_id}".replace("\n\n ", "\n\n")
        text = content.text.strip()
        whole = text if text.startswith(content.subject) else f"{content.subject}\n\n{text}"
        return shortened(whole, MOST_TEXT - len(end), "utf-16-le") + end

    async def close(self) -> None:
        """The way out belongs to the house."""


def _outcome(answer: Answer) -> Outcome:
    said = answer.said
    if answer.status == 200 and said.get("ok") is True:
        result = said.get("result")
        return Sent(str(result.get("message_id", "")) if isinstance(result, dict) else "")
    why = str(said.get("description", f"Telegram answered {answer.status}"))[:200]
    more = said.get("parameters")
    more = more if isinstance(more, dict) else {}
    if answer.status == 429:
        wait = more.get("retry_after", 30)
        # One chat that gets too much is no reason to let all others rest.
        return Later(why, timedelta(seconds=min(int(wait), 86_400)) if isinstance(wait, int | float) else None, blames_destination=False)
    if isinstance(more.get("migrate_to_chat_id"), int):
        return Refused(f"the group is now {more['migrate_to_chat_id']}: add that address", is_address_bad=True)
    if answer.status in (401, 404):
        return Later("Telegram does not know this bot: look at agents.telegram.token")
    if answer.status in (400, 403):
        return Refused(why, is_address_bad=answer.status == 403 or _LOST.search(why) is not None)
    return Later(why)
