"""AMQP: letters as JSON into a queue or an exchange of the person's or system's own, on the site's broker; confirmed, kept on disk."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from aiormq.channel import Channel
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity, PublishError
from pamqp import commands as spec

from angelia.agent import Letter, Surroundings
from angelia.amqp import Link, is_gone, shut, told
from angelia.amqp_publishing import publish, short
from angelia.deadlines import Deadlines
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings, BrokerUnavailable
from angelia.model.moments import public_id, to_text
from angelia.model.person import Address
from angelia.rendering.facts import as_json, facts_of
from angelia.rendering.render import plain_content

_NAME = r"[A-Za-z0-9_.:-]{1,200}"
_ADDRESS = re.compile(rf"({_NAME})|({_NAME})/({_NAME})")
_NO_KEY = re.compile(r"[^A-Za-z0-9_.:-]")


class _Properties(spec.Basic.Properties):
    """Those of our letters, for the library."""

    def __init__(self, message_id: str, written: bytes) -> None:
        super().__init__(message_id=message_id)
        self._written = written

    def marshal(self) -> bytes:
        """As they are written."""
        return self._written


_CONTENT_TYPE, _DELIVERY_MODE, _MESSAGE_ID, _TYPE, _APP_ID = 1 << 15, 1 << 12, 1 << 7, 1 << 5, 1 << 3
_HEAD = (_CONTENT_TYPE | _DELIVERY_MODE | _MESSAGE_ID | _TYPE | _APP_ID).to_bytes(2, "big") + short("application/json") + b"\x02"
_FROM = short("angelia")


def properties_of(message_id: str, kind: str) -> bytes:
    """The five that are there, in the order of their flags (AMQP 0-9-1, 4.2.6.1): the library looks through all fourteen for each letter."""
    return b"".join((_HEAD, short(message_id), short(kind), _FROM))


@dataclass(frozen=True, slots=True)
class AmqpSettings:
    """`url` of the broker (`amqp://` or `amqps://`). `prefix` is how names of queues and exchanges must start, so that nobody writes into what is not
    meant for it; empty means any. `timeout` in seconds.
    """

    url: str = ""
    prefix: str = ""
    timeout: float = 10.0
    concurrency: int = 50

    def __post_init__(self) -> None:
        """Say at the start what would fail at night."""
        if not self.url.startswith(("amqp://", "amqps://")):
            raise BadSettings("agents.amqp.url is the URL of the broker: it starts with amqp:// or amqps://")
        if _NO_KEY.search(self.prefix):
            raise BadSettings("agents.amqp.prefix is made of letters, digits and _ . : -")
        if self.timeout <= 0 or self.concurrency < 1:
            raise BadSettings("agents.amqp: timeout and concurrency are above 0")


class AmqpAgent:
    """Publishes over one connection. Queues and exchanges belong to their owners: the hub makes none."""

    name = "amqp"
    title = "AMQP"
    is_pull = False
    is_interruptive = False
    is_opt_in = True
    Settings = AmqpSettings

    def __init__(self, settings: AmqpSettings, house: Surroundings | None = None) -> None:
        self._settings, self._templates = settings, (house or Surroundings()).templates
        self.concurrency = settings.concurrency
        self.address_example = f"{settings.prefix}alice"
        self._link = Link(settings.url, "angelia tells")
        # A channel ends with the first name that is missing: those to other places must not end with it.
        self._channels: dict[str, Channel] = {}
        self._opening = asyncio.Lock()
        self._deadlines = Deadlines()
        # Each letter waits for the broker's word, so few are on the way and none need wait for the wire as well. Once the broker is late
        # they do: those that were given up must not pile up before a wire that is stuck.
        self._is_held_up = False

    def check_address(self, value: str) -> str | None:
        """The name of a queue, or `exchange/routing.key`."""
        return value if _ADDRESS.fullmatch(value) and value.startswith(self._settings.prefix) and not value.startswith("amq.") else None

    def note(self, address: Address) -> str:
        """There is nothing to know."""
        del address
        return ""

    def destination(self, letter: Letter) -> str:
        """All hang on the broker."""
        del letter
        parts = urlsplit(self._settings.url)
        return f"{parts.hostname}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"

    async def deliver(self, letter: Letter) -> Outcome:
        """Publish, and wait for the broker to say that it has it; nothing bound there is an address that is gone."""
        if letter.address is None or self.check_address(letter.address.value) is None:
            return Refused("this is no queue", is_address_bad=True)
        value = letter.address.value
        exchange, _, key = value.rpartition("/")
        try:
            channel = await self._channel(exchange)
            # A channel opens within a limit of its own.
            await self._publish(channel, exchange, key, letter)
        except PublishError:
            return Refused("nothing takes letters there: no such queue, or nothing is bound", is_address_bad=True)
        except ChannelNotFoundEntity as error:
            # The same code stands for a node that is starting.
            return Refused("there is no such exchange", is_address_bad=True) if is_gone(error) else Later(told(error))
        except ChannelAccessRefused:
            return Refused("the hub may not write there", is_address_bad=True)
        except TimeoutError:
            self._is_held_up = True
            return Later(f"the broker confirmed nothing within {self._settings.timeout:g} s: is it blocked by an alarm?")
        except BrokerUnavailable as error:
            return Later(str(error))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            # The library cancels what waits when it loses its connection; that is no wish of ours.
            if task is not None and task.cancelling():
                raise
            return Later("the connection to the broker was lost")
        except (AMQPError, OSError, RuntimeError) as error:
            return Later(told(error))
        self._is_held_up = False
        return Sent(public_id("dlv", letter.delivery.delivery_id))

    async def _channel(self, exchange: str) -> Channel:
        channel = self._channels.get(exchange)
        if channel is not None and not channel.is_closed:
            return channel
        async with self._opening:
            channel = self._channels.get(exchange)
            if channel is None or channel.is_closed:
                channel = self._channels[exchange] = cast("Channel", await self._link.channel(confirms=True))
            return channel

    async def _publish(self, channel: Channel, exchange: str, key: str, letter: Letter) -> None:
        message_id, kind = public_id("dlv", letter.delivery.delivery_id), letter.message.type if letter.message is not None else "digest"
        properties, body, seconds = properties_of(message_id, kind), self._body(letter), self._settings.timeout
        if self._is_held_up:
            named = _Properties(message_id, properties)
            await channel.basic_publish(body, exchange=exchange, routing_key=key, properties=named, mandatory=True, timeout=seconds)
            return
        with self._deadlines.within(seconds):
            await publish(channel, exchange, key, message_id, properties, body)

    def _body(self, letter: Letter) -> bytes:
        message, content = letter.message, plain_content(letter, self.name, self._templates)
        if message is None:
            said: dict[str, Any] = {"type": "digest", "timestamp": to_text(letter.slot_at or letter.delivery.due_at)}
        else:
            said = {"type": message.type, "timestamp": to_text(message.occurred_at)} | facts_of(message, letter.because)
        said |= {"subject": content.subject, "text": content.text, "person": letter.person.login, "attempt": letter.attempt, "url": letter.web_url}
        return as_json(said)

    async def close(self) -> None:
        """Give back the connection."""
        for channel in self._channels.values():
            await shut(channel)
        self._channels.clear()
        await self._link.close()
