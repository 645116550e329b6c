"""The JSON schema of a request for a product: what the native API tells, and what a form is built from."""

from collections.abc import Mapping
from typing import Any

from angelia.model.declaration import NUMBERS, Declaration, Parameter, ParameterKind
from angelia.model.errors import NotFound

_TEXT = {"type": "string"}
_TYPES: Mapping[ParameterKind, Mapping[str, Any]] = {
    ParameterKind.INTEGER: {"type": "integer"},
    ParameterKind.STRING: _TEXT,
    ParameterKind.BOOLEAN: {"type": "boolean"},
    ParameterKind.FILE: _TEXT,
    ParameterKind.TIME: {"type": ["string", "number"]},
    ParameterKind.CATALOGUE: {"type": ["object", "array", "string"]},
    ParameterKind.PRODUCT_LIST: {"type": "array", "items": {"type": "string"}},
    ParameterKind.STRUCTURED: {},
}


def schema_of(declaration: Declaration, product: str) -> dict[str, Any]:
    """JSON schema (2020-12) of the values that a caller may give for a product, in the parameters' own units.

    What it lets pass is what `checked` takes, but for times, which only that reads. `x-unit`, `x-kind` and `x-group` are for forms. NotFound
    for a product that there is not.
    """
    found = declaration.product(product)
    if found is None:
        raise NotFound(f"{declaration.name} has no product {product[:100]}")
    parameters = declaration.parameters_of(found)
    properties = {parameter.name: _property(parameter) for parameter in parameters}
    properties |= {parameter.unit_name: {**_TEXT, "default": parameter.in_unit} for parameter in parameters if parameter.unit_name}
    schema: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": found.title or found.name,
        "type": "object",
        "properties": properties,
        "required": [parameter.name for parameter in parameters if parameter.default is None and not parameter.is_optional],
        "additionalProperties": False,
    }
    return schema | ({"description": found.help} if found.help else {})


def _property(parameter: Parameter) -> dict[str, Any]:
    rule: dict[str, Any] = dict(_TYPES.get(parameter.kind, {"type": "number"}))
    if parameter.kind is ParameterKind.STRUCTURED and parameter.schema is not None:
        rule = dict(parameter.schema)
    if parameter.kind in NUMBERS:
        rule |= {key: value for key, value in (("minimum", parameter.minimum), ("maximum", parameter.maximum)) if value is not None}
    if parameter.allowed:
        rule["enum"] = list(parameter.allowed)
    if parameter.is_optional:
        rule = {"anyOf": [rule, {"type": "null"}]}
    described = {
        "title": parameter.label or parameter.name,
        "description": parameter.help,
        "x-kind": parameter.kind.value,
        "x-unit": parameter.in_unit,
        "x-group": parameter.group,
    }
    rule |= {key: value for key, value in described.items() if value}
    if parameter.default is not None or parameter.is_optional:
        rule["default"] = parameter.default
    return rule
