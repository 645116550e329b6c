"""A mail server in process with scripted answers: what no real server does on demand."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from aiosmtpd.controller import Controller

from angelia_testing.peers.process import free_port


@dataclass
class Sink:
    """`mode`: ok, rcpt450, rcpt550, data451, silent (nothing is said after the mail), ackloss (stored, but the connection breaks before
    the 250), or hold (stored; the 250 waits until the mode is another one).
    """

    mode: str = "ok"
    mails: list[bytes] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"smtp://127.0.0.1:{self.port}"
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    def start(self) -> None:
        self._controller.start()

    def stop(self) -> None:
        self._controller.stop()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if self.mode == "rcpt450":
            return "450 4.2.0 try again"
        if self.mode == "rcpt550":
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.mode == "data451":
            return "451 4.3.0 not now"
        if self.mode == "silent":
            await asyncio.sleep(60)
        self.mails.append(envelope.content)
        self.recipients.append(list(envelope.rcpt_tos))
        while self.mode == "hold":
            await asyncio.sleep(0.02)
        if self.mode == "ackloss":
            server.transport.abort()
        return "250 2.0.0 taken"
