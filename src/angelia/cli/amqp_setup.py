"""Exchanges and the account of readers on a real broker: declared over its management API, then tried out over AMQP."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import aiormq
import httpx2
from aiormq.abc import AbstractChannel
from aiormq.exceptions import AMQPError, ChannelAccessRefused

from angelia.cli.outcome import Failure

OWN_QUEUES = r"^$|^amq\.gen.*"
WITHIN = 10.0
Try = Callable[[AbstractChannel], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Place:
    """A virtual host of a broker, and who sets it up there. `management` is the URL of its HTTP API, without `/api`."""

    host: str
    port: int
    vhost: str
    user: str
    password: str = field(repr=False)
    management: str = "http://127.0.0.1:15672"
    is_tls: bool = False

    @classmethod
    def parse(cls, url: str, management: str = "") -> "Place":
        """From `amqp://user:password@host:5672/vhost`; Failure where it is none. Without `management` its API is on the same host."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
            raise Failure("--amqp is a URL: amqp://user:password@host:5672/vhost", 2)
        if management and not management.startswith(("http://", "https://")):
            raise Failure("--management is a URL: http://host:15672", 2)
        is_tls = parts.scheme == "amqps"
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
        vhost = unquote(parts.path[1:]) or "/"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        management = management or (f"https://{host}:15671" if is_tls else f"http://{host}:15672")
        return cls(parts.hostname, port or (5671 if is_tls else 5672), vhost, user, password, management.rstrip("/"), is_tls)

    def url(self, user: str, password: str) -> str:
        """For a connection of somebody."""
        scheme = "amqps" if self.is_tls else "amqp"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{self.port}/{quote(self.vhost, safe='')}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be there: exchanges with their kinds (of these, readers may read `readable`), and the account of readers."""

    exchanges: Mapping[str, str]
    readable: str
    reader: str = "eventReader"
    password: str = field(default="", repr=False)

    @property
    def permissions(self) -> dict[str, str]:
        """Of the account: only queues that the server names are its own; it reads these and the one exchange."""
        return {"configure": OWN_QUEUES, "write": OWN_QUEUES, "read": rf"^({re.escape(self.readable)}|amq\.gen.*)$"}


class Management:
    """The management API of the broker, for one virtual host."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._vhost = quote(place.vhost, safe="")
        self._client = httpx2.Client(base_url=f"{place.management}/api", auth=(place.user, place.password), timeout=WITHIN)

    def __enter__(self) -> "Management":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def find(self, path: str) -> Any:
        """What is there, None for nothing."""
        answer = self._ask("GET", path, None)
        return None if answer.status_code == 404 else self._read(answer, path)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Change something; Failure in the broker's own words."""
        return self._read(self._ask(method, path, body), path)

    def drop(self, path: str) -> None:
        """Remove what may be there."""
        answer = self._ask("DELETE", path, None)
        if answer.status_code != 404:
            self._read(answer, path)

    def _ask(self, method: str, path: str, body: object) -> httpx2.Response:
        try:
            return self._client.request(method, path.replace("{vhost}", self._vhost), json=body)
        except httpx2.HTTPError as error:
            raise Failure(f"the management API at {self._place.management} does not answer: {error}") from None

    def _read(self, answer: httpx2.Response, path: str) -> Any:
        if answer.status_code in (401, 403):
            raise Failure(f"the broker refuses {self._place.user} at {path}: an administrator of it is needed", 3)
        if answer.status_code >= 400:
            raise Failure(f"the broker refuses {path}: {answer.text[:300]}")
        return answer.json() if answer.content else None


def set_up(management: Management, place: Place, wanted: Wanted) -> Iterator[str]:
    """Make what is missing and correct the rights of the account; a line for each thing. What stands in the way is a Failure, before changes."""
    found = {name: management.find(f"/exchanges/{{vhost}}/{quote(name, safe='')}") for name in wanted.exchanges}
    for name, kind in wanted.exchanges.items():
        known = found[name]
        if known is not None and (known["type"] != kind or not known["durable"]):
            raise Failure(f"the exchange {name} is there as {known['type']}, and not as durable {kind}: remove it first", 3)
    if management.find("/vhosts/{vhost}") is None:
        management.call("PUT", "/vhosts/{vhost}", {})
        management.call("PUT", f"/permissions/{{vhost}}/{quote(place.user, safe='')}", {"configure": ".*", "write": ".*", "read": ".*"})
        yield f"made virtual host {place.vhost}"
    for name, kind in wanted.exchanges.items():
        if found[name] is None:
            management.call("PUT", f"/exchanges/{{vhost}}/{quote(name, safe='')}", {"type": kind, "durable": True, "auto_delete": False})
        yield f"{'made' if found[name] is None else 'found'} exchange {name} ({kind}, durable)"
    account = quote(wanted.reader, safe="")
    is_new = management.find(f"/users/{account}") is None
    management.call("PUT", f"/users/{account}", {"password": wanted.password, "tags": ""})
    yield f"{'made' if is_new else 'found'} account {wanted.reader}; its password is set"
    management.call("PUT", f"/permissions/{{vhost}}/{account}", wanted.permissions)
    for right, pattern in wanted.permissions.items():
        yield f"{wanted.reader} may {right} {pattern}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried with the account of readers; `fault` is "" where it came out as it should."""

    what: str
    fault: str = ""


