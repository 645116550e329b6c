"""What of a product file is drawn: curves with their errors, images on a grid that a page can hold; plus its rows as a table."""

import base64
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy import units as u

from angelia.model.declaration import ProductKind
from angelia.products.files import Unit, read_units
from angelia.products.plain import plain
from angelia.products.source import Source, size_of

MOST_BYTES = 64 * 1024 * 1024
"""Of what is read for one plot; what is larger is a download."""
MOST_POINTS = 20_000
"""Of one curve. What has more is thinned to the lowest and the highest of each stretch, so that no peak is lost."""
MOST_SIDE = 512
"""Pixels on a side of a drawn image. What is larger is drawn as means of blocks."""
MOST_PARTS = 6
_ACROSS = ("TIME", "ENERGY", "FREQUENCY", "WAVELENGTH", "CHANNEL")
_UP = ("RATE", "FLUX", "MAG", "COUNTS", "POWER", "SPECTRUM")
_ERRORS = ("ERROR", "ERR", "STAT_ERR", "STATERR", "UNCERTAINTY", "SIGMA")
_WIDTHS = {"TIMEDEL": 0.5, "WIDTH": 0.5, "XAX_E": 1.0, "DE": 1.0}
"""Columns that say how wide a bin is, and which share of that lies on each side of its middle."""
_ASIDE = frozenset({*_ERRORS, *_WIDTHS, "FRACEXP", "QUALITY", "GROUPING"})
_LONG = 30.0
"""A positive quantity that runs over more than this factor is drawn on a logarithmic scale."""
_CORNER = np.array([0.005, 0.995])
_SHOWN_SHAPE = 2


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of the first table of a product, `first` counting from 0, of `total`; cells are plain."""

    columns: tuple[tuple[str, str], ...]
    rows: list[list[Any]]
    first: int
    total: int


def plots_of(source: Source, kind: ProductKind) -> list[dict[str, Any]]:
    """Each drawable part of a product as JSON: `kind` is curve or image. Empty where nothing can be drawn.

    A curve has `x` and `series`, each with `label`, `unit` and `values`; `x` may have `widths` (halves of bins), a series has `errors` or None,
    and `is_line`. An image has `pixels` (base64 of little-endian 4-byte floats, rows from the bottom), `width`, `height`, `low` and `high`
    (between which nearly all lies), and `x` and `y`, each with `label`, `unit`, `first` (the edge of the first pixel) and `step`.
    ValueError for a file that is too large or is no product.
    """
    made: list[dict[str, Any]] = []
    for part in [one for one in _parts(source, kind) if one.data.size][:MOST_PARTS]:
        drawn = _drawn(part)
        if drawn is not None:
            made.append({"name": part.name, **drawn})
    return made


def rows_of(source: Source, kind: ProductKind, first: int, most: int) -> Rows:
    """The rows of a table, or of an image as rows of its drawn pixels. ValueError as above, and where there is neither."""
    # Of an empty table the columns are still worth seeing, where there is nothing else.
    for part in sorted(_parts(source, kind), key=lambda one: not one.data.size):
        data = part.data
        if data.dtype.names:
            names = data.dtype.names
            cells = [[plain(cell) for cell in row] for row in data[first : first + most].tolist()]
            return Rows(tuple((name, str(part.units.get(name) or "")) for name in names), cells, first, len(data))
        if data.ndim and data.size:
            grid = _plane(data) if data.ndim > 1 else data.reshape(-1, 1)
            unit = str(part.header.get("BUNIT", ""))
            return Rows(tuple((str(number + 1), unit) for number in range(grid.shape[1])), plain(grid[first : first + most]), first, len(grid))
    raise ValueError("this product has no rows")


def _parts(source: Source, kind: ProductKind) -> list[Unit]:
    if size_of(source) > MOST_BYTES:
        raise ValueError("this product is too large to be shown")
    return read_units(source, kind, MOST_BYTES)


def _drawn(part: Unit) -> dict[str, Any] | None:
    if part.data.dtype.names:
        return _curve(part)
    if part.data.dtype.kind not in "biuf":
        return None
    if part.data.ndim > 1:
        return _image(part)
    counted = {"label": "", "unit": "", "values": list(range(1, part.data.size + 1))}
    return _thinned(counted, [_series(part.name, str(part.header.get("BUNIT", "")), part.data, None, is_line=True)])


def _curve(part: Unit) -> dict[str, Any] | None:
    data, units = part.data, {name: str(unit) for name, unit in part.units.items()}
    names = [name for name in data.dtype.names if data.dtype[name].kind in "iuf" and data.dtype[name].shape == ()]
    upper = {name.upper(): name for name in names}
    x = next((upper[name] for name in _ACROSS if name in upper), names[0] if names else None)
    first = next((upper[name] for name in _UP if name in upper and upper[name] != x), None)
    first = first or next((name for name in names if name != x and not _is_aside(name)), None)
    if x is None or first is None:
        return None
    series: list[dict[str, Any]] = []
    for name in [first, *names]:
        is_new = all(one["label"] != name for one in series)
        if is_new and name != x and not _is_aside(name) and units.get(name) == units.get(first):
            error = next((found for one in _errors_of(name, is_first=name == first) if (found := upper.get(one))), None)
            series.append(_series(name, units.get(name, ""), data[name], None if error is None else data[error], is_line=error is None))
    across = {"label": x, "unit": units.get(x, ""), "values": _plain(data[x]), "widths": _widths(data, upper, x, units)}
    return _thinned(across, series) | {"is_log_x": _is_long(data[x]), "is_log_y": _is_long(data[first]), "is_upside_down": first.upper() == "MAG"}


def _is_aside(name: str) -> bool:
    upper = name.upper()
    return upper in _ASIDE or upper.endswith(("_ERR", "_ERROR")) or upper.startswith(("ERR_", "E_"))


def _errors_of(name: str, *, is_first: bool) -> Sequence[str]:
    upper = name.upper()
    own = [f"{upper}_ERR", f"{upper}_ERROR", f"ERR_{upper}", f"E_{upper}"]
    return [*own, *_ERRORS] if is_first else own


def _widths(data: Any, upper: Mapping[str, str], x: str, units: Mapping[str, str]) -> list[float | None] | None:
    """Half of each bin, in the unit of `x`."""
    for name, share in _WIDTHS.items():
        if name in upper:
            scale = 1.0
            if units.get(upper[name], "") != units.get(x, ""):
                with suppress(ValueError):  # the unit of the one is none of the other: no bar is better than a wrong one
                    scale = u.Unit(units.get(upper[name], "")).to(u.Unit(units.get(x, "")))
                    return _plain(data[upper[name]] * (share * scale))
                return None
            return _plain(data[upper[name]] * share)
    return None


def _series(label: str, unit: str, values: Any, errors: Any, *, is_line: bool) -> dict[str, Any]:
    return {"label": label, "unit": unit, "values": _plain(values), "errors": None if errors is None else _plain(errors), "is_line": is_line}


def _plain(values: Any) -> list[float | None]:
    found: list[float | None] = plain(np.asarray(values, dtype=float))
    return found


def _thinned(x: dict[str, Any], series: list[dict[str, Any]]) -> dict[str, Any]:
    total = len(x["values"])
    kept = _kept(series[0]["values"], total)
    if kept is not None:
        for one in (x, *series):
            one |= {name: [one[name][index] for index in kept] for name in ("values", "errors", "widths") if one.get(name)}
    return {"kind": "curve", "x": x, "series": series, "total": total, "is_log_x": False, "is_log_y": False, "is_upside_down": False}


def _kept(values: list[float | None], total: int) -> list[int] | None:
    if total <= MOST_POINTS:
        return None
    numbers = np.array([math.nan if value is None else value for value in values])
    kept: set[int] = {0, total - 1}
    for stretch in np.array_split(np.arange(total), MOST_POINTS // 2):
        known = stretch[~np.isnan(numbers[stretch])]
        if known.size:
            kept |= {int(known[np.argmin(numbers[known])]), int(known[np.argmax(numbers[known])])}
    return sorted(kept)


def _is_long(values: Any) -> bool:
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    return bool(known.size and known.min() > 0 and known.max() > _LONG * known.min())


def _image(part: Unit) -> dict[str, Any] | None:
    plane = _plane(part.data)
    block = max(1, math.ceil(max(plane.shape) / MOST_SIDE))
    pixels = _blocks(plane, block)
    known = pixels[np.isfinite(pixels)]
    if not known.size:
        return None
    low, high = (float(value) for value in np.quantile(known, _CORNER))
    return {
        "kind": "image",
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "pixels": base64.b64encode(np.ascontiguousarray(pixels, dtype="<f4").tobytes()).decode(),
        "unit": str(part.header.get("BUNIT", "")),
        "low": low,
        "high": high if high > low else low + 1.0,
        "block": block,
        "shape": list(part.data.shape),
        "x": _axis(part.header, 1, block),
        "y": _axis(part.header, 2, block),
    }


def _plane(data: Any) -> Any:
    """The first of a cube."""
    while data.ndim > _SHOWN_SHAPE:
        data = data[0]
    return data


def _blocks(plane: Any, block: int) -> Any:
    """Means of squares of pixels; a last one that is not whole is the mean of what there is."""
    if block == 1:
        return plane.astype(float)
    tall, wide = (math.ceil(side / block) for side in plane.shape)
    room = np.full((tall * block, wide * block), np.nan)
    room[: plane.shape[0], : plane.shape[1]] = plane
    squares = room.reshape(tall, block, wide, block)
    is_known = np.isfinite(squares)
    sums, counts = np.where(is_known, squares, 0.0).sum(axis=(1, 3)), is_known.sum(axis=(1, 3))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _axis(header: Mapping[str, Any], number: int, block: int) -> dict[str, Any]:
    """By the header where it says it plainly, else pixels, from 1. A place on the sky is told as its distance from the middle, as projected.

    Source: Greisen and Calabretta 2002, A&A 395, 1061 (CRPIX counts the middle of the first pixel as 1).
    """
    found = [header.get(f"{key}{number}") for key in ("CDELT", "CRPIX", "CRVAL")]
    step, place, value = (float(one) if isinstance(one, (int, float)) else 0.0 for one in found)
    is_turned = any(key.startswith(("CD1_", "CD2_", "PC1_", "PC2_", "CROTA")) for key in header)
    if is_turned or None in found or not step:
        return {"label": "xy"[number - 1], "unit": "pixel", "first": 0.5, "step": block}
    kind, unit = str(header.get(f"CTYPE{number}", "")), str(header.get(f"CUNIT{number}", ""))
    label, dash, _ = kind.partition("-")
    middle = 0.0 if dash else value
    return {"label": f"Δ {label}" if dash else label or "xy"[number - 1], "unit": unit, "first": middle + (0.5 - place) * step, "step": step * block}
