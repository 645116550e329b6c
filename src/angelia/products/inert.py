"""Arrays of numbers out of pickles that others made, without running anything of them: what is no plain array is refused."""

import io
import pickle
from typing import Any

import numpy as np

_PLAIN = frozenset("biufcSU?V")
_MOST_PARTS = 200


class NoArray(ValueError):
    """It holds something else than an array of numbers or texts."""


class _Inert:
    """Stands for whatever a pickle names: it remembers what it is told, and that is all."""

    def __init__(self, *said: Any) -> None:
        self.said: tuple[Any, ...] = said
        self.state: Any = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, _: Any) -> None:
        """For what would be a list."""

    def extend(self, _: Any) -> None:
        """For what would be a list."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """For what would be a mapping."""


class _Kind(_Inert):
    """Stands for numpy's dtype."""


class _Numbers(_Inert):
    """Stands for numpy's array, and for the rows of a FITS table."""


class _Column(_Inert):
    """Stands for the description of a column of a FITS table."""


_STANDS_FOR = {"dtype": _Kind, "ndarray": _Numbers, "_reconstruct": _Numbers, "Column": _Column}


class _Reader(pickle._Unpickler):  # the one in C would make room for as much as a pickle asks
    """No name leads to its code."""

    def find_class(self, module: str, name: str) -> Any:
        """A class that does nothing."""
        if (module, name) == ("_codecs", "encode"):  # so old forms write bytes
            return _encoded
        return _STANDS_FOR.get(name, _Inert) if module.partition(".")[0] in ("numpy", "astropy") else _Inert


def _encoded(text: str, *_: Any) -> bytes:
    return text.encode("latin-1")


def array_from(content: bytes) -> Any:
    """The array in a pickle of numpy; NoArray for everything else, be it broken, evil or only unknown."""
    try:
        reader: Any = _Reader(io.BytesIO(content))
        found = reader.load()
        if not isinstance(found, _Numbers):
            raise NoArray("it holds something else than numbers")
        if any(isinstance(one, _Column) and _is_scaled(one) for one in reader.memo.values()):
            raise NoArray("its columns are scaled")
        _, shape, kind, is_fortran, body = found.state[:5]
        made = _kind(kind)
        sizes = [int(size) for size in shape]
        if not isinstance(body, bytes) or min(sizes, default=0) < 0 or made.hasobject:
            raise NoArray("its bytes are none")
        return np.frombuffer(body, made).reshape(sizes, order="F" if is_fortran else "C")
    except NoArray:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong in it: a stranger wrote it
        raise NoArray(f"it is no array: {type(error).__name__}") from None


def _is_scaled(column: _Column) -> bool:
    """Its bytes are not its numbers: they are to be multiplied, or say where the numbers lie."""
    told = column.state if isinstance(column.state, dict) else {}
    form = getattr(told.get("_format"), "state", None)
    is_pointer = isinstance(form, dict) and str(form.get("format"))[:1] in ("P", "Q")
    return is_pointer or told.get("_bscale") not in (None, "", 1) or told.get("_bzero") not in (None, "", 0)


def _kind(told: Any, depth: int = 0) -> Any:
    if not isinstance(told, _Kind) or depth > 4:
        raise NoArray("its kind is none")
    # Rows of a FITS table name a class where others have a text: they are records all the same.
    text = told.said[0] if told.said and isinstance(told.said[0], str) else "V"
    if text[:1] not in _PLAIN:
        raise NoArray("its kind is none of numbers or texts")
    order = told.state[1] if len(told.state) > 1 else "|"
    names: Any = told.state[3] if len(told.state) > 4 else None
    parts: Any = told.state[4] if names else {}
    if not names:
        kind: Any = np.dtype(text)
        return kind.newbyteorder(order) if order in ("<", ">") else kind
    if len(names) > _MOST_PARTS:
        raise NoArray("it has too many columns")
    described: Any = {
        "names": list(names),
        "formats": [_kind(parts[name][0], depth + 1) for name in names],
        "offsets": [int(parts[name][1]) for name in names],
        "itemsize": int(told.state[5]),
    }
    return np.dtype(described)
