"""The form of one rule: from a stored rule, from a message, from what was typed; and back into a rule. What was typed is kept, right or wrong."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from angelia.model.errors import InvalidInput
from angelia.model.message import Message
from angelia.model.moments import public_id
from angelia.model.preference import ANY_TYPE, ConditionKind
from angelia.planning.rules import MAX_VALUES

KINDS = tuple(kind.value for kind in ConditionKind)
BLANK_ROWS = 2
MOST_ROWS = 40
_NUMBER = re.compile(r"[-+]?\d+\.\d+|\d{5,}")


@dataclass(slots=True)
class ConditionRow:
    """One test as it stands in the form: values one a line."""

    name: str = ""
    kind: str = ConditionKind.ONEOF.value
    text: str = ""

    @property
    def values(self) -> list[str]:
        """The values, without empty lines."""
        return [line.strip() for line in self.text.splitlines() if line.strip()]


@dataclass(slots=True)
class RuleFields:
    """All of the form. `wishes` is by target, `mail` or `mail:alice@example.org`: when and form."""

    name: str = ""
    type: str = ""
    role: str = ""
    severity: str = "low"
    includes_own: bool = False
    is_final: bool = True
    is_enabled: bool = True
    is_first: bool = False
    origin: str = ""
    note: str = ""
    conditions: list[ConditionRow] = field(default_factory=list)
    wishes: dict[str, tuple[str, str]] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """The rule as it stands in a document; what is usual is left out. InvalidInput where two rows speak of one name."""
        said: dict[str, Any] = {"type": self.type.strip().lower() or ANY_TYPE}
        if self.name.strip():
            said["name"] = self.name.strip()
        if self.conditions_said:
            said["when"] = self._when()
        if self.role.strip():
            said["role"] = self.role.strip()
        if self.severity != "low":
            said["min_severity"] = self.severity
        said |= {"include_own": True} if self.includes_own else {}
        said |= {"final": self.is_final, "enabled": self.is_enabled}
        said["do"] = {target: {"when": when, "form": form} if form else when for target, (when, form) in self.wishes.items() if when}
        if self.origin:
            said["origin"] = self.origin
        if self.note.strip():
            said["note"] = self.note.strip()
        return said

    @property
    def conditions_said(self) -> list[ConditionRow]:
        """Those with anything in them."""
        return [row for row in self.conditions if row.name.strip() or row.values]

    def _when(self) -> dict[str, Any]:
        when: dict[str, Any] = {}
        for row in self.conditions_said:
            name = row.name.strip()
            if not name:
                raise InvalidInput("say what these values are of: a parameter, a tag, or a field of the message", "when.")
            if name in when:
                raise InvalidInput("there is one condition for each name; put its values into one row", f"when.{name}")
            if not row.values:
                raise InvalidInput("say at least one value, or empty the name", f"when.{name}")
            when[name] = row.values if row.kind == ConditionKind.ONEOF else {row.kind: row.values}
        return when

    def with_blank_rows(self, count: int = BLANK_ROWS) -> "RuleFields":
        """The same with empty rows below, for one more condition."""
        self.conditions = self.conditions_said
        self.conditions += [ConditionRow() for _ in range(min(count, MOST_ROWS - len(self.conditions)))]
        return self


def fields_of_rule(rule: Mapping[str, Any]) -> RuleFields:
    """The form of a stored rule; whatever can't be read in it is left out or shown as text."""
    when, wishes = rule.get("when"), rule.get("do")
    return RuleFields(
        name=str(rule.get("name", "")),
        type="" if rule.get("type", ANY_TYPE) == ANY_TYPE else str(rule["type"]),
        role=str(rule.get("role") or ""),
        severity=str(rule.get("min_severity", "low")),
        includes_own=rule.get("include_own") is True,
        is_final=rule.get("final") is not False,
        is_enabled=rule.get("enabled") is not False,
        origin=str(rule.get("origin", "")),
        note=str(rule.get("note", "")),
        conditions=[_row(str(name), test) for name, test in when.items()] if isinstance(when, Mapping) else [],
        wishes={str(target): _wish(wish) for target, wish in wishes.items()} if isinstance(wishes, Mapping) else {},
    )


