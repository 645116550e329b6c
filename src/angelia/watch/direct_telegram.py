"""Telegram without a hub: the bot's table `telegram` (bot-id, channel-id), plain text only."""

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import httpx2

from angelia.model.errors import BadSettings
from angelia.watch.outbox import Never, NotNow
from angelia.watch.words import clean, one_line

_NAMES = frozenset({"bot-id", "channel-id", "api", "timeout"})
MOST_UNITS = 4096
MOST_A_MINUTE = 20


def fitting(text: str, most: int = MOST_UNITS) -> str:
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
        """One try. The token is part of the address, so no error of the library is shown as it is."""
        if len(self._sent) == MOST_A_MINUTE and (wait := 60 - (time.monotonic() - self._sent[0])) > 0:
            raise NotNow("20 messages in a minute are all that a channel takes", wait)
        text = fitting(
            "\n".join(dict.fromkeys([one_line(str(message.get("subject", ""))), clean(str(message.get("body") or ""))])).strip() or "message"
        )
        try:
            answer = self._http.post(f"/bot{self._token}/sendMessage", json={"chat_id": self._channel, "text": text})
            said = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise NotNow(f"the API does not answer as it should ({type(error).__name__})") from None
        self._settle(answer.status_code, said if isinstance(said, dict) else {})

    def _settle(self, status: int, said: dict[str, Any]) -> None:
        if status == 200 and said.get("ok") is True:
            self._sent.append(time.monotonic())
            return
        given = said.get("parameters")
        more: dict[str, Any] = given if isinstance(given, dict) else {}
        words = one_line(str(said.get("description", "")))
        if isinstance(more.get("migrate_to_chat_id"), int):
            self._channel = str(more["migrate_to_chat_id"])
            raise NotNow("the channel has moved", 0.01)
        if status == 429:
            wait = more.get("retry_after")
            raise NotNow(words, float(wait) if isinstance(wait, int | float) and wait > 0 else 30.0)
        # 401, 403 and 404 are a token or a channel that the operator can mend; what waits must not be thrown away for that.
        if status == 400 and "chat not found" not in words:
            raise Never(f"{status} {words}")
        raise NotNow(f"{status} {words}", 60.0 if status < 500 else None)


def direct_telegram(table: Mapping[str, Any]) -> DirectTelegram:
    """From the table. BadSettings names what is wrong."""
    if unknown := set(table) - _NAMES:
        raise BadSettings(f"telegram.{min(unknown)} is no setting; there are {', '.join(sorted(_NAMES))}")
    token, channel = str(table.get("bot-id", "")), str(table.get("channel-id", ""))
    if not token or not channel or not token.isprintable() or "/" in token:
        raise BadSettings("telegram needs bot-id and channel-id")
    return DirectTelegram(token, channel, str(table.get("api", "https://api.telegram.org")), float(table.get("timeout", 20)))
