"""JSON Schemas of the documents (2020-12): for the description of the API, and for editors that complete and check as one types.

What a schema can't know is found when a document is stored: whether agents and schedules are there, and whether an expression is one of RE2.
"""

from collections.abc import Mapping
from typing import Any

from angelia.model.message import TYPE_LENGTH
from angelia.planning.document import MAX_STEPS
from angelia.planning.matching import FIELDS
from angelia.planning.rules import MAX_RULES, MAX_SCOPES, MAX_VALUES

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: Schema = {"type": "string", "maxLength": 1_024}
_FLAG: Schema = {"type": "boolean"}
_SEVERITY: Schema = {"enum": ["low", "normal", "high", "urgent"]}
_LENGTH: Schema = {"type": "string", "pattern": "^[1-9][0-9]{0,4}[mhd]$"}
_CLOCK: Schema = {"type": "string", "pattern": "^[0-9]{1,2}:[0-9]{1,2}$"}
_MOMENT: Schema = {"type": "string", "description": "with its zone: 2026-12-24T08:00:00+01:00"}
_DAY: Schema = {"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
_SCOPE: Schema = {"maxLength": TYPE_LENGTH, "description": "a type with all below it, or *"}


def document_schemas(references: str = "#/$defs/{model}") -> Mapping[str, Schema]:
    """The schemas by name; `references` is how one names another. `Preferences` and `Site` are the documents."""

    def ref(name: str) -> Schema:
        return {"$ref": references.format(model=name)}

    wishes, names = ref("Wishes"), _list(_TEXT)
    shared = {
        "preferences": _said(_by_scope(wishes) | {"maxProperties": MAX_SCOPES}, "Wishes by type, the nearest speaks"),
        "schedules": _said(_by_name(ref("Schedule")), "When what is held goes"),
        "jobs": _said(_by_name(ref("JobNews")), "By agent: what is told of jobs"),
        "escalate": _said(_by_scope(ref("Escalation")), "By type: how a message goes on while nobody answers"),
    }
    order = _said(_list(_TEXT, maxItems=MAX_STEPS, uniqueItems=True), "Agents in the order in which they stand in for one that failed")
    chained: Schema = {"$ref": references.format(model="Rule")}
    return {
        "Preferences": _table(
            {
                **shared,
                "unknown": _said(wishes, "For what nobody says anything of by type"),
                "rules": _said(_list(chained, maxItems=MAX_RULES), "From top to bottom, to the first final one that matches"),
                "mutes": _said(_by_name(ref("Mute")), "By object, or by a prefix that ends in /"),
                "follows": _said(names, "Objects, or prefixes that end in /, of which she hears all that she may see"),
                "paused": _said(names, "Agents that are silent until they are taken out"),
                "groups": _said(_by_name(names), "By group: the agents by which she takes what comes through it alone"),
                "hold": _or_null(ref("Absence")),
                "quiet": _or_null(ref("QuietHours")),
                "takes_tests": _said(_FLAG, "Does she want to see test messages?"),
                "jobs_by_token": _said(_by_name(ref("JobNews")), "As a token of hers says; `jobs` goes first"),
                "fallback": _or_null(order),
            },
            "What a person wants",
        )
        | {"examples": [{"preferences": {"*": {"mail": "daily"}}}]},
        "Site": _table(
            {
                **shared,
                "audience": _said(_by_scope(names), "By type: roles on a message's object whose holders it concerns"),
                "locks": _said(_by_scope(names), "By type: agents that tell it at once, whatever a person wishes"),
                "presets": _said(_by_name(ref("Preset")), "Rules that people can tick"),
                "interruptive": _said(names, "Agents that wait for the end of quiet hours"),
                "pull": _said(names, "Agents whose messages wait until somebody looks"),
                "digest_schedule": _said(_TEXT, "The schedule of digests that a poster wished"),
                "hourly_cap": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 30},
                "fallback": order,
                "last_resort": _said(names, "Logins and group:<name> who are told when an escalation is over"),
            },
            "What holds for all who say nothing themselves",
        )
        | {"examples": [{"preferences": {"*": {"web": "now"}}}]},
        "Wishes": _said(
            _by_name(ref("Wish")) | {"propertyNames": {"pattern": "^[^:]+(:.+)?$"}},
            "By agent (mail), or by an address of it (mail:name@example.org)",
        ),
        "Wish": {
            "description": "off, now, or the name of a schedule; or a table that says the form, too",
            "anyOf": [_TEXT, _table({"when": _TEXT | {"default": "now"}, "form": {"enum": ["", "full", "short"]}})],
        },
        "Rule": _table(
            {
                "id": _said(_TEXT, "A name that no other rule has; else its place"),
                "name": _TEXT,
                "note": _TEXT,
                "type": _said(_TEXT, "A type with all below it, or a pattern: * is one part, # any number") | {"default": "*"},
                "when": _said(
                    _by_name(ref("Test")) | {"propertyNames": {"pattern": f"^(?!message\\.)|^({'|'.join(FIELDS).replace('.', chr(92) + '.')})$"}},
                    f"Tests on parameters, tags (tag.arch) and {', '.join(FIELDS)}; all must hold",
                ),
                "role": _or_null(_said(_TEXT, "Her role on the object")),
                "min_severity": _SEVERITY,
                "include_own": _FLAG | {"default": False},
                "final": _said(_FLAG, "Is nothing below it asked any more?") | {"default": True},
                "enabled": _FLAG | {"default": True},
                "do": wishes,
                "origin": _TEXT,
            },
            "What matches it is treated so",
        )
        | {"examples": [{"type": "obs.build.fail", "role": "maintainer", "do": {"mail": "now"}}]},
        "Test": {
            "description": "One value, several of which one is enough, or an operator with values",
            "anyOf": [
                *_VALUES,
                {
                    "type": "object",
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                    "properties": {name: {"anyOf": _VALUES} for name in ("oneof", "not", "contains", "regexp")},
                },
            ],
        },
        "Mute": {
            "description": "normal lets through what names her, full nothing but locks",
            "anyOf": [_LEVEL, _table({"level": _LEVEL, "until": _or_null(_MOMENT)})],
        },
        "QuietHours": {
            "anyOf": [
                _table({"start": _CLOCK, "end": _CLOCK, "days": _or_null(_list(_DAY))}, required=["start", "end"]),
                _list(_CLOCK, minItems=2, maxItems=2),
            ]
        },
        "Absence": _table(
            {
                "until": _MOMENT,
                "since": _or_null(_MOMENT),
                "policy": _said(_by_scope({"enum": ["keep", "drop", "pass"]}), "By type, the nearest speaks"),
                "pass_from": _or_null(_SEVERITY | {"default": "urgent"}),
                "note": _TEXT,
            },
            required=["until"],
        ),
        "Schedule": _table(
            {
                "every": {"enum": ["hour", "day", "week", "month"]},
                "at": _said(_list(_CLOCK, maxItems=24), "Local times"),
                "on": _list({"anyOf": [_DAY, {"type": "integer", "minimum": 1, "maximum": 31}]}, maxItems=31),
            },
            required=["every"],
        ),
        "JobNews": _table(
            {
                **dict.fromkeys(("on_submit", "on_progress", "on_done", "on_failure"), _FLAG),
                "is_end_timed": _said(_FLAG, "Is a good end told at all?"),
                "interval": _said(_SECONDS, "Seconds between two words"),
                "threshold": _said(_SECONDS, "Seconds above which an end is told"),
            }
        ),
        "Escalation": _table(
            {
                "after": _said(_LENGTH, "How long each step waits, 1m to 7d") | {"default": "10m"},
                "to": _said(_list(_TEXT, maxItems=MAX_STEPS, uniqueItems=True), "Agents, person:<login>, group:<name>"),
                "severity": _SEVERITY | {"default": "urgent"},
                "until": {"enum": ["acknowledged", "seen"], "default": "acknowledged"},
                "by_anybody": _FLAG | {"default": True},
            }
        ),
        "Preset": _table({"title": _TEXT, "explanation": _TEXT, "group": _TEXT, "rule": ref("Rule")}),
    }


def schema_of(name: str) -> Schema:
    """The schema of one document, whole; `name` is Preferences or Site."""
    return {"$schema": DIALECT, "$ref": f"#/$defs/{name}", "$defs": dict(document_schemas())}


def _said(schema: Schema, description: str) -> Schema:
    return schema | {"description": description}


def _list(items: Schema, **bounds: object) -> Schema:
    return {"type": "array", "items": items, **bounds}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _table(properties: Mapping[str, Schema], description: str = "", required: list[str] | None = None) -> Schema:
    made: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return made | ({"description": description} if description else {}) | ({"required": required} if required else {})


def _by_name(inner: Schema) -> Schema:
    return {"type": "object", "additionalProperties": inner}


def _by_scope(inner: Schema) -> Schema:
    return {"type": "object", "propertyNames": _SCOPE, "additionalProperties": inner}


_LEVEL: Schema = {"enum": ["normal", "full"]}
_SECONDS: Schema = {"type": "number", "minimum": 0, "maximum": 31_536_000}
_VALUES: list[Schema] = [_TEXT, _list(_TEXT, minItems=1, maxItems=MAX_VALUES)]
