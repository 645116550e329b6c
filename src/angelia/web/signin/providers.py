"""Sign-in at a provider, in words without any library: its settings, what one is asked for, and what may go wrong."""

from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from angelia.model.errors import BadSettings
from angelia.outbound import host_of

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""What an ID token may be signed with. None with a shared secret: whoever could check such a token could make one."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """One provider, `[oidc.<name>]` (OpenID Connect Core 1.0, code flow with PKCE). Lists are texts with commas."""

    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_file: str = ""
    title: str = ""
    scopes: str = "openid profile email"
    algorithms: str = "RS256, PS256, ES256"
    login_claim: str = "preferred_username"
    creates_people: bool = True
    links_people: bool = False
    groups_claim: str = "groups"
    admin_group: str = ""
    timeout: float = 5.0

    def __post_init__(self) -> None:
        """Say at the start what would fail at the first sign-in."""
        parts = urlsplit(self.issuer)
        is_plain = parts.scheme == "http" and host_of(self.issuer)[0] in _LOOPBACK
        if not (parts.scheme == "https" or is_plain) or not parts.hostname or parts.query or parts.fragment or "@" in parts.netloc:
            raise BadSettings("oidc: issuer is the provider's https:// URL, as it calls itself (http:// on this machine only)")
        if not self.client_id:
            raise BadSettings("oidc: client_id is the name that the provider gave to this hub")
        if "openid" not in self.scopes.split():
            raise BadSettings("oidc: scopes are words with spaces between them, and openid is one of them")
        if not self.accepted or not self.accepted <= set(ALGORITHMS):
            raise BadSettings(f"oidc: algorithms are some of {', '.join(ALGORITHMS)}")
        if not self.login_claim or not 0 < self.timeout <= 20:
            raise BadSettings("oidc: login_claim is the name of a claim; timeout is above 0 and at most 20 seconds")

    @property
    def accepted(self) -> frozenset[str]:
        """The algorithms."""
        return frozenset(filter(None, (name.strip() for name in self.algorithms.split(","))))


class SignInFailed(Exception):
    """Nobody is signed in by this. `kind` is what the page says of it, `why` is for the log."""

    status = 400

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


class ProviderAway(SignInFailed):
    """The provider can't be asked now; who is signed in stays so."""

    status = 503

    def __init__(self, why: str) -> None:
        super().__init__("later", why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One try to sign in, between leaving for the provider and coming back; kept in the browser, signed by us."""

    provider: str
    state: str
    nonce: str
    verifier: str
    place: str
    began_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who came back, as the provider tells it. She is (issuer, subject), and nothing else: mail addresses and names change hands."""

    issuer: str
    subject: str
    session: str = ""
    login: str = ""
    name: str = ""
    email: str = ""
    is_email_verified: bool = False
    language: str = ""
    time_zone: str = ""
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ended:
    """What a provider has ended: one session of its own, or all of a subject."""

    issuer: str
    subject: str
    session: str


class Provider(Protocol):
    """Somebody who vouches for people. Each question raises SignInFailed, or its child ProviderAway, and nothing else."""

    name: str
    settings: OidcSettings

    @property
    def title(self) -> str:
        """As people know it."""
        ...

    async def leave(self, flow: Flow, back: str) -> str:
        """Where the browser goes to sign in; it comes back to `back`."""
        ...

    async def arrive(self, flow: Flow, back: str, code: str, issuer: str) -> Identity:
        """Who brings this code. `issuer` is the parameter `iss` of RFC 9207, "" where there was none."""
        ...

    async def ended(self, token: str) -> Ended:
        """What a logout token ends (OpenID Connect Back-Channel Logout 1.0); each works once."""
        ...

    async def goodbye(self, place: str) -> str:
        """Where one signs out at the provider, too (RP-Initiated Logout 1.0); "" where there is no such place, or nobody to ask."""
        ...

    async def close(self) -> None:
        """Give back what it holds."""
