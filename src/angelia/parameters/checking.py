"""Checked parameters of a request: every fault of it at once, by field; and which roles its values need."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from angelia.model.declaration import NUMBERS, Declaration, DeclaredProduct, Parameter, ParameterKind, RoleRange
from angelia.model.errors import InvalidInput, NotFound
from angelia.parameters.values import UNSET, BadValue, read_value, schema_text, units, validator

_SHOWN = 100
_NEARLY = 1e-12


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field."""

    field: str
    text: str


class BadParameters(InvalidInput):
    """One or more parameters can't be used; `faults` are all of them, and `field` is the first one."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(fault.text for fault in faults), faults[0].field)
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Checked:
    """`values` of all parameters of the product, plain JSON in the units that the instrument wants; `unused` names that mean nothing to it."""

    values: dict[str, Any]
    unused: tuple[str, ...] = ()


def checked(declaration: Declaration, product: str, given: Mapping[str, Any]) -> Checked:
    """What a caller gave, with defaults for the rest. Raises BadParameters with all faults, and NotFound for a product that there is not."""
    parameters = declaration.parameters_of(_product(declaration, product))
    selectors = {parameter.unit_name: parameter for parameter in parameters if parameter.unit_name}
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for parameter in parameters:
        try:
            values[parameter.name] = _value(parameter, given)
        except BadValue as error:
            faults.append(Fault(parameter.name, str(error)))
    for name, parameter in selectors.items():
        values.setdefault(name, parameter.out_unit)
    if faults:
        raise BadParameters(tuple(faults))
    return Checked(values, tuple(name for name in given if name not in values))


def _product(declaration: Declaration, name: str) -> DeclaredProduct:
    found = declaration.product(name)
    if found is None:
        names = ", ".join(product.name for product in declaration.products)
        raise NotFound(f"{declaration.name} has no product {name[:_SHOWN]}; it has {names or 'none'}")
    return found


def _value(parameter: Parameter, given: Mapping[str, Any]) -> Any:
    name = parameter.name
    is_given = name in given
    value = given[name] if is_given else parameter.default
    if value is None or (isinstance(value, str) and value == UNSET):
        if parameter.is_optional:
            return None
        raise BadValue(f"Non-optional parameter {name} is set to None" if is_given else f"Parameter {name} is missing, and has no default")
    # A default is in the parameter's own unit, whatever the caller says of hers.
    unit = given.get(parameter.unit_name, "") if is_given and parameter.unit_name else ""
    return judged(parameter, value, "" if unit in (None, UNSET) else str(unit))


def judged(parameter: Parameter, value: Any, unit: str = "") -> Any:
    """The value that the instrument gets, once it is known to be allowed. BadValue is a whole sentence."""
    try:
        own, out = read_value(parameter, value, unit)
        _judge(parameter, own)
    except BadValue as error:
        if parameter.kind is ParameterKind.STRUCTURED and parameter.schema is not None:
            raise BadValue(f"Wrong value of structured parameter {parameter.name}: it {error}") from None
        raise BadValue(f"Parameter {parameter.name} wrong value {_shown(value)}: {error}") from None
    return out


def _judge(parameter: Parameter, own: Any) -> None:
    if parameter.kind in NUMBERS:
        if parameter.minimum is not None and own < parameter.minimum:
            raise BadValue(f"should be greater or equal than {parameter.minimum}")
        if parameter.maximum is not None and own > parameter.maximum:
            raise BadValue(f"should be lower or equal than {parameter.maximum}")
    if parameter.allowed and not _is_among(parameter, own, parameter.allowed):
        raise BadValue(f"should be one of {list(parameter.allowed)}")
    if parameter.schema is not None and (error := next(validator(schema_text(parameter.schema)).iter_errors(own), None)) is not None:
        raise BadValue(f"does not follow its schema: {str(error.message)[:300]}")


def _is_among(parameter: Parameter, own: Any, allowed: Collection[Any]) -> bool:
    if parameter.kind in NUMBERS and parameter.kind is not ParameterKind.INTEGER:
        return any(math.isclose(own, item, rel_tol=_NEARLY) for item in allowed)
    return own in allowed


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def needed_roles(declaration: Declaration, product: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Every role that the product and these checked values need, and why ("" where nothing is said)."""
    found = _product(declaration, product)
    needed = dict.fromkeys((*declaration.roles, *found.roles), "")
    for parameter in declaration.parameters_of(found):
        value = values.get(parameter.name)
        for limit in parameter.roles if value is not None else ():
            if not _is_free(parameter, limit, value):
                needed[limit.role] = needed.get(limit.role) or limit.why
    return needed


def missing_roles(declaration: Declaration, product: str, values: Mapping[str, Any], roles: Collection[str]) -> tuple[str, ...]:
    """The roles that somebody who has `roles` lacks for the product and these checked values."""
    return tuple(role for role in needed_roles(declaration, product, values) if role not in roles)


def _is_free(parameter: Parameter, limit: RoleRange, value: Any) -> bool:
    """Limits are in the parameter's own unit, checked values in that of the instrument."""
    if parameter.kind in NUMBERS and parameter.in_unit != parameter.out_unit:
        value = units().converter(parameter.out_unit, parameter.in_unit)(value)
    if limit.minimum is not None and value < limit.minimum and not math.isclose(value, limit.minimum, rel_tol=_NEARLY):
        return False
    if limit.maximum is not None and value > limit.maximum and not math.isclose(value, limit.maximum, rel_tol=_NEARLY):
        return False
    return not limit.allowed or _is_among(parameter, value, limit.allowed)
