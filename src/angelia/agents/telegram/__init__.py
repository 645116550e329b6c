"""Telegram: letters by a bot (Bot API, core.telegram.org/bots/api), as plain text, so that nothing in them can be markup; and what comes back."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from angelia.agent import Letter, Listen, Surroundings
from angelia.agents.telegram.calls import Calls
from angelia.agents.telegram.hearing import Hearing, button
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.model.message import Severity
from angelia.model.person import Address
from angelia.outbound import host_of
from angelia.rendering.render import plain_content
from angelia.rendering.text import shortened
from angelia.telegram import MOST_TEXT, Answer, Kind

_CHAT = re.compile(r"-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]{4,31}")
_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{20,100}")
_BOT = re.compile(r"[A-Za-z0-9_]{5,32}|")


@dataclass(frozen=True, slots=True)
class TelegramSettings:
    """`token` is the bot's, from @BotFather, `bot` its name (without @), from which links are made; where it is missing only the process that hears
    knows it. `timeout` in seconds; `listens`: ask for what people write to the bot, which one program alone may do; `poll`: seconds of one question.
    """

    token: str = ""
    api: str = "https://api.telegram.org"
    timeout: float = 15.0
    concurrency: int = 10
    bot: str = ""
    listens: bool = True
    poll: int = 50

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not _TOKEN.fullmatch(self.token):
            raise BadSettings("agents.telegram.token is that of your bot, as @BotFather gave it")
        if not self.api.startswith(("https://", "http://")) or self.api.endswith("/"):
            raise BadSettings("agents.telegram.api starts with https:// or http:// and does not end in /")
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.telegram: timeout and concurrency are above 0")
        if not _BOT.fullmatch(self.bot):
            raise BadSettings("agents.telegram.bot is the bot's name without @")
        if not 0 <= self.poll <= 50:
            raise BadSettings("agents.telegram.poll is from 0 to 50 seconds")


class TelegramAgent:
    """Sends letters to chats. The bot may write to people who have written to it, and to groups that it is in."""

    name = "telegram"
    is_pull = False
    is_interruptive = True
    is_opt_in = True
    edits_in_place = True
    address_example = "123456789"
    Settings = TelegramSettings

    def __init__(self, settings: TelegramSettings, house: Surroundings | None = None) -> None:
        house = house or Surroundings()
        self._settings = settings
        self._templates = house.templates
        self.concurrency = settings.concurrency
        self._calls = Calls(house.outbound.to_server(settings.api), settings.api, settings.token, settings.timeout)
        self._hearing = Hearing(self._calls, settings.poll)
        self._hearing.bot_name = settings.bot
        self.listen: Listen | None = self._hearing if settings.listens else None

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

    def link_to(self, code: str) -> str:
        """One tap, and the bot gets `/start CODE` from her chat; "" while the bot's name is not known."""
        return f"https://t.me/{self._hearing.bot_name}?start={code}" if self._hearing.bot_name else ""

    async def deliver(self, letter: Letter) -> Outcome:
        """One message; or one edit of the message that this letter brings up to date, and a message where that can't be edited any more."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no chat", is_address_bad=True)
        value = letter.address.value
        body: dict[str, Any] = {
            "chat_id": value if value.startswith("@") else int(value),
            "text": self._text(letter),
            "link_preview_options": {"is_disabled": True},
        }
        if self.listen is not None and letter.message is not None and letter.message.severity is Severity.URGENT:
            body["reply_markup"] = button(letter.person.language)
        if letter.replaces.isdigit():
            edited = await self._calls("editMessageText", body | {"message_id": int(letter.replaces)})
            if edited.kind in (Kind.DONE, Kind.UNCHANGED):
                return Sent(letter.replaces)
            if edited.kind not in (Kind.NOT_TO_EDIT, Kind.BAD):
                return _outcome(edited)
        if letter.thread_root.isdigit():
            body["reply_parameters"] = {"message_id": int(letter.thread_root), "allow_sending_without_reply": True}
        return _outcome(await self._calls("sendMessage", body))

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
    match answer.kind:
        case Kind.DONE:
            return Sent(str(answer.result.get("message_id", "")) if isinstance(answer.result, dict) else "")
        case Kind.BUSY:
            # One chat that gets too much is no reason to let all others rest.
            return Later(answer.why, timedelta(seconds=answer.wait), blames_destination=False)
        case Kind.MOVED:
            return Later(f"the group is now {answer.moved_to}", timedelta(0), blames_destination=False, moved_to=answer.moved_to)
        case Kind.UNKNOWN_BOT:
            return Later("Telegram does not know this bot: look at agents.telegram.token")
        case Kind.LOST | Kind.BAD:
            return Refused(answer.why, is_address_bad=answer.kind is Kind.LOST)
        case _:
            return Later(answer.why)
