"""The fake of the Bot API as other clients see it: python-telegram-bot and aiogram, which know the real one."""

import asyncio
import json

import pytest
from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, ReplyParameters
from telegram.error import BadRequest, ChatMigrated, Conflict, Forbidden, InvalidToken, RetryAfter

from angelia_testing.peers.aiogram_client import run_aiogram
from angelia_testing.peers.telegram_api import CHANNEL, TOKEN, TelegramApi, refusal

BUTTON = InlineKeyboardMarkup([[InlineKeyboardButton("Acknowledge", callback_data="ack")]])


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # else it warns of what it will do one day
    made = TelegramApi()
    yield made
    made.stop()


@pytest.fixture
async def bot(api):
    async with Bot(TOKEN, base_url=f"{api.url}/bot") as made:
        yield made


async def test_a_bot_sends_answers_and_edits(api, bot):
    assert bot.username == "angelia_test_bot"
    first = await bot.send_message(CHANNEL, "running", reply_markup=BUTTON)
    second = await bot.send_message(CHANNEL, "done", reply_parameters=ReplyParameters(first.message_id))
    assert second.reply_to_message.text == "running"
    edited = await bot.edit_message_text("running on", CHANNEL, first.message_id, reply_markup=BUTTON)
    assert (edited.message_id, edited.text, edited.edit_date is None) == (first.message_id, "running on", False)
    with pytest.raises(BadRequest, match="not modified"):
        await bot.edit_message_text("running on", CHANNEL, first.message_id, reply_markup=BUTTON)
    assert (await bot.edit_message_reply_markup(CHANNEL, first.message_id)).reply_markup is None
    with pytest.raises(BadRequest, match="edit not found"):
        await bot.edit_message_text("x", CHANNEL, 99)
    with pytest.raises(BadRequest, match="too long"):
        await bot.send_message(CHANNEL, "🎉" * 2_049)


async def test_a_bot_hears_what_is_said_and_pressed(api, bot):
    api.says(1001, "/start abc", "de")
    (update,) = await bot.get_updates(timeout=10)
    assert (update.message.text, update.message.chat.id, update.message.from_user.language_code) == ("/start abc", 1001, "de")
    sent = await bot.send_message(1001, "dome open", reply_markup=BUTTON)
    api.presses(1001, sent.message_id)
    (update,) = await bot.get_updates(offset=update.update_id + 1, timeout=10, allowed_updates=["callback_query"])
    pressed = update.callback_query
    assert (pressed.data, pressed.message.message_id, pressed.message.chat.id) == ("ack", sent.message_id, 1001)
    assert await pressed.answer("Noted")
    with pytest.raises(BadRequest, match=r"(?i)query is too old"):
        await pressed.answer("again")
    assert await bot.get_updates(offset=update.update_id + 1) == ()


async def test_two_who_ask_are_one_too_many(api, bot):
    waits = asyncio.create_task(bot.get_updates(timeout=20))
    async with Bot(TOKEN, base_url=f"{api.url}/bot") as other:
        async with asyncio.timeout(30):
            while not api.updates.polls:
                await asyncio.sleep(0.01)
        await other.get_updates()
    with pytest.raises(Conflict):
        await waits


async def test_refusals_are_the_ones_that_clients_know(api, bot):
    with pytest.raises(BadRequest, match="Chat not found"):
        await bot.send_message(5, "x")
    api.moved[CHANNEL] = -1007
    with pytest.raises(ChatMigrated) as moved:
        await bot.send_message(CHANNEL, "x")
    assert moved.value.new_chat_id == -1007
    api.moved.clear()
    api.busy(3)
    with pytest.raises(RetryAfter):
        await bot.send_message(CHANNEL, "x")
    api.refusals.append(refusal(403, "Forbidden: bot was blocked by the user"))
    with pytest.raises(Forbidden):
        await bot.send_message(CHANNEL, "x")
    with pytest.raises(InvalidToken):
        async with Bot("1:wrong", base_url=f"{api.url}/bot"):
            pass


