"""The description of the API as people read it: operations by room, their parameters, bodies and answers, and a line of curl for each. Pure."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from angelia.wire.problems import PROBLEMS

Document = Mapping[str, Any]
METHODS = ("get", "head", "post", "put", "patch", "delete")
_DEEPEST = 4
_PLACE = re.compile(r"\{(\w+)\}")
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Field:
    """One value: a parameter (`where` is path, query or header) or a field of a body, with its name in dots and its kind in words."""

    name: str
    kind: str
    is_required: bool = False
    text: str = ""
    default: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """A body of one media type: what it is, and its fields, as far as it has any."""

    media: str
    kind: str
    fields: Sequence[Field] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the answers to an operation."""

    status: str
    text: str
    contents: Sequence[Content] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does. `anchor` names it within its room."""

    room: str
    anchor: str
    method: str
    path: str
    text: str
    needs_token: bool
    parameters: Sequence[Field]
    bodies: Sequence[Content]
    answers: Sequence[Answer]
    curl: str


@dataclass(frozen=True, slots=True)
class Reference:
    """All operations by room, in the order in which the rooms come."""

    version: str
    rooms: Mapping[str, Sequence[Operation]]
    problems: Sequence[tuple[int, str, str]] = PROBLEMS


def reference_of(document: Document, base_url: str) -> Reference:
    """From an OpenAPI document (3.1)."""
    rooms: dict[str, list[Operation]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                made = _operation(document, base_url, path, method, operations[method])
                rooms.setdefault(made.room, []).append(made)
    return Reference(document["info"]["version"], rooms)


def _operation(document: Document, base_url: str, path: str, method: str, said: Document) -> Operation:
    parameters = [_parameter(document, one) for one in said.get("parameters", ())]
    body = said.get("requestBody", {}).get("content", {})
    needs_token = any(said.get("security", ()))
    return Operation(
        room=(said.get("tags") or ["others"])[0],
        anchor=f"{method}-{re.sub(r'[^a-z0-9]+', '-', path.lower()).strip('-')}",
        method=method.upper(),
        path=path,
        text=said.get("description") or said.get("summary", ""),
        needs_token=needs_token,
        parameters=parameters,
        bodies=[_content(document, media, content) for media, content in body.items()],
        answers=[_answer(document, status, answer) for status, answer in sorted(said["responses"].items())],
        curl=_curl(document, base_url + path, method, parameters, body, needs_token=needs_token),
    )


def _parameter(document: Document, said: Document) -> Field:
    schema = said.get("schema", {})
    return Field(
        name=said["name"],
        kind=kind_of(document, schema),
        is_required=said.get("required", False),
        text=said.get("description") or schema.get("description", ""),
        default=_default(schema),
        where=said["in"],
    )


def _default(schema: Document) -> str:
    value = schema.get("default")
    return "" if value in (None, "") else json.dumps(value)


def _answer(document: Document, status: str, said: Document) -> Answer:
    contents = [_content(document, media, content) for media, content in said.get("content", {}).items()]
    return Answer(status, said.get("description", ""), contents)


def _content(document: Document, media: str, said: Document) -> Content:
    schema = said.get("schema", {})
    return Content(media, kind_of(document, schema), list(fields_of(document, schema)))


def resolved(document: Document, schema: Document) -> Document:
    """What a reference stands for."""
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def kind_of(document: Document, schema: Document) -> str:
    """In words: `list of text`, `one of a, b`, `NewPerson`, `whole number, at most 5`."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    for together in ("anyOf", "oneOf"):
        if together in schema:
            return " or ".join(dict.fromkeys(kind_of(document, one) for one in schema[together]))
    if "enum" in schema:
        return f"one of {', '.join(map(_plain, schema['enum']))}"
    if "const" in schema:
        return _plain(schema["const"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(kind_of(document, {**schema, "type": one}) for one in kind)
    if kind == "array":
        return _list_kind(document, schema)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {kind_of(document, schema['additionalProperties'])}"
    return _WORDS.get(kind, "anything") + "".join(f", {text}" for text in _bounds(schema))


_WORDS: Mapping[Any, str] = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}
_BOUNDS = (
    ("format", "as {}"),
    ("minLength", "at least {} characters"),
    ("maxLength", "at most {} characters"),
    ("minimum", "at least {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "below {}"),
    ("pattern", "like {}"),
)


def _bounds(schema: Document) -> Iterator[str]:
    for name, words in _BOUNDS:
        if name in schema and (name, schema[name]) != ("minLength", 0):
            yield words.format(schema[name])


def _list_kind(document: Document, schema: Document) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(kind_of(document, one) for one in schema['prefixItems'])}]"
    most = f", at most {schema['maxItems']}" if "maxItems" in schema else ""
    return f"list of {kind_of(document, schema.get('items', {}))}{most}"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def fields_of(document: Document, schema: Document, before: str = "", depth: int = 0) -> Iterator[Field]:
    """The fields of an object, those of objects in it after them (`sender.id`), those of a list's entries as `to[].id`, and
    those of entries that have any name as `schedules.*.every`.
    """
    schema = resolved(document, schema)
    if depth >= _DEEPEST:
        return
    for together in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(together, ()):
            yield from _once(fields_of(document, one, before, depth + 1))
    if schema.get("type") == "array":
        yield from fields_of(document, schema.get("items", {}), f"{before.rstrip('.')}[].", depth + 1)
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from fields_of(document, schema["additionalProperties"], f"{before}*.", depth + 1)
    required = schema.get("required", ())
    for name, inner in schema.get("properties", {}).items():
        yield Field(before + name, kind_of(document, inner), name in required, inner.get("description", ""), _default(inner))
        yield from fields_of(document, inner, f"{before}{name}.", depth + 1)


