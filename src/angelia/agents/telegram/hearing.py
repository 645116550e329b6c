"""What people do in their chats: they link a chat by `/start CODE`, and press the button under an urgent letter."""

import asyncio
import json
import re
from typing import Any

from angelia.agent import Ear
from angelia.agents.telegram.calls import Calls
from angelia.model.errors import AngeliaError
from angelia.rendering.words import words
from angelia.telegram import Answer, Kind

ACKNOWLEDGE = "ack"
MOST_UPDATES = 100
MOST_CODE = 128
_CODE = re.compile(r"[0-9a-f]{20}")
LONGEST_WAIT = 300.0  # seconds that we let the server keep us quiet


class NotHeard(AngeliaError):
    """The bot's updates can't be had now; the text says why, and who must act."""


def button(language: str) -> dict[str, Any]:
    """The keyboard under an urgent letter."""
    return {"inline_keyboard": [[{"text": words(language)["acknowledge"], "callback_data": ACKNOWLEDGE}]]}


class Hearing:
    """Asks for updates, one request after another; each is answered before the next are asked for."""

    def __init__(self, calls: Calls, poll: int) -> None:
        self._calls, self._poll = calls, poll
        self.bot_name = ""

    async def __call__(self, ear: Ear) -> None:
        """Until it is cancelled. Raises NotHeard where the server won't have us; what the ear raises leaves the updates where they are."""
        if not self.bot_name:
            self.bot_name = str(_part(_done(await self._calls("getMe", {})), "username"))
        place = await ear.cursor()
        next_id = int(place) if place.isascii() and place.removeprefix("-").isdigit() else 0
        while True:
            asked = {"timeout": self._poll, "limit": MOST_UPDATES, "allowed_updates": ["message", "callback_query"]}
            answer = await self._calls("getUpdates", asked | ({"offset": next_id} if next_id else {}), self._poll)
            if answer.kind is Kind.BUSY:
                await asyncio.sleep(min(answer.wait, LONGEST_WAIT))
                continue
            found = _done(answer)
            updates = [update for update in found if isinstance(update, dict)] if isinstance(found, list) else []
            for update in updates:
                is_answer = await self._heard(ear, update)
                next_id = max(next_id, int(update["update_id"]) + 1)
                if is_answer or update is updates[-1]:
                    # Before the server is told: what it is told of it forgets.
                    await ear.keep_cursor(str(next_id))

    async def _heard(self, ear: Ear, update: dict[str, Any]) -> bool:
        """Did it change anything?"""
        if isinstance(pressed := update.get("callback_query"), dict):
            return await self._pressed(ear, pressed)
        if isinstance(message := update.get("message"), dict):
            return await self._said(ear, message)
        return False

    async def _pressed(self, ear: Ear, pressed: dict[str, Any]) -> bool:
        message, said = pressed.get("message"), words(str(_part(pressed.get("from"), "language_code")))
        is_taken, chat_id, message_id = False, _part(_part(message, "chat"), "id"), _part(message, "message_id")
        if pressed.get("data") == ACKNOWLEDGE and chat_id and message_id:
            is_taken = await _acknowledged(ear, message, str(message_id))
        # A press that is too old to be answered, or a message too old to be edited, was still a press.
        await self._calls(
            "answerCallbackQuery", {"callback_query_id": str(pressed.get("id", "")), "text": said["acknowledged" if is_taken else "unknown_letter"]}
        )
        if is_taken:
            await self._calls("editMessageReplyMarkup", {"chat_id": chat_id, "message_id": message_id})
        return is_taken

    async def _said(self, ear: Ear, message: dict[str, Any]) -> bool:
        code, chat_id = _code_in(str(message.get("text", "")), self.bot_name), _part(message.get("chat"), "id")
        if code is None or not chat_id:
            return False
        said = words(str(_part(message.get("from"), "language_code")))
        is_verified = bool(code) and await ear.verified(code, str(chat_id))
        text = said["linked"] if is_verified else said["code_is_over"] if code else said["how_to_link"]
        await self._calls("sendMessage", {"chat_id": chat_id, "text": text})
        return is_verified


def _code_in(text: str, bot_name: str) -> str | None:
    """The code in `/start CODE`, as a link makes it, in `/start@bot CODE`, or alone; "" where there is none; None where this is not for us."""
    command, _, code = text.strip().partition(" ")
    name, _, bot = command.partition("@")
    if _CODE.fullmatch(command) and not code:
        return command
    if name != "/start" or (bot and bot.lower() != bot_name.lower()):
        return None
    return code.strip()[:MOST_CODE]


async def _acknowledged(ear: Ear, message: object, receipt: str) -> bool:
    """A chat goes by its number, a public channel also by its name."""
    chat = _part(message, "chat")
    if await ear.acknowledged(str(_part(chat, "id")), receipt):
        return True
    name = _part(chat, "username")
    return bool(name) and await ear.acknowledged(f"@{name}", receipt)


def _part(whole: object, name: str) -> Any:
    return whole.get(name, "") if isinstance(whole, dict) else ""


def _done(answer: Answer) -> Any:
    if answer.kind is Kind.DONE:
        return answer.result
    if answer.kind is Kind.CONFLICT:
        raise NotHeard(f"{answer.why}: let this hub alone ask for the bot's updates, or set agents.telegram.listens = false")
    if answer.kind is Kind.UNKNOWN_BOT:
        raise NotHeard("Telegram does not know this bot: look at agents.telegram.token")
    raise NotHeard(json.dumps(answer.why, ensure_ascii=False) if not answer.why.isprintable() else answer.why)