def _row(name: str, test: object) -> ConditionRow:
    kind: object = ConditionKind.ONEOF.value
    if isinstance(test, Mapping) and len(test) == 1:
        ((kind, test),) = test.items()
    values = test if isinstance(test, list | tuple) else [test]
    return ConditionRow(name, str(kind), "\n".join(map(str, values)))


def _wish(wish: object) -> tuple[str, str]:
    if isinstance(wish, Mapping):
        return str(wish.get("when", "now")), str(wish.get("form", ""))
    return str(wish), ""


def fields_of_message(message: Message) -> RuleFields:
    """A first rule for messages like this one: its type, and each of its parameters as a condition; she takes away what she does not mean.

    Measured numbers (times, sizes) and what names this one thing are left out: they will hardly come again.
    """
    own = {message.object, message.thread, public_id("msg", message.message_id)} - {""}
    rows = [
        ConditionRow(name, ConditionKind.ONEOF.value, value if isinstance(value, str) else "\n".join(value))
        for name, value in list(message.params.items())[: MOST_ROWS - BLANK_ROWS]
        if value and len(value) <= MAX_VALUES and not (isinstance(value, str) and (value in own or _NUMBER.fullmatch(value)))
    ]
    if not rows and message.object:
        rows = [ConditionRow("message.object", ConditionKind.ONEOF.value, message.object)]
    return RuleFields(type=message.type, conditions=rows)


def fields_of_form(form: Mapping[str, Any]) -> RuleFields:
    """What was typed. Names: type, role, ..., name-0, kind-0, values-0 for conditions, when:<target> and form:<target> for what to do."""
    said = {name: value for name, value in form.items() if isinstance(value, str)}
    targets = [name[5:] for name in said if name.startswith("when:")]
    rows = [_typed_row(said, index) for index in range(MOST_ROWS) if f"name-{index}" in said]
    return RuleFields(
        name=said.get("name", ""),
        type=said.get("type", ""),
        role=said.get("role", ""),
        severity=said.get("severity", "low"),
        includes_own="includes_own" in said,
        is_final=said.get("final", "yes") == "yes",
        is_enabled="enabled" in said,
        is_first=said.get("position") == "first",
        origin=said.get("origin", ""),
        note=said.get("note", ""),
        conditions=rows,
        wishes={target: (said[f"when:{target}"], said.get(f"form:{target}", "")) for target in targets},
    )


def _typed_row(said: Mapping[str, str], index: int) -> ConditionRow:
    return ConditionRow(said[f"name-{index}"], said.get(f"kind-{index}", KINDS[0]), said.get(f"values-{index}", ""))


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong and where: a field of the form (`type`, `when.project`, `do.mail`), or "" for the whole."""

    field: str
    text: str

    def is_at(self, *fields: str) -> bool:
        """Is it told at one of these fields?"""
        return self.field in fields


def fault_of(error: InvalidInput) -> Fault:
    """Where in the form an error of the document belongs; `rule.` and `rules.4.` before it are no part of a name in the form."""
    place = error.field.removeprefix("rule.").lstrip(".")
    head, _, rest = place.partition(".")
    if head == "rules" and rest:
        return Fault("", f"another rule can't be read, so nothing is saved: {rest}: {error}")
    if head in ("when", "do"):
        return Fault(place, str(error))
    return Fault(head if head in _FIELDS else "", str(error))


_FIELDS = frozenset({"name", "type", "role", "min_severity", "include_own", "final", "enabled", "note"})


def targets_for(agents: Iterable[str], addresses: Mapping[str, Sequence[str]], fields: RuleFields) -> list[str]:
    """What the form asks about: each agent, and each of her addresses where she has several; and whatever the rule already speaks of."""
    targets: list[str] = []
    for agent in agents:
        targets.append(agent)
        own = addresses.get(agent, ())
        targets += [f"{agent}:{value}" for value in own] if len(own) > 1 else []
    return targets + [target for target in fields.wishes if target not in targets]
