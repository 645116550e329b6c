"""Product files: tables and arrays as FITS or ECSV, written and read back with astropy."""

import io
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import Table
from astropy.utils.exceptions import AstropyWarning

from angelia.model.declaration import ProductKind
from angelia.products.plain import plain
from angelia.products.source import Kept, Source, opened

MOST_KEYWORD = 8
MOST_BYTES = 268_435_456
"""Of a product that is read."""
_BIG_ENDIAN = ">"


@dataclass(frozen=True, slots=True)
class Unit:
    """One part of a result: `data` is an array, or a record array whose fields are the columns; `units` are by column.

    `kind` is primary, image or bintable. `header` are plain values by keyword.
    """

    name: str
    kind: str
    data: Any
    header: Mapping[str, Any] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


def write_columns(
    file: BinaryIO, columns: Mapping[str, Any], units: Mapping[str, str], meta: Mapping[str, Any], *, is_text: bool, name: str
) -> Mapping[str, Any]:
    """Write a table as ECSV (`is_text`) or as a FITS binary table. Returns what is worth to know of it: rows, columns, units."""
    table = Table({key: _column(key, column) for key, column in columns.items()})
    for key, unit in units.items():
        table[key].unit = u.Unit(unit)
    if is_text:
        table.meta.update(plain(meta))
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        file.write(text.getvalue().encode())
    else:
        with _calm():
            part = fits.table_to_hdu(table)
            part.name = _ascii(name)[:60]
            part.header.update(_cards(meta))
            fits.HDUList([fits.PrimaryHDU(), part]).writeto(file)
    return {"rows": len(table), "columns": list(columns), "units": dict(units)}


def write_image(file: BinaryIO, array: Any, meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write an array as the primary part of a FITS file. Returns its shape."""
    data = np.asarray(array)
    if data.ndim < 2 or data.dtype.kind not in "biuf":
        raise ValueError("an image is an array of numbers with 2 or more dimensions")
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    if data.dtype == np.float16:
        data = data.astype(np.float32)
    with _calm():
        fits.HDUList([fits.PrimaryHDU(data, fits.Header(_cards(meta)))]).writeto(file)
    return {"shape": list(data.shape)}


def read_units(source: Source, kind: ProductKind, most_bytes: int = MOST_BYTES) -> list[Unit]:
    """The parts of a product file that hold data. OSError for a file that is none of ours, ValueError for one that becomes too large."""
    if kind is ProductKind.TABLE:
        table = read_table(source)
        return [Unit(source.stem, "bintable", table.as_array(), plain(table.meta), _units(table))]
    with opened(source) as file:
        if file.read(6) != b"SIMPLE":  # it may be packed as a whole
            raise OSError("this product is no FITS file")
    with _calm(), fits.open(opened(source) if isinstance(source, Kept) else source, memmap=False, lazy_load_hdus=False) as parts:
        if sum(map(_claimed, parts)) > most_bytes:
            raise ValueError("this product is too large to be shown")
        return [_unit(part) for part in parts if part.data is not None]


def _claimed(part: Any) -> int:
    """The bytes that a part becomes when it is read: a file of a few may say that it has any number, and a packed part has them."""
    shape = getattr(part, "shape", ()) or ()
    return math.prod(shape) * abs(int(part.header.get("BITPIX", 8))) // 8 if len(shape) else int(part.size)


def read_table(source: Source) -> Table:
    """An ECSV product."""
    return Table.read(source.read_text() if isinstance(source, Kept) else source, format="ascii.ecsv")


def _unit(part: Any) -> Unit:
    data = part.data
    if isinstance(data, fits.FITS_rec):
        data = np.array(data.view(np.recarray), copy=True) if not _is_scaled(part) else Table(data).as_array()
        kind = "bintable"
    else:
        kind = "primary" if isinstance(part, fits.PrimaryHDU) else "image"
    native = np.asarray(data)
    if native.dtype.names or native.dtype.byteorder == _BIG_ENDIAN:
        native = native.astype(native.dtype.newbyteorder("="))
    header = {str(key): plain(value) for key, value in part.header.items() if key and key not in ("COMMENT", "HISTORY") and _is_plain(value)}
    columns = getattr(part, "columns", None)
    units = {} if columns is None else {column.name: column.unit for column in columns if column.unit}
    return Unit(part.name or "PRIMARY", kind, native, header, units)


def _is_scaled(part: Any) -> bool:
    return any(column.bscale not in (None, "", 1) or column.bzero not in (None, "", 0) or column.format.endswith("L") for column in part.columns)


def _is_plain(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float))


def _units(table: Table) -> dict[str, str]:
    return {name: table[name].unit.to_string() for name in table.colnames if table[name].unit is not None}


def _column(name: str, column: Any) -> Any:
    array = np.asarray(column)
    if array.dtype.kind == "O":
        raise ValueError(f"the column {name} has values of several kinds")
    return array


def _cards(meta: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Header keywords of what FITS can hold: short names, texts, numbers and booleans. The rest is in the manifest."""
    cards = []
    for key, value in plain(meta).items():
        name = _ascii(key).upper().replace(" ", "_")
        if not 0 < len(name) <= MOST_KEYWORD or not name.replace("-", "").replace("_", "").isalnum() or not _is_plain(value):
            continue
        cards.append((name, _ascii(value)[:68] if isinstance(value, str) else value))
    return cards


def _ascii(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


@contextmanager
def _calm() -> Iterator[None]:
    """Astropy warns of harmless things, such as a keyword that had to be mended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        yield
