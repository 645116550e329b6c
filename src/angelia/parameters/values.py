"""One value of each kind of parameter: from what a caller gave (a text or JSON) to what the instrument gets."""

import importlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from angelia.model.declaration import NUMBERS, Parameter, ParameterKind
from angelia.model.errors import BadSettings

MOST_TEXT = 65_536
MOST_JSON = 4_194_304
MOST_DEEP = 64
UNSET = "\0"
"""The one-letter text by which a form says: this optional value is none at all."""
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_WITH_UNIT = re.compile(rf"\s*({_NUMBER})\s*([A-Za-z][A-Za-z0-9 .*/^()+-]*)?\s*", re.ASCII)
_SEXAGESIMAL = re.compile(r"\s*([+-]?)(\d{1,3})([hd])\s*(\d{1,2})m\s*(?:(\d{1,2}(?:\.\d+)?)s)?\s*", re.ASCII)
_DEGREES_AN_HOUR = 15.0


class BadValue(ValueError):
    """Why a value can't be used, in words that follow "Parameter x wrong value y: "."""


def units() -> Any:
    """The room of units. Loaded with the first value that needs it: its library takes half a second."""
    return _of_science("angelia.parameters.units")


def _of_science(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BadSettings(f"instruments with units, times or schemas need more: pip install 'angelia[science]' ({error})") from None


def read_value(parameter: Parameter, given: Any, unit: str = "") -> tuple[Any, Any]:
    """(the value in the parameter's own unit, by which it is judged; the value that the instrument gets). BadValue says what is wrong.

    `unit` is the unit or format that the caller named, "" for the parameter's own.
    """
    if isinstance(given, Mapping) and "value" in given and set(given) <= {"value", "unit"} and _has_unit(parameter):
        given, unit = given["value"], str(given.get("unit") or unit)
    if parameter.kind is ParameterKind.TIME:
        return _time(parameter, given, unit)
    if parameter.kind is ParameterKind.INTEGER:
        number = _integer(given)
        return number, number
    if parameter.kind in NUMBERS:
        return _quantity(parameter, given, unit)
    value = _READERS[parameter.kind](given)
    return value, value


def in_own_units(parameters: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an old job as a caller would give them: bare numbers in the units of the declaration."""
    return {parameter.name: _in_own_unit(parameter, values[parameter.name]) for parameter in parameters if parameter.name in values}


def to_ask_again(parameters: Iterable[Parameter], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by which a caller would ask for the same again: bare numbers in the units of the declaration, or as they are where another
    argument names their unit. What is unset anyway is left out; None stays where leaving it out would mean the default.
    """
    given: dict[str, Any] = {}
    for parameter in parameters:
        value = values.get(parameter.name)
        if value is None and (parameter.default is None or parameter.name not in values):
            continue
        if parameter.unit_name:
            given |= {parameter.name: value, parameter.unit_name: parameter.out_unit}
        else:
            given[parameter.name] = _in_own_unit(parameter, value)
    return given


def _in_own_unit(parameter: Parameter, value: Any) -> Any:
    own, out = parameter.in_unit, parameter.out_unit
    if value is None or own == out:
        return value
    if parameter.kind is ParameterKind.TIME:
        return units().time_in(value, out, own)
    return units().converter(out, own)(value)


def _has_unit(parameter: Parameter) -> bool:
    return parameter.kind in NUMBERS or parameter.kind is ParameterKind.TIME


def _quantity(parameter: Parameter, given: Any, unit: str) -> tuple[float, float]:
    number, inline = _number(given)
    own, out = parameter.in_unit, parameter.out_unit
    source = inline or unit or own
    if source == own and own == out:
        return number, number
    try:
        change = units().converter
        judged = change(source, own)(number)
        return judged, judged if own == out else change(source, out)(number)
    except (ValueError, OverflowError) as error:
        raise BadValue(str(error)) from None


def _number(given: Any) -> tuple[float, str]:
    """The number, and the unit that stands behind it in a text."""
    unit = ""
    if isinstance(given, str) and len(given) <= 100:
        if (parts := _SEXAGESIMAL.fullmatch(given)) is not None:
            return _sexagesimal(*parts.groups()), "deg"
        if (match := _WITH_UNIT.fullmatch(given)) is None:
            raise BadValue("is not a number")
        number, unit = float(match[1]), (match[2] or "").strip()
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        try:
            number = float(given)
        except OverflowError:
            raise BadValue("is too large") from None
    else:
        raise BadValue("is not a number")
    if not math.isfinite(number):
        raise BadValue("is not a finite number")
    return number, unit


def _sexagesimal(sign: str, whole: str, letter: str, minutes: str, seconds: str | None) -> float:
    rest = int(minutes), float(seconds or 0)
    if max(rest) >= 60:
        raise BadValue("has 60 or more minutes or seconds")
    number = int(whole) + rest[0] / 60 + rest[1] / 3600
    degrees = number * (_DEGREES_AN_HOUR if letter == "h" else 1.0)
    return float(f"{-degrees if sign == '-' else degrees:.15g}")


def _integer(given: Any) -> int:
    if isinstance(given, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", given, re.ASCII):
        return int(given)
    if type(given) is int and abs(given) < 1 << 63:
        return given
    raise BadValue("is not an integer")


def _time(parameter: Parameter, given: Any, unit: str) -> tuple[Any, Any]:
    own, out = parameter.in_unit, parameter.out_unit
    source = unit or own
    try:
        result = units().time_in(given, source, out)
        return (result if own == out else units().time_in(given, source, own)), result
    except (ValueError, TypeError, OverflowError, ArithmeticError):
        raise BadValue(f"can't be parsed as Time of {source[:40]} format") from None


def _text(given: Any) -> str:
    if isinstance(given, bool) or not isinstance(given, (str, int, float)):
        raise BadValue("is not a text")
    text = given if isinstance(given, str) else str(given)
    if len(text) > MOST_TEXT or "\0" in text:
        raise BadValue(f"is longer than {MOST_TEXT} characters, or has a NUL in it")
    return _encodable(text)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue("has half a character in it") from None
    return text


def _boolean(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    word = str(given).lower() if isinstance(given, (str, int)) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise BadValue("should be one of True, true, yes, 1, False, false, no, 0")


def _structure(given: Any) -> Any:
    """JSON, as a text or as what it says; nothing that JSON hasn't got."""
    try:
        text = given if isinstance(given, str) else json.dumps(given, allow_nan=False)
        if len(text) > MOST_JSON:
            raise BadValue(f"is longer than {MOST_JSON} characters")
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
        if _depth(value) > MOST_DEEP:
            raise BadValue("is nested too deeply")
        _encodable(text if text.isascii() else json.dumps(value, ensure_ascii=False))
    except BadValue:
        raise
    except (ValueError, TypeError, RecursionError):
        raise BadValue("is not JSON") from None
    return value


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise BadValue("has a number that is too large")
    return number


def _depth(value: Any) -> int:
    """How deep lists and objects are nested; walked without recursion."""
    deepest, level = 0, [value]
    while level and deepest <= MOST_DEEP:
        level = [inner for item in level if isinstance(item, (dict, list)) for inner in (item.values() if isinstance(item, dict) else item)]
        deepest += 1
    return deepest


def _no_constant(name: str) -> float:
    raise BadValue(f"has {name} in it")


def _catalogue(given: Any) -> Any:
    if isinstance(given, str) and not given.lstrip().startswith(("{", "[")):
        return _text(given)
    value = _structure(given)
    if not isinstance(value, (dict, list)):
        raise BadValue("is not a catalogue")
    return value


def _product_list(given: Any) -> list[str]:
    if isinstance(given, str) and given.lstrip().startswith("["):
        given = _structure(given)
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    if not isinstance(given, (list, tuple)) or len(given) > MOST_TEXT:
        raise BadValue("is not a list of products")
    return [_text(item) for item in given]


_READERS: Mapping[ParameterKind, Callable[[Any], Any]] = {
    ParameterKind.STRING: _text,
    ParameterKind.FILE: _text,
    ParameterKind.BOOLEAN: _boolean,
    ParameterKind.CATALOGUE: _catalogue,
    ParameterKind.PRODUCT_LIST: _product_list,
    ParameterKind.STRUCTURED: _structure,
}


@lru_cache(maxsize=256)
def validator(schema: str) -> Any:
    """What checks values against a JSON schema, given as its text. ValueError for a schema that is none; it fetches nothing from anywhere."""
    library = _of_science("jsonschema_rs")
    try:
        return library.validator_for(json.loads(schema), retriever=_fetch_nothing)
    except (library.ValidationError, library.ReferencingError, ValueError) as error:
        raise ValueError(f"this is no JSON schema: {str(error).splitlines()[0][:200]}") from None


def _fetch_nothing(address: str) -> Any:
    raise ValueError(f"a schema may not point to {address[:100]}")


def schema_text(schema: Mapping[str, Any]) -> str:
    """One text for one schema."""
    return json.dumps(schema, sort_keys=True)
