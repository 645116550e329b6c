"""One outgoing HTTP request within our limits: allowed addresses only, no redirects, bounded in time and size (promise P16).

The address is judged that we connect to, never one that a second look-up might change: the name is resolved once, all its addresses must be
allowed, and the connection goes to one of those. No proxy is taken from the environment: it would connect for us, where we can't look.
"""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from angelia.deadlines import Deadlines
from angelia.http1 import Broken, Connection, Origin, Oversized, Pool, request_bytes
from angelia.model.delivery import Later, Outcome, Refused, Sent
from angelia.model.errors import BadSettings
from angelia.tls import client_context

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Host = tuple[str, int]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

SENT_BY = "Angelia-Sent-By"
"""The header by which a hub knows again what it has sent itself."""
MOST_URL = 2_048
MOST_AT_ONCE = 100
MOST_IDLE = 200  # one for each of many receivers: to connect costs more than a letter
LOOK_UP_WITHIN = 5.0  # seconds
KEPT = 20.0  # seconds that a connection waits for its next request
# What no request may reach unless the operator allows it. Python's `is_global` is no help: it calls multicast, NAT64 and 6to4 addresses
# global, behind which a private one may hide.
_FORBIDDEN = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24"),
        *("192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_GLOBAL_IPV6 = IPv6Network("2000::/3")  # all else is local, multicast, mapped, translated, or not given out
_HOST = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\Z")
_UNFIT = re.compile(r"[^\x21-\x7e]|[\\<>\"^`{|}]|%0[0ad]", re.IGNORECASE)
_LIKE_A_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to ask. `timeout` in seconds is for the whole of it, `most` bytes for the body that comes back."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    timeout: float = 10.0
    most: int = 1_048_576


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status; a redirect is an answer like others. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def said(self) -> dict[str, Any]:
        """The JSON object in the body; empty where there is none."""
        try:
            said = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return said if isinstance(said, dict) else {}


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """Nothing came back, or nothing that we take. `is_forbidden`: our own policy says no, and will say so again; `is_too_large`: more than `most`."""

    why: str
    is_forbidden: bool = False
    is_too_large: bool = False


def outcome_of(answer: Answer | NoAnswer) -> Outcome:
    """What an answer means for a delivery: 2xx is Sent; 410, a circle, and where we may not go, ends the address; all else is Later."""
    if isinstance(answer, NoAnswer):
        return Refused(answer.why, is_address_bad=True) if answer.is_forbidden else Later(answer.why)
    if 200 <= answer.status < 300:
        return Sent(str(answer.status))
    if answer.status == 410:
        return Refused("the receiver says that it is gone (410)", is_address_bad=True)
    if answer.status == 508:
        return Refused("this address leads back to the hub itself (508)", is_address_bad=True)
    return Later(f"the receiver answered {answer.status}", retry_after_of(answer.headers.get("retry-after", "")))


def retry_after_of(text: str) -> timedelta | None:
    """Seconds or a date (RFC 9110, 10.2.3), at most a day; None where there is neither."""
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:10])), timedelta(days=1))
    try:
        wait = parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), timedelta(days=1))


class _Forbidden(Exception):
    """The name leads where we don't go."""


def networks(text: str) -> tuple[Network, ...]:
    """The networks of a comma-separated setting; BadSettings names the one that is none."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ip_network(part))
        except ValueError:
            raise BadSettings(f"outbound.allow: {part!r} is no network such as 10.20.0.0/16") from None
    return tuple(found)


def is_allowed(address: Address, allowed: Iterable[Network] = ()) -> bool:
    """May we connect there? Public unicast addresses, and what the operator allows."""
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and (address not in _GLOBAL_IPV6 or address.scope_id is not None):
        return False
    return not any(address in network for network in _FORBIDDEN)


@lru_cache(maxsize=2_000)
def host_of(url: str) -> Host:
    """Name and port that a URL names; ("", 0) where it names none."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return "", 0


def fault_of(url: str, allowed: Iterable[Network] = (), hosts: Collection[Host] = ()) -> str:
    """What is wrong with a URL that somebody gave, or "": to be asked when it is saved. Where its name leads is judged at each request."""
    if len(url) > MOST_URL or _UNFIT.search(url) is not None:
        return f"a URL has at most {MOST_URL} characters, all of them plain"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "this is no URL"
    if parts.scheme not in ("http", "https"):
        return "a URL starts with http:// or https://"
    if "@" in parts.netloc or "#" in url or not host:
        return "a URL has a host, and neither a user nor a fragment"
    if host_of(url) in hosts:
        return ""
    if port is not None and port not in (80, 443) and not 1_024 <= port <= 65_535:
        return "the port is 80, 443, or above 1023"
    return _fault_of_host(host, allowed)


def _fault_of_host(host: str, allowed: Iterable[Network]) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        # What a resolver would read as a number (0177.0.0.1, 2130706433) is written as an address, or not at all.
        is_name = _HOST.match(host) is not None and _LIKE_A_NUMBER.match(host.rpartition(".")[2]) is None
        return "" if is_name else "the host is a plain name (punycode where it needs to be) or an address"
    return "" if is_allowed(address, allowed) else "this address is not one that the hub may call"