AIOGRAM = """
import asyncio, json, sys
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramAPIError
from aiogram.types import InlineKeyboardButton, InlineKeyboardMarkup, ReplyParameters

given = json.load(sys.stdin)

async def refused(call):
    try:
        return [str(await call)]
    except TelegramAPIError as error:
        more = [getattr(error, name) for name in ("retry_after", "migrate_to_chat_id") if hasattr(error, name)]
        return [type(error).__name__, error.message.rpartition("\\n")[2], *more]

async def main():
    server, chat, said = TelegramAPIServer.from_base(given["url"]), given["chat"], {}
    async with Bot(given["token"], session=AiohttpSession(api=server)) as bot:
        said["me"] = (await bot.get_me()).username
        said["refused"] = [await refused(bot.send_message(chat, "x")) for _ in range(2)]
        button = InlineKeyboardMarkup(inline_keyboard=[[InlineKeyboardButton(text="Acknowledge", callback_data="ack")]])
        first = await bot.send_message(chat, "running", reply_markup=button)
        second = await bot.send_message(chat, "done", reply_parameters=ReplyParameters(message_id=first.message_id))
        said["replied"] = second.reply_to_message.text
        edited = await bot.edit_message_text("running on", chat_id=chat, message_id=first.message_id, reply_markup=button)
        said["edited"] = [edited.message_id == first.message_id, edited.text, edited.reply_markup.inline_keyboard[0][0].callback_data]
        said["bare"] = (await bot.edit_message_reply_markup(chat_id=chat, message_id=first.message_id)).reply_markup
        said["refused"] += [
            await refused(bot.edit_message_reply_markup(chat_id=chat, message_id=first.message_id)),
            await refused(bot.send_message(chat, "x" * 4097)),
            await refused(bot.send_message(5, "x")),
            await refused(bot.send_message(given["moved"], "x")),
        ]
        heard, pressed = await bot.get_updates(timeout=10)
        said["heard"] = [heard.message.text, heard.message.chat.id, heard.message.from_user.language_code]
        said["pressed"] = [pressed.callback_query.data, pressed.callback_query.message.text, await pressed.callback_query.answer("Noted").as_(bot)]
        said["refused"].append(await refused(bot.answer_callback_query(pressed.callback_query.id)))
        said["left"] = await bot.get_updates(offset=pressed.update_id + 1)
    async with Bot("1:wrong", session=AiohttpSession(api=server)) as stranger:
        said["refused"].append(await refused(stranger.get_me()))
    print(json.dumps(said))

asyncio.run(main())
"""


def test_another_library_finds_all_as_it_knows_it(api):
    """In an environment of its own, and so in one run: what it meets lies ready before."""
    api.says(1001, "/start abc", "de")
    buttons = {"inline_keyboard": [[{"text": "Acknowledge", "callback_data": "ack"}]]}
    api.answer(f"/bot{TOKEN}/sendMessage", "application/json", json.dumps({"chat_id": 1001, "text": "dome open", "reply_markup": buttons}).encode())
    api.presses(1001, 1)
    api.busy(3)
    api.refusals.append(refusal(403, "Forbidden: bot was blocked by the user"))
    api.moved["-1008"] = -1007
    said = run_aiogram(AIOGRAM, {"url": api.url, "token": TOKEN, "chat": CHANNEL, "moved": -1008})
    refusals = said.pop("refused")
    assert said == {
        "me": "angelia_test_bot",
        "replied": "running",
        "edited": [True, "running on", "ack"],
        "bare": None,
        "heard": ["/start abc", 1001, "de"],
        "pressed": ["ack", "dome open", True],
        "left": [],
    }
    assert [(kind, more) for kind, _, *more in refusals] == [
        ("TelegramRetryAfter", [3]),
        ("TelegramForbiddenError", []),
        ("TelegramBadRequest", []),
        ("TelegramBadRequest", []),
        ("TelegramBadRequest", []),
        ("TelegramMigrateToChat", [-1007]),
        ("TelegramBadRequest", []),
        ("TelegramUnauthorizedError", []),
    ]
