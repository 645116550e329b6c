"""The form of a product as values: a field for each parameter of its declaration, what was typed as a request, an old request as what was typed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from angelia.model.declaration import Declaration, DeclaredProduct, Parameter, ParameterKind
from angelia.parameters import BadParameters, Fault, checked
from angelia.parameters.values import UNSET, in_own_units

PREFIX = "p."
"""Before the name of a parameter in the form: no parameter can then be taken for an option of the job."""
FILE_PREFIX = "f."
"""And before it, where a file is chosen for it."""
_FILES = frozenset({ParameterKind.FILE, ParameterKind.CATALOGUE})
_LONG = frozenset({ParameterKind.STRUCTURED, ParameterKind.CATALOGUE, ParameterKind.PRODUCT_LIST})


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter as it is shown. `shape` is line, area, switch or choice; `options` are texts to choose from; `fault` is what is wrong."""

    parameter: Parameter
    shape: str
    text: str
    options: tuple[str, ...] = ()
    fault: str = ""

    @property
    def name(self) -> str:
        """As the form calls it."""
        return PREFIX + self.parameter.name

    @property
    def file_name(self) -> str:
        """As the form calls a file that is chosen for it; "" where none can be."""
        return FILE_PREFIX + self.parameter.name if self.parameter.kind in _FILES else ""

    @property
    def is_required(self) -> bool:
        """True where it must not be left empty."""
        return self.parameter.default is None and not self.parameter.is_optional


def fields_of(
    declaration: Declaration, product: DeclaredProduct, typed: Mapping[str, str] | None = None, faults: Iterable[Fault] = ()
) -> list[Field]:
    """All fields with their defaults, or with what was `typed` (by the names of parameters)."""
    wrong = {fault.field: fault.text for fault in faults}
    return [_field(parameter, typed, wrong.get(parameter.name, "")) for parameter in declaration.parameters_of(product)]


def _field(parameter: Parameter, typed: Mapping[str, str] | None, fault: str) -> Field:
    text = _text(parameter.default) if typed is None or parameter.name not in typed else typed[parameter.name]
    if parameter.allowed:
        return Field(parameter, "choice", text, tuple(map(_text, parameter.allowed)), fault)
    if parameter.kind is ParameterKind.BOOLEAN:
        return Field(parameter, "switch", text, ("true", "false"), fault)
    return Field(parameter, "area" if parameter.kind in _LONG else "line", text, (), fault)


def _text(value: Any) -> str:
    """A value as somebody would type it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) and not set(item) & set(",[") for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def typed_in(parameters: Iterable[Parameter], form: Mapping[str, Any]) -> dict[str, str]:
    """What a form says of these parameters. A browser sends the ends of lines as CR LF."""
    names = [parameter.name for parameter in parameters]
    return {name: str(form[PREFIX + name]).replace("\r\n", "\n") for name in names if PREFIX + name in form}


def files_in(parameters: Iterable[Parameter], form: Mapping[str, Any]) -> dict[str, Any]:
    """The files that were chosen, by parameter: a browser sends an empty one where none was."""
    chosen = {one.name: form.get(FILE_PREFIX + one.name) for one in parameters if one.kind in _FILES}
    return {name: file for name, file in chosen.items() if getattr(file, "filename", "")}


def request_of(parameters: Iterable[Parameter], typed: Mapping[str, str]) -> dict[str, Any]:
    """The values to ask for. An empty field is no value where there may be none, an empty text where a text has a default; else it is not given."""
    given: dict[str, Any] = {}
    for parameter in parameters:
        text = typed.get(parameter.name)
        if text is None:
            continue
        if text.strip():
            given[parameter.name] = _chosen(parameter, text)
        elif parameter.is_optional:
            given[parameter.name] = UNSET
        elif parameter.kind is ParameterKind.STRING and parameter.default is not None and not parameter.allowed:
            given[parameter.name] = ""
    return given


def _chosen(parameter: Parameter, text: str) -> Any:
    """Of a choice the value itself: a text would not be the number that is allowed."""
    return next((value for value in parameter.allowed if _text(value) == text), text)


def typed_of(parameters: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, str]:
    """The values of an old job as somebody would have typed them, in the units of the form."""
    return {name: _text(value) for name, value in in_own_units(parameters, values).items()}


def usual_of(declaration: Declaration, product: DeclaredProduct) -> Mapping[str, Any]:
    """The values of a request that says nothing; {} where it must say something."""
    try:
        return checked(declaration, product.name, {}).values
    except BadParameters:
        return {}


def said_in(parameters: Iterable[Parameter], values: Mapping[str, Any], usual: Mapping[str, Any], most: int) -> list[tuple[str, str]]:
    """What makes a job another one than the rest: (label, value with its unit) of what is not as usual, the first few."""
    told = [one for one in parameters if one.name in values and (one.name not in usual or values[one.name] != usual[one.name])]
    own = in_own_units(told[:most], values)
    unit_of = {one.name: one.in_unit for one in told if one.kind is not ParameterKind.TIME}  # that of a time is a form, which the text shows
    return [(one.label or one.name, f"{_text(own[one.name]).removesuffix('.0')} {unit_of.get(one.name, '')}".strip()) for one in told[:most]]