class Outbound:
    """The one way out. `allow` are networks that requests may reach although they are not public (`10.20.0.0/16, ...`).

    `hosts` are names with their ports that the operator has written down: they may lead anywhere. `mark` goes with each request (see SENT_BY).
    """

    def __init__(self, allow: str = "", *, ca_file: str = "", hosts: Collection[Host] = (), resolve: Resolve | None = None, mark: str = "") -> None:
        self._said = {"Accept-Encoding": "identity", "User-Agent": "angelia"} | ({SENT_BY: mark} if mark else {})
        self._allowed = networks(allow)
        self._like_this = partial(Outbound, allow, ca_file=ca_file, resolve=resolve, mark=mark)
        self._beside: list[Outbound] = []
        self._hosts = frozenset(hosts)
        self._guard = _Guard(self._allowed, self._hosts, resolve or _resolve, ca_file)
        self._opened: Pool | None = None
        self._deadlines = Deadlines()
        # Asked when a letter is written and again when it goes, mostly for the same few URLs.
        self._fault_of = lru_cache(maxsize=2_000)(lambda url: fault_of(url, self._allowed, self._hosts))
        if ca_file:
            _trust(ca_file)

    @property
    def _pool(self) -> Pool:
        """Opened when it is first needed: reading all certificates takes longer than most commands."""
        if self._opened is None:
            self._opened = Pool(self._guard.connect, MOST_AT_ONCE, MOST_IDLE, KEPT)
        return self._opened

    def to_server(self, url: str) -> "Outbound":
        """A way of its own, which ends with this one, to a server that the operator has written down: that may be anywhere.

        What people give does not go there: what is inner for the operator's own requests must not become so for theirs. So no networks need be
        allowed for all, only because the site's own servers are in one.
        """
        beside = self._like_this(hosts=(host_of(url),))
        self._beside.append(beside)
        return beside

    def fault_of(self, url: str) -> str:
        """As the function, with what the operator allows."""
        return self._fault_of(url)

    def is_allowed(self, address: str) -> bool:
        """May something of ours connect to this IP address? For what does not go through `fetch`; a name is no address."""
        try:
            return is_allowed(ip_address(address), self._allowed)
        except ValueError:
            return False

    async def fetch(self, request: Request, into: BinaryIO | None = None) -> Answer | NoAnswer:
        """One request, one answer. Never raises for what a peer does. With `into` a body of 200 is written there, piece by piece."""
        fault = self.fault_of(request.url)
        if fault:
            return NoAnswer(fault, is_forbidden=True)
        try:
            with self._deadlines.within(request.timeout):
                return await self._fetch(request, into)
        except _Forbidden as error:
            return NoAnswer(str(error), is_forbidden=True)
        except Oversized as error:
            return NoAnswer(str(error), is_too_large=True)
        except TimeoutError:
            return NoAnswer(f"no answer within {request.timeout:g} s")
        except (Broken, OSError) as error:
            return NoAnswer(str(error) or type(error).__name__)

    async def _fetch(self, request: Request, into: BinaryIO | None) -> Answer:
        origin, target, host = _aim(request.url)
        asked = request_bytes(request.method, target, host, {**self._said, **request.headers}, request.content)
        reply = await self._pool.ask(origin, asked, request.most, into)
        return Answer(reply.status, reply.headers, bytes(reply.body))

    async def close(self) -> None:
        """Give the connections back."""
        for beside in self._beside:
            await beside.close()
        if self._opened is not None:
            await self._opened.close()


@lru_cache(maxsize=2_000)
def _aim(url: str) -> tuple[Origin, str, str]:
    """Where a request goes, its target there, and the host as it stands in the head."""
    parts = urlsplit(url)
    return (parts.scheme, *host_of(url)), (parts.path or "/") + (f"?{parts.query}" if parts.query else ""), parts.netloc


@lru_cache(maxsize=8)
def _trust(ca_file: str) -> ssl.SSLContext:
    """Read once, for all ways out."""
    try:
        return client_context(ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise BadSettings(f"outbound.ca_file: {error.strerror or error}") from None


class _Guard:
    """Resolves once, looks at every address, and connects to one that it has seen. TLS still checks the name."""

    def __init__(self, allowed: tuple[Network, ...], hosts: frozenset[Host], resolve: Resolve, ca_file: str) -> None:
        self._allowed = allowed
        self._hosts = hosts
        self._resolve = resolve
        self._ca_file = ca_file

    async def connect(self, origin: Origin) -> Connection:
        """Refused as a whole where one address of several is forbidden: whoever sets such a name up does it for a reason."""
        scheme, host, port = origin
        addresses = await self._looked_up(host, port)
        is_written_down = (host, port) in self._hosts
        if not addresses or not (is_written_down or all(is_allowed(ip_address(address), self._allowed) for address in addresses)):
            raise _Forbidden(f"{host} leads to an address that the hub may not call")
        tls = {"ssl": _trust(self._ca_file), "server_hostname": host} if scheme == "https" else {}
        for address in addresses[:-1]:
            try:
                return await self._connect(address, port, tls)
            except ssl.SSLError:
                raise
            except OSError:
                continue
        return await self._connect(addresses[-1], port, tls)

    async def _looked_up(self, host: str, port: int) -> Sequence[str]:
        """Within a limit of its own: a slow look-up holds one of the few threads that there are for them (fault F31)."""
        try:
            async with asyncio.timeout(LOOK_UP_WITHIN):
                return await self._resolve(host, port)
        except TimeoutError:
            raise Broken(f"the address of {host} was not found within {LOOK_UP_WITHIN:g} s") from None

    async def _connect(self, address: str, port: int, tls: Mapping[str, Any]) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(Connection, address, port, **tls)
        return connection


async def _resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a name, in the system's order."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
