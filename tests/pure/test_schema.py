"""The schemas of the documents say what the parser takes, as far as a schema can know."""

import json
import re
import tomllib
from pathlib import Path

import jsonschema_rs
import pytest

from angelia.model.errors import InvalidInput
from angelia.planning.document import _SITE_KEYS, _WANTS_KEYS, parse_site, parse_wants
from angelia.planning.rules import _RULE_KEYS
from angelia.planning.schema import document_schemas, schema_of

ROOT = Path(__file__).parents[2]
GIVEN = ROOT.parent / "shared/acceptance/preferences.jsonl"
PERSON, SITE = (jsonschema_rs.validator_for(schema_of(name)) for name in ("Preferences", "Site"))
SCENARIOS = [json.loads(line)["scenario"] for line in (GIVEN.read_text().splitlines() if GIVEN.exists() else [])]


def parses(parse, document, **more):
    try:
        parse(document, **more)
    except InvalidInput:
        return False
    return True


def test_each_key_is_there():
    schemas = document_schemas()
    assert schemas["Preferences"]["properties"].keys() == _WANTS_KEYS
    assert schemas["Site"]["properties"].keys() == _SITE_KEYS
    assert schemas["Rule"]["properties"].keys() == _RULE_KEYS
    for schema in (schema_of("Preferences"), schema_of("Site")):
        jsonschema_rs.meta.validate(schema)
        named = set(re.findall(r"#/\$defs/(\w+)", json.dumps(schema)))
        assert named | {"Preferences", "Site"} == schema["$defs"].keys()


def test_what_is_taken_everywhere_is_valid():
    persons = [{key: value for key, value in user.items() if key in _WANTS_KEYS} for one in SCENARIOS for user in one["users"]]
    mine, of_site = (tomllib.loads(text) for text in re.findall(r"```toml\n(.*?)```", (ROOT / "docs/reference/documents.md").read_text(), re.S))
    for document in (*persons, mine):
        assert parses(parse_wants, document, known_schedules=None)
        assert not list(PERSON.iter_errors(document)), document
    for document in (*(one["site"] for one in SCENARIOS), of_site):
        assert parses(parse_site, document)
        assert not list(SITE.iter_errors(document)), document


BAD = [
    {"preference": {}},
    {"preferences": {"*": {"mail": 5}}},
    {"preferences": {"*": {":x": "now"}}},
    {"preferences": {"*": {"mail": {"when": "now", "from": "x"}}}},
    {"preferences": {"*": {"mail": {"when": "now", "form": "long"}}}},
    {"preferences": {"a" * 129: {}}},
    {"rules": {}},
    {"rules": [{"tipe": "a"}]},
    {"rules": [{"final": "yes"}]},
    {"rules": [{"min_severity": "grave"}]},
    {"rules": [{"when": {"a": {"is": "b"}}}]},
    {"rules": [{"when": {"a": {"not": ["b"], "oneof": ["c"]}}}]},
    {"rules": [{"when": {"a": []}}]},
    {"mutes": {"o": "loud"}},
    {"mutes": {"o": {"level": "normal", "till": ""}}},
    {"hold": {"since": "2026-12-01T00:00:00Z"}},
    {"hold": {"until": "2026-12-01T00:00:00Z", "policy": {"*": "hide"}}},
    {"quiet": {"start": "22:00"}},
    {"quiet": ["22:00"]},
    {"quiet": {"start": "22:00", "end": "07:00", "days": ["monday"]}},
    {"schedules": {"s": {"at": ["08:00"]}}},
    {"schedules": {"s": {"every": "minute"}}},
    {"schedules": {"s": {"every": "day", "at": ["8 o'clock"]}}},
    {"jobs": {"mail": {"on_end": True}}},
    {"jobs": {"mail": {"threshold": -1}}},
    {"escalate": {"*": {"after": "soon"}}},
    {"escalate": {"*": {"until": "read"}}},
    {"escalate": {"*": {"to": ["mail", "mail"]}}},
    {"fallback": ["mail", "mail"]},
    {"takes_tests": 1},
    {"paused": "mail"},
    {"groups": {"qa": "mail"}},
]


@pytest.mark.parametrize("document", BAD, ids=str)
def test_what_is_refused_is_not_valid(document):
    assert not parses(parse_wants, document, known_schedules=None)
    assert not PERSON.is_valid(document)


@pytest.mark.parametrize(
    "document",
    [{"follows": []}, {"hourly_cap": 0}, {"audience": {"a": "maintainer"}}, {"locks": []}, {"presets": {"p": {"rules": []}}}, {"pull": None}],
    ids=str,
)
def test_what_is_refused_of_a_site(document):
    assert not parses(parse_site, document)
    assert not SITE.is_valid(document)
