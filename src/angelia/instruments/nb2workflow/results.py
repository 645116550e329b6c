"""What notebooks hand over as results, written as products: numbers, texts, tables, pictures, arrays; never a pickle that is run."""

import base64
import importlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from angelia.products.output import Output

CONTENT = "_content"
"""Behind the name of a file stands its content, as base64, under this longer name."""
_PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif"}
_NAMES = re.compile(r"[^\w .+-]+", re.ASCII)


class BadResult(ValueError):
    """A result that can't be read; the text says which, and what is wrong."""


def write_results(results: Mapping[str, Any], folder: Path) -> None:
    """All of them, and last their list. BadResult for one that is no result."""
    out = Output(folder)
    for name, value in results.items():
        if name.endswith(CONTENT) and name.removesuffix(CONTENT) in results:
            continue
        if name + CONTENT in results:
            _write_file(out, folder, name, str(value), results[name + CONTENT])
            continue
        try:
            _write(out, folder, _NAMES.sub("_", name)[:200] or "result", _opened(value))
        except (ValueError, TypeError, KeyError, IndexError, OSError, ImportError) as error:
            raise BadResult(f"its result {name[:100]} can't be read: {error}") from None
    out.close()


def _opened(value: Any) -> Any:
    """Products of the field come as JSON in a text."""
    if (isinstance(value, str) and value[:1] in ("{", "[")) or value == "null":
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def _write(out: Output, folder: Path, name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, Mapping):
        for key, write in _WRITERS.items():
            if key in value:
                write(out, folder, name, value)
                return
    if isinstance(value, str):
        out.text(name, value)
    else:
        out.json(name, value)


def _write_array(out: Output, _: Path, name: str, value: Mapping[str, Any]) -> None:
    units = value["data_unit_list"]
    for number, unit in enumerate(units):
        array = _array(unit)
        if array is None:
            continue
        title = name if len(units) == 1 else f"{name} {number}"
        if array.dtype.names:
            columns = {column: array[column] for column in array.dtype.names}
            units_of = {column: text for column, text in (unit.get("units_dict") or {}).items() if column in columns and isinstance(text, str)}
            is_curve = "TIME" in columns and {"RATE", "FLUX", "MAG", "COUNTS"} & set(columns)
            (out.light_curve if is_curve else out.table)(title, columns, units_of, title=name)
        elif array.ndim >= 2:
            out.image(title, array, title=name)
        else:
            out.table(title, {"data": array.reshape(-1)}, title=name)


def _array(unit: Mapping[str, Any]) -> Any:
    if unit.get("binarys"):
        content = base64.b64decode(str(unit["binarys"]).replace("-", "+").replace("_", "/"))
        array_from: Callable[[bytes], Any] = importlib.import_module("angelia.products.inert").array_from
        return array_from(content)
    numpy = importlib.import_module("numpy")
    data = unit.get("data")
    data = json.loads(data) if isinstance(data, str) else data
    if data is None:
        return None
    if isinstance(unit.get("dt"), str) and unit["dt"].startswith("["):
        described = [tuple(part) for part in json.loads(unit["dt"].replace("(", "[").replace(")", "]").replace("'", '"'))]
        return numpy.array([tuple(row) for row in data], described)
    return numpy.array(data, dtype=float)


def _write_table(out: Output, folder: Path, name: str, value: Mapping[str, Any]) -> None:
    if not isinstance(value["ascii"], str):
        raise ValueError("a table comes as text; one that is only a pickle is not taken")
    path = folder / f".{len(name)}.ecsv"
    path.write_text(value["ascii"], encoding="utf-8")
    try:
        table = importlib.import_module("angelia.products.files").read_table(path)
        units = {column: str(table[column].unit) for column in table.colnames if table[column].unit is not None}
        out.table(name, {column: table[column] for column in table.colnames}, units)
    finally:
        path.unlink(missing_ok=True)


def _write_picture(out: Output, folder: Path, name: str, value: Mapping[str, Any]) -> None:
    kind = _PICTURES.get(str(value.get("img_type")), "application/octet-stream")
    _put(out, folder, name, f"{name}.{value.get('img_type') if kind.startswith('image') else 'bin'}", str(value["b64data"]), kind)


def _write_bytes(out: Output, folder: Path, name: str, value: Mapping[str, Any]) -> None:
    _put(out, folder, name, str(value.get("name") or name), str(value["data"]), "")


def _write_text(out: Output, _: Path, name: str, value: Mapping[str, Any]) -> None:
    if isinstance(value["value"], str):
        out.text(name, value["value"])
    else:
        out.json(name, value["value"])


def _write_progress(out: Output, _: Path, name: str, value: Mapping[str, Any]) -> None:
    out.text(name, str(value["progress_data"]))


def _write_file(out: Output, folder: Path, name: str, path: str, content: Any) -> None:
    try:
        _put(out, folder, name, Path(path).name or name, str(content), "")
    except ValueError as error:
        raise BadResult(f"the file {name[:100]} can't be read: {error}") from None


def _put(out: Output, folder: Path, name: str, file_name: str, text: str, kind: str) -> None:
    safe = _NAMES.sub("_", file_name).strip(". ")[:80] or "result"
    path = folder / safe
    if path.exists():
        path = folder / f"{len(list(folder.iterdir()))}-{safe}"
    path.write_bytes(base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True))
    out.file(name, path, kind)


_WRITERS: Mapping[str, Callable[[Output, Path, str, Mapping[str, Any]], None]] = {
    "data_unit_list": _write_array,
    "ascii": _write_table,
    "b64data": _write_picture,
    "md5": _write_bytes,
    "progress_data": _write_progress,
    "value": _write_text,
}


def fault_text(exceptions: Sequence[Any]) -> str:
    """What went wrong in a notebook: the names and texts of its exceptions."""
    said = []
    for entry in exceptions:
        if isinstance(entry, Mapping):
            said.append(": ".join(part for part in (str(entry.get("ename") or ""), str(entry.get("evalue") or "")) if part))
        else:
            said.append(str(entry))
    return "; ".join(said)[:2_000] or "the notebook did not come to its end"
