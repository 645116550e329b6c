"""Person, Group, Address: who can be told, and where."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class AddressState(StrEnum):
    """What we know of an address. Only OK is sent to; UNVERIFIED gets nothing but its verification."""

    UNVERIFIED = "unverified"
    OK = "ok"
    PAUSED = "paused"
    BOUNCING = "bouncing"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One place where an agent can reach a person. `value` has the agent's own syntax, as its `check_address` gives it back."""

    address_id: int
    person_id: int
    agent: str
    value: str
    state: AddressState = AddressState.UNVERIFIED
    is_default: bool = False
    origin: str = "user"
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who can be told; a group with an address of its own is one, too. `time_zone` is an IANA name; `language` a BCP 47 tag."""

    person_id: int
    login: str
    name: str = ""
    time_zone: str = "UTC"
    language: str = "en"
    is_active: bool = True
    is_admin: bool = False

    @property
    def group(self) -> str | None:
        """The name of the group that this principal stands for, None for somebody of flesh and blood."""
        return self.login[6:] if self.login.startswith("group:") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A named set of people, with addresses of its own or without; they belong to the principal `group:<name>`."""

    group_id: int
    name: str
    title: str = ""
    members: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()

    @property
    def principal(self) -> str:
        """How messages, roles and the store name it."""
        return f"group:{self.name}"
