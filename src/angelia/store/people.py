"""People: profiles, wants, rules, addresses, groups, relations."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from angelia.model.person import Address, AddressState, Group, Person
from angelia.store.document import Document


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """A person with her document and what reaches her."""

    person: Person
    document: Document
    version: int
    addresses: tuple[Address, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What the candidate index holds of one rule that makes candidates: its pattern and one literal condition, ("", "") for none."""

    person_id: int
    pattern: str
    name: str = ""
    value: str = ""


class PersonStore(Protocol):
    """People, what they want, where they are reached."""

    async def put_person(self, person: Person) -> Person:
        """Create (person_id 0) or change by id. A login that is taken is a Conflict."""

    async def change_person(self, person_id: int, changes: Mapping[str, str | bool]) -> Person:
        """Change these fields (`name`, `time_zone`, `language`, `is_active`, `is_admin`) and no other, whoever changes those at the same time.

        NotFound where there is no such person.
        """

    async def person(self, login: str) -> Person | None:
        """By login; `group:<name>` is a group's principal."""

    async def list_people(self, after_login: str = "", limit: int = 100) -> list[Person]:
        """By login, without the principals of groups and of the public."""

    async def has_admin_beside(self, person_id: int) -> bool:
        """Is there an active administrator other than her?"""

    async def person_ids(self, logins: Collection[str]) -> dict[str, int]:
        """Those that exist."""

    async def profiles(self, person_ids: Collection[int]) -> list[ProfileRow]:
        """What the planner needs of them, in one read."""

    async def names_of(self, person_id: int) -> frozenset[str]:
        """Her login, and her groups as `group:<name>`; nothing where there is no such person."""

    async def people_changed_since(self, sequence: int) -> tuple[int, list[int]]:
        """The newest change number, and who changed after `sequence` (person, document, address, membership). With -1: the number and nobody."""

    async def wants(self, login: str) -> tuple[Document, int]:
        """Her document and its version (0 and empty if she never said anything); NotFound for nobody."""

    async def put_wants(
        self, login: str, document: Document, *, follows: Collection[str], rules: Collection[RuleRow], expected_version: int | None = None
    ) -> int:
        """Replace her document; the new version. Conflict if `expected_version` is not the stored one. `follows` and `rules` are what the
        candidate look-ups find (person_id in `rules` is ignored).
        """

    async def previous_wants(self, login: str) -> tuple[Document, int]:
        """Her document as it was before the last change, and the version that is now; the empty one before the first. NotFound for nobody."""

    async def followers(self, ref: str, after_person_id: int = 0, limit: int = 10_000) -> list[int]:
        """Who follows an object, by person id."""

    async def followed(self, refs: Collection[str]) -> frozenset[str]:
        """Those of the objects that anybody follows."""

    def rule_rows(self, person_ids: Collection[int] | None = None) -> AsyncIterator[Sequence[RuleRow]]:
        """All rule rows (or those of some), in chunks."""

    async def user_types(self, person_id: int) -> list[tuple[str, datetime, datetime, int]]:
        """The types of which she ever was a candidate: key, first and last seen, count."""

    # addresses
    async def add_address(self, address: Address) -> Address:
        """A new one gets its id; the same agent and value of the same person is a Conflict."""

    async def addresses(self, person_id: int) -> list[Address]:
        """Hers, by id."""

    async def address(self, address_id: int) -> Address | None:
        """By id."""

    async def set_address(
        self, address_id: int, *, state: AddressState | None = None, is_default: bool | None = None, now: datetime
    ) -> Address | None:
        """Change state or default; the new value. OK sets verified_at the first time; one default a person and agent."""

    async def move_address(self, address_id: int, value: str) -> bool:
        """The same place has another address now; its state stays. False where it is gone, or she has that one as well."""

    async def delete_address(self, person_id: int, address_id: int) -> bool:
        """False if it was not hers."""

    async def put_code(self, address_id: int, code_hash: str, expires_at: datetime) -> None:
        """The hash of a verification code."""

    async def try_code(self, address_id: int, code_hash: str, now: datetime) -> bool:
        """True once for the right code, in time, within 5 tries."""

    async def codes_sent(self, agent: str, value: str, since: datetime) -> int:
        """How many verification codes went to this place, over all people (checklist S32)."""

    # groups and relations
    async def put_group(self, group: Group, vouched: Collection[Address] | None = None) -> Group:
        """Create or replace by name, members included; logins that don't exist are NotFound. Its principal `group:<name>` (a person of
        that login) comes with it. `vouched` replaces its addresses, all verified by whoever puts them; None leaves them as they are.
        """

    async def group(self, name: str) -> Group | None:
        """By name."""

    async def list_groups(self) -> list[Group]:
        """By name."""

    async def delete_group(self, name: str) -> bool:
        """False if there was none. Its principal becomes inactive and loses its addresses."""

    async def group_members(self, names: Collection[str]) -> dict[str, frozenset[int]]:
        """Person ids by group; unknown groups are left out."""

    async def put_relations(self, ref: str, relations: Mapping[str, Collection[str]]) -> None:
        """Replace the roles on an object: role -> logins and `group:<name>`; an empty mapping removes it."""

    async def relations(self, ref: str) -> dict[str, frozenset[str]]:
        """Role -> logins and `group:<name>`, as put."""

    async def roles_of(self, person_id: int) -> dict[str, frozenset[str]]:
        """Object -> roles, for all objects on which she has one, herself or through a group."""

    async def related_ids(self, ref: str) -> dict[str, frozenset[int]]:
        """Role -> person ids, groups expanded."""
