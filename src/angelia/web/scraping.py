"""Who may read the metrics (checklist S47): the networks that the operator names, and who has the token for it."""

import hmac
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from angelia.model.errors import BadSettings

LEAST_TOKEN = 16


@dataclass(frozen=True, slots=True)
class Scrapers:
    """`is_open` lets everybody in; an empty token opens nothing."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    token: str = ""
    is_open: bool = False

    def may(self, address: IPv4Address | IPv6Address | None, authorization: str) -> bool:
        """Whoever asks from there (None where that is not known) with this header."""
        scheme, _, given = authorization.partition(" ")
        has_token = bool(self.token) and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self.token.encode())
        return self.is_open or has_token or (address is not None and any(address in network for network in self.networks))


def scrapers_of(networks: str, token: str) -> Scrapers:
    """From the settings: networks with commas, `*` for any. Raises BadSettings."""
    if token and len(token) < LEAST_TOKEN:
        raise BadSettings(f"web.metrics_token has at least {LEAST_TOKEN} characters; leave it out and none opens the metrics")
    names = [name.strip() for name in networks.split(",") if name.strip()]
    try:
        return Scrapers(tuple(ip_network(name) for name in names if name != "*"), token, "*" in names)
    except ValueError as error:
        raise BadSettings(f"web.metrics_from holds networks such as 10.2.0.0/16, or *: {error}") from None