def _once(fields: Iterator[Field]) -> Iterator[Field]:
    yield from dict.fromkeys(fields)


def _curl(document: Document, url: str, method: str, parameters: Sequence[Field], body: Document, *, needs_token: bool) -> str:
    words = ["curl"]
    if method == "head":
        words.append("--head")
    elif method != ("post" if body else "get"):
        words += ["-X", method.upper()]
    if needs_token:
        words += ["-H", "Authorization: Bearer $TOKEN"]
    if body:
        words += _data(document, body)
    asked = "&".join(f"{one.name}={_place(one.name)}" for one in parameters if one.where == "query" and one.is_required)
    words.append(_PLACE.sub(lambda found: _place(found[1]), url) + (f"?{asked}" if asked else ""))
    return " ".join(map(_quoted, words))


def _place(name: str) -> str:
    """What stands for a value that only the reader knows."""
    return "me" if name == "login" else name.upper()


def _data(document: Document, body: Document) -> list[str]:
    media = _JSON if _JSON in body else next(iter(body))
    if media == "multipart/form-data":
        return ["-F", "file=@FILE"]
    if media.endswith("json"):
        said = json.dumps(example_of(document, body[media].get("schema", {})), ensure_ascii=False)
        return ["-H", f"Content-Type: {media}", "-d", said]
    return ["-H", f"Content-Type: {media}", "-d", "it works"]


def _quoted(word: str) -> str:
    """For a shell, in which the variable of the token is still one."""
    return f'"{word}"' if "$TOKEN" in word else shlex.quote(word)


def example_of(document: Document, schema: Document, name: str = "", depth: int = 0) -> Any:
    """The least that such a value can be: of an object what it must have."""
    schema = resolved(document, schema)
    if "examples" in schema:
        return schema["examples"][0]
    for said in ("example", "const", "default"):
        if said in schema:
            return schema[said]
    if "enum" in schema:
        return schema["enum"][0]
    for together in ("anyOf", "oneOf", "allOf"):
        if together in schema:
            return example_of(document, schema[together][0], name, depth)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        least = max(schema.get("minItems", 0), 0 if depth else 1)
        return [example_of(document, schema.get("items", {}), name, depth + 1)] * least
    if kind == "object" or "properties" in schema:
        required = schema.get("required", ()) if depth < _DEEPEST else ()
        return {one: example_of(document, schema["properties"][one], one, depth + 1) for one in required if one in schema.get("properties", {})}
    smallest: Mapping[Any, Any] = {"integer": schema.get("minimum", 0), "number": schema.get("minimum", 0), "boolean": True, "null": None}
    return smallest.get(kind, _place(name or "value"))
