"""Telegram without a hub: the bot's table `telegram` (bot-id, channel-id), plain text only."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import httpx2

from angelia.model.errors import BadSettings
from angelia.telegram import MOST_TEXT, Answer, Kind, judged
from angelia.watch.outbox import Never, NotNow
from angelia.watch.words import clean, one_line

_NAMES = frozenset({"bot-id", "channel-id", "api", "timeout"})
MOST_A_MINUTE = 20


def fitting(text: str, most: int = MOST_TEXT) -> str:
    """As much of the text as fits, counted in UTF-16 units as the API counts; a cut is marked and goes through no letter."""
    if len(text.encode("utf-16-le")) // 2 <= most:
        return text
    mark = "\n[cut]"
    return text.encode("utf-16-le")[: (most - len(mark)) * 2].decode("utf-16-le", "ignore") + mark


class DirectTelegram:
    """One bot and one channel."""

    def __init__(self, token: str, channel: str, api: str = "https://api.telegram.org", timeout: float = 20.0) -> None:
        self._token, self._channel = token, channel
        self._http = httpx2.Client(base_url=api.rstrip("/"), timeout=timeout)
        self._sent: deque[float] = deque(maxlen=MOST_A_MINUTE)

    def send(self, message: dict[str, Any]) -> None:
        """One try. What does not fit goes after it as a file: the last records, and the whole text."""
        text = "\n".join(dict.fromkeys([one_line(str(message.get("subject", ""))), clean(str(message.get("body") or ""))])).strip() or "message"
        fits = fitting(text)
        if not message.get("is_text_sent"):
            self._call("sendMessage", json={"chat_id": self._channel, "text": fits})
        if fits == text:
            return
        file = message.get("attachment") or {"name": "record.txt", "text": ""}
        whole = "\n".join(part for part in (clean(str(file["text"])), text) if part)
        document = {"document": (str(file["name"]), whole.encode("utf-8", "replace"), "text/plain")}
        try:
            self._call("sendDocument", data={"chat_id": self._channel}, files=document)
        except NotNow as error:
            raise NotNow(str(error), error.seconds, message | {"is_text_sent": True}) from None

    def _call(self, method: str, **content: Any) -> None:
        """The token is part of the address, so no error of the library is shown as it is."""
        if len(self._sent) == MOST_A_MINUTE and (wait := 60 - (time.monotonic() - self._sent[0])) > 0:
            raise NotNow("20 messages in a minute are all that a channel takes", wait)
        try:
            answer = self._http.post(f"/bot{self._token}/{method}", **content)
            said = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise NotNow(f"the API does not answer as it should ({type(error).__name__})") from None
        self._take(judged(answer.status_code, said if isinstance(said, dict) else {}), answer.status_code)

    def _take(self, answer: Answer, status: int) -> None:
        words = one_line(answer.why)
        match answer.kind:
            case Kind.DONE:
                self._sent.append(time.monotonic())
            case Kind.MOVED:
                self._channel = answer.moved_to
                raise NotNow("the channel has moved", 0.01)
            case Kind.BUSY:
                raise NotNow(words, answer.wait)
            case Kind.LOST | Kind.UNKNOWN_BOT | Kind.CONFLICT:
                # A token or a channel that the operator can mend; what waits must not be thrown away for that.
                raise NotNow(f"{status} {words}", 60.0)
            case Kind.DOWN:
                raise NotNow(f"{status} {words}")
            case _:
                raise Never(f"{status} {words}")


def direct_telegram(table: Mapping[str, Any]) -> DirectTelegram:
    """From the table. BadSettings names what is wrong."""
    if unknown := set(table) - _NAMES:
        raise BadSettings(f"telegram.{min(unknown)} is no setting; there are {', '.join(sorted(_NAMES))}")
    token, channel = str(table.get("bot-id", "")), str(table.get("channel-id", ""))
    if not token or not channel or not token.isprintable() or "/" in token:
        raise BadSettings("telegram needs bot-id and channel-id")
    try:
        timeout = float(table.get("timeout", 20))
    except (TypeError, ValueError):
        raise BadSettings("telegram.timeout is a number") from None
    if not timeout > 0:
        raise BadSettings("telegram.timeout is more than 0 seconds")
    return DirectTelegram(token, channel, str(table.get("api", "https://api.telegram.org")), timeout)
