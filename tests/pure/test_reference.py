"""The description of the API as people read it: whatever a schema says comes out in words, and each example is one that a shell can run."""

import json
import shlex

import pytest

from angelia.web.paging import next_of
from angelia.web.reference import example_of, fields_of, kind_of, reference_of

SCHEMAS = {
    "Person": {
        "type": "object",
        "required": ["login"],
        "properties": {"login": {"type": "string", "maxLength": 9}, "age": {"type": "integer", "default": 5}},
    },
    "Tree": {"type": "object", "properties": {"leaves": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}},
}
DOCUMENT = {"info": {"version": "1"}, "components": {"schemas": SCHEMAS}, "paths": {}}
PERSON = {"$ref": "#/components/schemas/Person"}


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"}, "text, at least 1 characters, at most 9 characters, like ^a"),
        ({"type": "integer", "minimum": 0, "maximum": 5}, "whole number, at least 0, at most 5"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 3}, "list of text, at most 3"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "boolean"}]}, "[text, true or false]"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"type": ["string", "null"]}, "text or null"),
        ({"enum": ["a", "", 5]}, 'one of a, "", 5'),
        ({"const": "x"}, "x"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        (PERSON, "Person"),
        ({}, "anything"),
    ],
)
def test_kinds(schema, words):
    assert kind_of(DOCUMENT, schema) == words


def test_fields_of_what_lies_deeper():
    nested = {
        "type": "object",
        "required": ["who"],
        "properties": {"who": PERSON, "others": {"anyOf": [{"type": "array", "items": PERSON}, {"type": "null"}]}},
    }
    found = {field.name: field for field in fields_of(DOCUMENT, nested)}
    assert list(found) == ["who", "who.login", "who.age", "others", "others[].login", "others[].age"]
    assert found["who.login"].is_required and found["who.age"].default == "5" and not found["others"].is_required
    named = {"type": "object", "properties": {"people": {"type": "object", "additionalProperties": PERSON}}}
    assert [field.name for field in fields_of(DOCUMENT, named)] == ["people", "people.*.login", "people.*.age"]
    # What holds itself comes to an end.
    assert len(list(fields_of(DOCUMENT, {"$ref": "#/components/schemas/Tree"}))) < 10


def test_examples():
    assert example_of(DOCUMENT, PERSON) == {"login": "me"}
    assert example_of(DOCUMENT, {"type": "object", "examples": [{"a": 1}, {"b": 2}]}) == {"a": 1}
    assert example_of(DOCUMENT, {"anyOf": [{"type": "array", "items": PERSON}]})[0].keys() == {"login"}
    assert example_of(DOCUMENT, {"enum": ["read", "unread"]}) == "read"


def test_a_line_of_curl():
    operation = {
        "tags": ["people"], "security": [{"token": []}], "description": "It's here.", "parameters": [
            {"name": "login", "in": "path", "required": True, "schema": {"type": "string"}}, {"name": "of", "in": "query", "required": True, "schema": {}},
            {"name": "limit", "in": "query", "schema": {}},
        ],
        "requestBody": {"content": {"application/json": {"schema": PERSON}}}, "responses": {"200": {"description": "Done"}},
    }  # fmt: skip
    document = DOCUMENT | {"paths": {"/api/v1/people/{login}": {"put": operation, "head": {"responses": {}}}}}
    api = reference_of(document, "https://hub.example")
    (one,) = api.rooms["people"]
    words = shlex.split(one.curl)
    assert words[:5] == ["curl", "-X", "PUT", "-H", "Authorization: Bearer $TOKEN"] and '"Authorization: Bearer $TOKEN"' in one.curl
    assert json.loads(words[words.index("-d") + 1]).keys() == {"login"}
    assert words[-1] == "https://hub.example/api/v1/people/me?of=OF"
    (other,) = api.rooms["others"]
    assert not other.needs_token and other.curl == "curl --head https://hub.example/api/v1/people/me"


@pytest.mark.parametrize(
    ("body", "following"),
    [
        (b'{"items":[],"next":"msg_1"}', "msg_1"), (b'{"items":[],"next":7}', 7), (b'{"items":[],"next":null}', None), (b'{"items":[]}', None), (b"", None),
        (b'{"params":{"next":"x"}}', None), (b'{"next":"x","items":[]}', None), (b'{"items":[{"next":"x"}],"total":3}', None), (b'["\\"next\\":5"]', None),
        (b'{"text":"\\"next\\":5"}', None), (b'{"items":["' + b"x" * 9_000 + b'"],"next":"a\\"b"}', 'a"b'),
    ],
)  # fmt: skip
def test_where_an_answer_goes_on(body, following):
    assert next_of(body) == following