async def verify(management: Management, place: Place, wanted: Wanted) -> list[Check]:
    """Try with the account of readers what it must be able to do, and all that it must not."""
    probe = f"angelia.probe.{secrets.token_hex(6)}"
    management.call("PUT", f"/queues/{{vhost}}/{probe}", {"durable": False, "auto_delete": False, "arguments": {"x-expires": 60_000}})
    management.call("PUT", f"/exchanges/{{vhost}}/{probe}", {"type": "topic", "durable": False, "auto_delete": False})
    checks = [_outside(management, place, wanted), _at_management(place, wanted)]
    try:
        async with asyncio.timeout(60):
            connection = await aiormq.connect(place.url(wanted.reader, wanted.password))
            try:
                checks.append(await _reads(connection, management, wanted))
                for what, trial in _forbidden(wanted, probe):
                    checks.append(await _refused(connection, what, trial))
            finally:
                await connection.close()
    except (AMQPError, OSError, TimeoutError) as error:
        raise Failure(f"{wanted.reader} can't connect to {place.host}:{place.port}: {type(error).__name__} {error}") from None
    finally:
        for kind in ("queues", "exchanges"):
            for name in (probe, f"{probe}.own"):
                management.drop(f"/{kind}/{{vhost}}/{name}")
    return checks


def _outside(management: Management, place: Place, wanted: Wanted) -> Check:
    given = management.call("GET", f"/users/{quote(wanted.reader, safe='')}/permissions")
    others = sorted(entry["vhost"] for entry in given if entry["vhost"] != place.vhost)
    return Check("it has no rights in other virtual hosts", f"it has some in {', '.join(others)}" if others else "")


def _at_management(place: Place, wanted: Wanted) -> Check:
    answer = httpx2.get(f"{place.management}/api/overview", auth=(wanted.reader, wanted.password), timeout=WITHIN)
    return Check("refused: look into the management API", "" if answer.status_code == 401 else f"it got {answer.status_code}")


async def _reads(connection: Any, management: Management, wanted: Wanted) -> Check:
    """A queue of the server's naming, bound by a key to the exchange: what is published with this key comes, with another it does not."""
    what = f"allowed: read {wanted.readable} from a queue that the server names"
    key = secrets.token_hex(10)
    channel = await connection.channel()
    try:
        declared = await channel.queue_declare("", exclusive=True)
        await channel.queue_bind(declared.queue, wanted.readable, key)
    except AMQPError as error:
        return Check(what, f"it can't: {error}")
    for sent in (secrets.token_hex(10), key):
        body = {"properties": {}, "routing_key": sent, "payload": sent, "payload_encoding": "string"}
        management.call("POST", f"/exchanges/{{vhost}}/{quote(wanted.readable, safe='')}/publish", body)
    deadline = monotonic() + WITHIN
    while monotonic() < deadline:
        got = await channel.basic_get(declared.queue, no_ack=True)
        if got.routing_key is not None or got.body:
            return Check(what, "" if got.body.decode() == key else "it got what was published with another key")
        await asyncio.sleep(0.05)
    return Check(what, f"nothing came within {WITHIN:g} s")


def _forbidden(wanted: Wanted, probe: str) -> Iterator[tuple[str, Try]]:
    """Each does no harm where it is not refused: what is there is declared once more as it is, and what is bound or deleted is the trial's own."""
    for name in wanted.exchanges:
        yield f"publish on {name}", _publishing(name, probe)
        yield f"configure {name}", _declaring(name, wanted.exchanges[name])
        yield f"bind {name} to an exchange", _binding_exchange(probe, name)
        if name != wanted.readable:
            yield f"read {name}", _binding_its_own(name)
    yield "publish to a queue", _publishing("", probe)
    yield "declare an exchange", lambda channel: channel.exchange_declare(f"{probe}.own", exchange_type="topic")
    yield "declare a queue by name", lambda channel: channel.queue_declare(f"{probe}.own")
    yield "read another queue", lambda channel: channel.basic_get(probe)
    yield "consume another queue", lambda channel: channel.basic_consume(probe, _ignored)
    yield "bind another queue", lambda channel: channel.queue_bind(probe, wanted.readable, "x")
    yield "empty another queue", lambda channel: channel.queue_purge(probe)
    yield "delete another queue", lambda channel: channel.queue_delete(probe)


def _publishing(exchange: str, key: str) -> Try:
    return lambda channel: channel.basic_publish(b"x", exchange=exchange, routing_key=key)


def _declaring(exchange: str, kind: str) -> Try:
    return lambda channel: channel.exchange_declare(exchange, exchange_type=kind, durable=True)


def _binding_exchange(to: str, exchange: str) -> Try:
    return lambda channel: channel.exchange_bind(to, exchange, routing_key="#")


def _binding_its_own(exchange: str) -> Try:
    async def trial(channel: AbstractChannel) -> None:
        declared = await channel.queue_declare("", exclusive=True)
        await channel.queue_bind(str(declared.queue), exchange, "#")

    return trial


async def _ignored(_: Any) -> None:
    """What comes is not looked at."""


async def _refused(connection: Any, what: str, trial: Try) -> Check:
    """The broker must say ACCESS_REFUSED; anything else, silence included, is a fault. The channel is gone afterwards, so each has its own."""
    channel = await connection.channel()
    try:
        async with asyncio.timeout(WITHIN):
            await trial(channel)
    except ChannelAccessRefused:
        return Check(f"refused: {what}")
    except (AMQPError, OSError, TimeoutError) as error:
        return Check(f"refused: {what}", f"the broker says {type(error).__name__} {error}")
    finally:
        with contextlib.suppress(AMQPError, OSError, RuntimeError):
            await channel.close()
    return Check(f"refused: {what}", "it can")
