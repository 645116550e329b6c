"""Units and times, by astropy: how a number gets from one unit to another, and a moment from one format to another."""

import math
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from astropy import units as u
from astropy.time import Time

MOST_UNIT = 40
MOST_TIME = 64
_UNIT = re.compile(r"[A-Za-z0-9 .*/^()+-]{0,40}", re.ASCII)
_NUMBER_OF_EXPONENTS = re.compile(r"\d{4,}")
_PSEUDO = frozenset({"sigma"})
"""Units of the field that astropy doesn't have; they convert to nothing but themselves."""
_NO_TEXT = frozenset({"datetime", "ymdhms", "datetime64", "astropy_time"})
FORMATS = frozenset(Time.FORMATS) - _NO_TEXT
TEXT_FORMATS = frozenset({"isot", "iso", "fits", "yday", "byear_str", "jyear_str"})
_DIGITS = 15


def is_unit(text: str) -> bool:
    """Is it a unit that numbers may have?"""
    try:
        _unit(text)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1024)
def converter(source: str, target: str) -> Callable[[float], float]:
    """From `source` to `target`, two names of units; energies, frequencies and wavelengths go over into each other as those of light.

    ValueError says why there is no way. What was converted is rounded to 15 digits, so that equal wishes become equal numbers.
    """
    if source == target:
        return float
    old, new = _unit(source), _unit(target)
    try:
        factor = float(old.to(new))
    except u.UnitConversionError:
        return _by_light(source, old, target, new)
    except (TypeError, ArithmeticError):
        raise ValueError(f"{source} is too far from {target}") from None
    if not math.isfinite(factor) or factor == 0.0:
        raise ValueError(f"{source} is too far from {target}")
    if factor == 1.0:
        return float
    return lambda number: _rounded(number * factor)


def _by_light(source: str, old: Any, target: str, new: Any) -> Callable[[float], float]:
    way = u.spectral()
    try:
        old.to(new, 1.0, equivalencies=way)
    except (u.UnitConversionError, TypeError, ArithmeticError):
        raise ValueError(f"{source or 'a bare number'} can't be converted to {target or 'a bare number'}") from None

    def change(number: float) -> float:
        # No light has the wavelength 0: it becomes infinite, and is refused as that.
        with np.errstate(all="ignore"):
            return _rounded(float(old.to(new, number, equivalencies=way)))

    return change


def _rounded(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return float(f"{number:.{_DIGITS}g}")


def _unit(text: str) -> Any:
    if (unit := _read(text)) is None:
        raise ValueError(f"{text[:MOST_UNIT]} is no unit")
    return unit


@lru_cache(maxsize=1024)
def _read(text: str) -> Any:
    """None for what is no unit. Only short texts of plain letters are read at all: a caller's text goes through a grammar here."""
    if text in _PSEUDO:
        return u.def_unit(text)
    if not _UNIT.fullmatch(text) or _NUMBER_OF_EXPONENTS.search(text):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Silent: a text that is no unit is compared with all that there are otherwise, which takes a tenth of a second.
            unit = u.Unit(text, parse_strict="silent")
    except (ValueError, TypeError, ArithmeticError):
        return None
    return None if isinstance(unit, u.UnrecognizedUnit) else unit


def time_in(value: Any, source: str, target: str) -> str | float:
    """A moment, in UTC, in another format: `value` is a text or a number in the format `source`. ValueError where it is none."""
    if source not in FORMATS or target not in FORMATS:
        raise ValueError("this is no format of a time")
    given = _text_of_time(value, source) if source in TEXT_FORMATS else _number_of_time(value)
    with warnings.catch_warnings():
        # Dates far from today are "dubious" for leap seconds, and still good dates.
        warnings.simplefilter("ignore")
        moment = Time(given, format=source, scale="utc" if Time.FORMATS[source].__name__ not in _OTHER_SCALES else None)
        result = getattr(moment.utc, target)
    return result if isinstance(result, str) else _number(result)


def _text_of_time(value: Any, source: str) -> str:
    if not isinstance(value, str) or len(value) > MOST_TIME:
        raise ValueError("a time in this format is a text")
    return value if source == "yday" else value.removesuffix("Z")


def _number_of_time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or len(str(value)) > MOST_TIME:
        raise ValueError("a time in this format is a number")
    return _number(value)


_OTHER_SCALES = frozenset({"TimeGPS", "TimeCxcSec", "TimeUnixTai", "TimeGalexSec"})
"""Formats that count in a scale of their own."""


def _number(result: Any) -> float:
    if not math.isfinite(number := float(result)):
        raise ValueError("this time is no finite number")
    return number
