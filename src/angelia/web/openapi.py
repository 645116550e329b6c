"""The description of the API (OpenAPI 3.1): what the framework knows, and what it can't: errors, credentials, the hot inlets before it."""

from typing import Any

from fastapi import APIRouter, FastAPI

from angelia.planning.schema import document_schemas
from angelia.wire.fields import message_schema
from angelia.wire.transitions import MOST_IN_BATCH, transition_schemas

_TEXT = {"type": "string"}
_PROBLEM = {
    "title": "Problem",
    "description": "What is wrong (RFC 9457); `errors` names the field.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "errors": {
            "type": "array",
            "items": {"type": "object", "required": ["field", "detail"], "properties": {"field": _TEXT, "detail": _TEXT}},
        },
    },
}
_PROBLEM_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request can't be used, or not by this caller", "content": _PROBLEM_CONTENT},
    "5XX": {"description": "Something is wrong on our side, or must wait", "content": _PROBLEM_CONTENT},
}
"""For every route."""
_SEEN_BY_PEOPLE = ("/unsubscribe/", "/feeds/", "/topics/")
"""What is opened from mails and readers: there an error is a page."""
_RECEIPT = {
    "title": "Receipt",
    "type": "object",
    "required": ["id", "status"],
    "properties": {"id": _TEXT, "status": {"enum": ["accepted", "repeat", "conflict"]}},
}
_RECEIPTS = {
    "title": "Receipts",
    "type": "object",
    "required": ["items"],
    "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Receipt"}}},
}
_TAKEN = {
    "title": "TakenTransition",
    "type": "object",
    "required": ["id", "status", "experiment"],
    "properties": {
        "id": _TEXT,
        "status": {"enum": ["accepted", "repeat"]},
        "experiment": {"type": ["string", "null"], "description": "id of the experiment that it belongs to"},
        "state": {"type": "string", "description": "state of the experiment now"},
        "key": {"type": "string", "description": "routing key of a new experiment: a secret of its users"},
    },
}
_TAKEN_MANY = {
    "title": "TakenTransitions",
    "type": "object",
    "required": ["items"],
    "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/TakenTransition"}}},
}
_MESSAGE = {"$ref": "#/components/schemas/Message"}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key from the same source is the same message",
    "schema": {"type": "string", "maxLength": 255, "pattern": "^[!-~]+$"},
}
_DOCUMENTS = (
    ("put", "/api/v1/people/{login}/preferences", "Preferences"),
    ("post", "/api/v1/people/{login}/preferences/plan", "Preferences"),
    ("post", "/api/v1/people/{login}/rules", "Rule"),
    ("put", "/api/v1/people/{login}/rules/{rule_id}", "Rule"),
    ("put", "/api/v1/site", "Site"),
    ("post", "/api/v1/site/plan", "Site"),
)
"""Bodies that the framework takes for any object: they are read as documents."""
_EVENT = {"schema": {"type": "object", "description": "A CloudEvent 1.0", "required": ["specversion", "id", "source", "type"]}}


class Api(FastAPI):
    """The framework's application with the whole of its description."""

    def take(self, router: APIRouter) -> None:
        """Join the routes of a room as they are: `include_router` would make each anew at the first request, most of a second for all."""
        self.router.routes.extend(router.routes)

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            _complete(document)
            self.openapi_schema = document
        return self.openapi_schema


def _complete(document: dict[str, Any]) -> None:
    message = message_schema("#/components/schemas/{model}")
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    _say_errors(document["paths"], schemas)
    schemas |= message.pop("$defs", {}) | {"Message": message, "Problem": _PROBLEM, "Receipt": _RECEIPT, "Receipts": _RECEIPTS}
    schemas |= transition_schemas("#/components/schemas/{model}") | {"TakenTransition": _TAKEN, "TakenTransitions": _TAKEN_MANY}
    schemas |= document_schemas("#/components/schemas/{model}")
    for method, path, name in _DOCUMENTS:
        operation = document["paths"].get(path, {}).get(method)
        if operation is not None:
            operation["requestBody"]["content"]["application/json"]["schema"] = {"$ref": f"#/components/schemas/{name}"}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": "The token of a person or a source"}}
    paths = document["paths"]
    paths.setdefault("/api/v1/messages", {})["post"] = _post_messages()
    paths["/api/v1/publish/{type}"] = {"post": _publish()}
    paths["/api/v1/hooks/{name}"] = {"post": _post_hook()}
    paths["/api/v1/transitions"] = {"post": _post_transitions()}
    for path, operations in paths.items():
        if path.startswith(_SEEN_BY_PEOPLE):
            for operation in operations.values():
                for status in ("4XX", "5XX"):
                    operation["responses"][status] = {"description": ERRORS[status]["description"], "content": _PROBLEM_CONTENT | {"text/html": {}}}
        if path.startswith("/api/"):
            for operation in operations.values():
                # Whoever has the address of a ping needs nothing else.
                operation["security"] = [] if path.startswith("/api/v1/ping/") else [{"token": []}]
                _say_where_it_goes_on(operation)


