"""The ODA dialect's forms of products: what its clients decode, as plain JSON without NaN and without pickles."""

import base64
import hashlib
import importlib
import json
import math
import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from angelia import telemetry
from angelia.model.declaration import ProductKind
from angelia.products.plain import plain
from angelia.products.source import Source

MOST_BYTES = 32 * 1024 * 1024
"""Of files that go into one answer: its client holds several copies of it. What is over is left to downloads."""
_AROUND = 100
_NUMBERS = "data_unit_list"
_PICTURES = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif"}
_NO_JSON = re.compile("NaN|-?Infinity")
_CATALOGUE = ("cat_frame", "cat_coord_units", "cat_lat_name", "cat_lon_name")
"""A table whose `meta` has the first of these is also told as a catalogue of sources."""


class Listed(Protocol):
    """What is known of a product beside its bytes; `size` is in bytes."""

    @property
    def name(self) -> str:
        """Its name, unique in its job."""

    @property
    def kind(self) -> ProductKind:
        """What it is."""

    @property
    def content_type(self) -> str:
        """Of its file."""

    @property
    def size(self) -> int:
        """Of its file."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """What else its writer says of it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """`products` go into the answer as they are; `left_out` are the names of those that were too large."""

    products: dict[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def encoded(products: Iterable[tuple[Listed, Source]], most_bytes: int = MOST_BYTES, *, has_pickles: bool = False) -> Encoded:
    """The files of products in the forms of section 2.4. It reads them, and takes long for large ones: call it in a thread.

    `has_pickles`: arrays as pickles, for clients that are too old to read them as JSON.
    """
    answer: dict[str, Any] = {}
    left_out, room = [], most_bytes
    for product, source in products:
        if product.size > room:
            left_out.append(product.name)
            continue
        room -= product.size
        for key, element in _told(product, source, has_pickles=has_pickles).items():
            if key == "catalog":
                answer.setdefault(key, element)
            else:
                answer.setdefault(key, []).append(element)
    return Encoded(answer, tuple(left_out))


def _told(product: Listed, source: Source, *, has_pickles: bool) -> dict[str, Any]:
    """What is not what it says it is goes as the bytes that it has: one bad file must not hide the others."""
    try:
        forms = _forms(product, source, has_pickles=has_pickles)
        if product.kind is ProductKind.JSON:
            _check_depth(forms)
    except Exception as error:  # noqa: BLE001 - it may break the library that reads it in any way
        telemetry.log.warning("product_not_read", product=product.name, kind=product.kind.value, error=str(error)[:200])
        return _bytes(product, source)
    return forms


def _check_depth(value: Any) -> None:
    """RecursionError where it is nested so deeply that an answer around it can't be written."""
    for _ in range(_AROUND):
        value = [value]
    json.dumps(value)


def _forms(product: Listed, source: Source, *, has_pickles: bool) -> dict[str, Any]:
    match product.kind:
        case ProductKind.IMAGE | ProductKind.LIGHT_CURVE | ProductKind.SPECTRUM:
            return {"numpy_data_product_list": _numbers(product, source, has_pickles=has_pickles)}
        case ProductKind.TABLE:
            return _table(product, source)
        case ProductKind.TEXT:
            return {"text_product_list": _named(product, value=source.read_text("utf-8", "replace"))}
        case ProductKind.JSON:
            return {"text_product_list": _named(product, value=plain(json.loads(source.read_bytes())))}
        case _:
            return _bytes(product, source)


def _named(product: Listed, **more: Any) -> dict[str, Any]:
    return {"name": product.name, "meta_data": plain(product.meta), **more}


def _numbers(product: Listed, source: Source, *, has_pickles: bool) -> dict[str, Any]:
    parts = importlib.import_module("angelia.products.files").read_units(source, product.kind)
    return _named(product, **{_NUMBERS: [_unit(part, has_pickles=has_pickles) for part in parts]})


def _unit(part: Any, *, has_pickles: bool) -> dict[str, Any]:
    data, kind = (None, str(part.data.dtype)) if has_pickles else _square(part.data)
    return {
        "data": data,
        "dt": kind,
        "name": part.name,
        "header": plain(part.header),
        "binarys": base64.b64encode(pickle.dumps(part.data, 2)).decode() if has_pickles else None,
        "meta_data": {},
        "hdu_type": part.kind,
        "units_dict": dict(part.units) if part.kind == "bintable" else None,
    }


def _square(array: Any) -> tuple[str, str]:
    """(the rows as JSON text, numpy's name of their kind). Its clients take the text as Python once they have made None of null.

    They make a tuple of each row, which breaks a row that is one number: one dimension becomes a table of one column.
    """
    if array.dtype.names:
        described = [(name, *_kind(array.dtype[name])) for name in array.dtype.names]
        return json.dumps([[_cell(cell) for cell in row] for row in array.tolist()]), str(described)
    if array.ndim < 2:
        return json.dumps([[_cell(cell)] for cell in array.reshape(-1).tolist()]), str([("data", array.dtype.str)])
    text = json.dumps(array.tolist())
    return _NO_JSON.sub("null", text), array.dtype.str


def _kind(kind: Any) -> tuple[Any, ...]:
    base, shape = kind.subdtype or (kind, ())
    text = f"<U{max(1, base.itemsize)}" if base.kind == "S" else base.str
    return (text, shape) if shape else (text,)


def _cell(cell: Any) -> Any:
    if isinstance(cell, (list, tuple)):
        return [_cell(item) for item in cell]
    if isinstance(cell, bool):
        return int(cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    if hasattr(cell, "tolist"):
        return _cell(cell.tolist())
    return plain(cell)


def _table(product: Listed, source: Source) -> dict[str, Any]:
    forms = {"astropy_table_product_ascii_list": _named(product, ascii=source.read_text("utf-8", "replace"))}
    return forms | ({"catalog": _catalogue(product.meta, source)} if _CATALOGUE[0] in product.meta else {})


def _catalogue(meta: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """Its clients can't read a source without a position; such rows stand in the table alone."""
    table = importlib.import_module("angelia.products.files").read_table(source)
    for key in _CATALOGUE[2:]:
        if (name := meta.get(key)) in table.colnames:
            table = table[[isinstance(cell, (int, float)) and math.isfinite(cell) for cell in table[name].tolist()]]
    return {key: meta.get(key) for key in _CATALOGUE} | {
        "cat_column_names": list(table.colnames),
        "cat_column_list": [plain(table[name].tolist()) for name in table.colnames],
        "cat_column_descr": [list(described) for described in table.dtype.descr],
    }


def _bytes(product: Listed, source: Source) -> dict[str, Any]:
    """An image of a kind that its clients can show, or any file; they check the sum of the second."""
    content = source.read_bytes()
    text = base64.urlsafe_b64encode(content).decode()
    picture = _PICTURES.get(product.content_type)
    if picture is not None:
        element = {"img_type": picture, "b64data": text, "metadata": plain(product.meta), "name": product.name, "filename": source.name}
        return {"binary_image_product_list": element}
    return {"binary_data_product_list": {"name": product.name, "data": text, "md5": hashlib.md5(content, usedforsecurity=False).hexdigest()}}
