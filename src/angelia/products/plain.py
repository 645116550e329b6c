"""Any value as plain JSON: arrays become lists, and what JSON can't hold (NaN, infinity) becomes null."""

import json
import math
from collections.abc import Mapping
from typing import Any

MOST_DEEP = 64


def plain(value: Any, depth: int = 0) -> Any:
    """`value` of dict, list, str, int, float, bool and None only. Arrays and their numbers are known by their `tolist`.

    Raises ValueError for what is nested deeper than 64, and TypeError for what has no plain form.
    """
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if depth > MOST_DEEP:
        raise ValueError("a value is nested too deeply")
    if isinstance(value, Mapping):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item, depth + 1) for item in value]
    return _foreign(value, depth)


def _foreign(value: Any, depth: int) -> Any:
    """What came from a library of numbers, or is bytes, a moment, a complex number."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    for name in ("tolist", "isoformat"):
        convert = getattr(value, name, None)
        if callable(convert):
            return plain(convert(), depth + 1)
    raise TypeError(f"a {type(value).__name__} can't be written as JSON")


def plain_text(value: Any) -> str:
    """`value` as JSON text."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=False)