_LINK = {"description": "Where the next page is (RFC 8288, rel=next), if there is one", "schema": _TEXT}


def _say_where_it_goes_on(operation: dict[str, Any]) -> None:
    if {"limit", "after"} <= (names := {one["name"] for one in operation.get("parameters", ())}) or {"limit", "before"} <= names:
        operation["responses"]["200"]["headers"] = {"Link": _LINK}


def _say_errors(paths: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Ours for every route, in place of the form of the framework, which we never send."""
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"] = {str(status): answer for status, answer in ERRORS.items()} | operation["responses"]


def _answers(kinds: list[str]) -> dict[str, Any]:
    schema = {"anyOf": [{"$ref": f"#/components/schemas/{kind}"} for kind in kinds]}
    taken = {"content": {"application/json": {"schema": schema}}}
    said = {"200": taken | {"description": "Taken before"}, "201": taken | {"description": "Durable now"}}
    return said | {str(status): answer for status, answer in ERRORS.items()}


def _post_messages() -> dict[str, Any]:
    one_or_many = {"anyOf": [_MESSAGE, {"type": "array", "items": _MESSAGE, "minItems": 1, "maxItems": 10_000}]}
    return {
        "tags": ["messages"],
        "summary": "Post Messages",
        "operationId": "post_messages",
        "description": "One message, a batch that is checked as a whole, or CloudEvents. The answer comes when it is durable. 409: a key came with "
        "another content before; in a batch where something else is new the message is a conflict in the answer.",
        "parameters": [_KEY],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": one_or_many},
                "application/cloudevents+json": _EVENT,
                "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _EVENT["schema"]}},
            },
        },
        "responses": _answers(["Receipt", "Receipts"]),
    }


def _post_hook() -> dict[str, Any]:
    counts = {"taken": "messages that came of it", "repeat": "known already", "nothing": "no message comes of these"}
    said = {name: {"type": "integer", "minimum": 0, "description": text} for name, text in counts.items()}
    return {
        "tags": ["messages"],
        "summary": "Take a Webhook",
        "operationId": "post_hook",
        "description": "What another system posts in its own form; the mapping of `[inlets.hook.<name>]` makes messages of it. Known by the token of "
        "a source, or by the secret of the hook (`X-Hub-Signature-256`, `X-Gitlab-Token`). Messages are durable when this answers.",
        "parameters": [{"name": "name", "in": "path", "required": True, "schema": _TEXT}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {}}}},
        "responses": {"200": {"description": "What came of it", "content": {"application/json": {"schema": {"type": "object", "properties": said}}}}}
        | {str(status): answer for status, answer in ERRORS.items()},
    }


def _post_transitions() -> dict[str, Any]:
    one = {"anyOf": [{"$ref": f"#/components/schemas/{kind}"} for kind in ("DetailedTransition", "SimpleTransition")]}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_IN_BATCH}
    return {
        "tags": ["experiments"],
        "summary": "Report Transitions",
        "operationId": "post_transitions",
        "description": "What happened to an experiment or a resource, or a batch of that in order, which is taken as a whole or not at all. It is "
        "durable when this answers, and published after. The same words with the same time are a repeat. 409: the experiment can't enter "
        "that state.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": [one, many]}}}},
        "responses": _answers(["TakenTransition", "TakenTransitions"]),
    }


def _publish() -> dict[str, Any]:
    return {
        "tags": ["messages"],
        "summary": "Publish",
        "operationId": "publish",
        "description": "One message in one line: its text is the body; fields come from headers (Title, To, Tags), the query, a form or JSON.",
        "parameters": [{"name": "type", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 255}}, _KEY],
        "requestBody": {
            "content": {
                "text/plain": {"schema": _TEXT},
                "application/json": {"schema": {"type": "object"}},
                "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
            }
        },
        "responses": _answers(["Receipt"]),
    }
