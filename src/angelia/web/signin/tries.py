"""How often something may be tried: so many in a window, by a key."""

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import ceil
from time import monotonic

from starlette.requests import Request

from angelia.model.errors import Rate, RateLimited

MOST_KEYS = 20_000


def address_of(request: Request) -> IPv4Address | IPv6Address | None:
    """From where a request comes.

    A proxy that the operator has named says who it was (X-Forwarded-For); of all others that header is worth nothing.
    """
    proxies = request.app.state.context.proxies
    place = request.client.host if request.client else ""
    told = [part.strip() for part in request.headers.get("x-forwarded-for", "")[-500:].split(",")]
    while place in proxies and told:
        place = told.pop()
    try:
        address = ip_address(place)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if address.version == 6 else address


def place_of(request: Request) -> str:
    """From where somebody tries: an address, or the /64 of one in IPv6, which a single household has all of."""
    address = address_of(request)
    if address is None:
        return ""
    return str(address) if address.version == 4 else str(int(address) >> 64)


class Tries:
    """At most `most` tries a key in `seconds`; in memory, so each process counts its own."""

    def __init__(self, most: int, seconds: float, name: str = "tries") -> None:
        self._name = name
        self._most = most
        self._seconds = seconds
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, key: str) -> Rate:
        """Count one, or RateLimited with the time to wait. What is left."""
        now = monotonic()
        began, count = self._counts.get(key, (now, 0))
        if now - began >= self._seconds:
            began, count = now, 0
        if count >= self._most:
            raise RateLimited("too many tries; wait a few minutes", self._seconds - (now - began), self._rate(began, count, now))
        self._counts[key] = began, count + 1
        self._counts.move_to_end(key)
        if len(self._counts) > MOST_KEYS:
            self._counts.popitem(last=False)
        return self._rate(began, count + 1, now)

    def _rate(self, began: float, count: int, now: float) -> Rate:
        return Rate(self._name, self._most, ceil(self._seconds), self._most - count, ceil(self._seconds - (now - began)))

    def give_back(self, key: str) -> None:
        """That one does not count: it went well."""
        began, count = self._counts.get(key, (0.0, 0))
        if count:
            self._counts[key] = began, count - 1

    def forget(self, key: str) -> None:
        """It went well."""
        self._counts.pop(key, None)
