"""What an operator says of the bot: its homeserver, its token, whom it follows, what acknowledges."""

import re
from dataclasses import dataclass

from angelia.model.errors import BadSettings

_USER = re.compile(r"@[^\s:]{1,200}:[A-Za-z0-9.-]{1,200}(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class MatrixSettings:
    """`server` is the URL of the bot's homeserver, `token` its access token; `allow_servers` names those whose rooms are taken, with commas; empty
    means any; invitations from others are refused. `timeout` in seconds. A reaction with one of `acknowledge` (with blanks) is an acknowledgement.
    `threads`: letters of one thread or object stand in a thread of the room. `bot` is the bot's own id, shown to those who would invite it.
    """

    server: str = ""
    token: str = ""
    allow_servers: str = ""
    timeout: float = 15.0
    concurrency: int = 10
    acknowledge: str = "\N{THUMBS UP SIGN} \N{WHITE HEAVY CHECK MARK} \N{HEAVY CHECK MARK}"
    threads: bool = True
    bot: str = ""

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not self.server.startswith(("https://", "http://")) or self.server.endswith("/"):
            raise BadSettings("agents.matrix.server is the URL of the homeserver: it starts with https:// or http:// and does not end in /")
        if not self.token.isascii() or not self.token.isprintable() or not self.token or " " in self.token:
            raise BadSettings("agents.matrix.token is the access token of the bot")
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.matrix: timeout and concurrency are above 0")
        if self.bot and _USER.fullmatch(self.bot) is None:
            raise BadSettings("agents.matrix.bot is the id of the bot's account: @angelia:example.org")

    @property
    def servers(self) -> frozenset[str]:
        """Those that are allowed; empty means any."""
        return frozenset(filter(None, (name.strip().lower() for name in self.allow_servers.split(","))))

    @property
    def acknowledging(self) -> frozenset[str]:
        """The reactions that acknowledge, as `plain_key` writes them."""
        return frozenset(map(plain_key, self.acknowledge.split()))


def plain_key(key: str) -> str:
    """A reaction without what only colours it: variation selectors and tones of skin."""
    return "".join(sign for sign in key if sign not in "\ufe0e\ufe0f" and not "\U0001f3fb" <= sign <= "\U0001f3ff")
