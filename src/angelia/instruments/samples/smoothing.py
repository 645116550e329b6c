"""Smoothing: a noisy image of stars, the same image smoothed by a Gaussian, and the sources that stand out of its noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from angelia.products.output import Output

MOST_PIXELS_OF_WIDTH = 256.0
_ARCSECONDS = 3600.0
_SEEING = 1.5
"""Width of a star in pixels, before the smoothing."""
_MAD = 1.4826
"""From the median of deviations to the sigma of a Gaussian."""


def run(values: Mapping[str, Any], out: Output) -> None:
    """Images in counts. ValueError for a smoothing that is wider than 256 pixels."""
    width = values["width"] / values["pixel"]
    if width > MOST_PIXELS_OF_WIDTH:
        raise ValueError(f"the smoothing is {width:.0f} pixels wide; {MOST_PIXELS_OF_WIDTH:.0f} are the most")
    out.progress(0.1, "makes the image")
    image = _field(values)
    header = _header(values)
    out.image("image", image.astype("f4"), header, f"{values['src_name']} as it was seen")
    out.progress(0.4, "smooths it")
    smooth = ndimage.gaussian_filter(image, width, mode="reflect") if width else image
    out.image("smoothed image", smooth.astype("f4"), {**header, "SMOOTH": width}, f"{values['src_name']}, smoothed")
    out.progress(0.8, "looks for sources")
    _list_sources(smooth, values, out)
    out.progress(1.0, "done")


def _field(values: Mapping[str, Any]) -> Any:
    noise = np.random.default_rng(values["seed"])
    size, stars = values["size"], values["stars"]
    sky = np.zeros((size, size))
    places = noise.integers(0, size, (stars, 2))
    np.add.at(sky, (places[:, 0], places[:, 1]), 2000.0 * noise.pareto(1.5, stars).clip(0.1, 50.0))
    return noise.poisson(ndimage.gaussian_filter(sky, _SEEING) + 20.0).astype(float)


def _header(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where the image lies on the sky, in the tangential projection."""
    middle, step = (values["size"] + 1) / 2, values["pixel"] / _ARCSECONDS
    return {
        "OBJECT": values["src_name"],
        "BUNIT": "count",
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CUNIT1": "deg",
        "CUNIT2": "deg",
        "CRPIX1": middle,
        "CRPIX2": middle,
        "CRVAL1": values["RA"],
        "CRVAL2": values["DEC"],
        "CDELT1": -step,
        "CDELT2": step,
    }


def _list_sources(smooth: Any, values: Mapping[str, Any], out: Output) -> None:
    """Each pixel that is the highest of its neighbours and stands out; brightest first."""
    level = float(np.median(smooth))
    sigma = max(_MAD * float(np.median(np.abs(smooth - level))), 1e-9)
    is_peak = (smooth == ndimage.maximum_filter(smooth, size=5)) & (smooth > level + values["threshold"] * sigma)
    rows, columns = np.nonzero(is_peak)
    order = np.argsort(-smooth[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    ra, dec = _on_the_sky(columns, rows, values)
    sources = {
        "NAME": np.array([f"source {number + 1}" for number in range(len(rows))], dtype="U16"),
        "RA": ra,
        "DEC": dec,
        "PEAK": smooth[rows, columns],
        "SIGNIFICANCE": (smooth[rows, columns] - level) / sigma,
    }
    meta = {"cat_frame": "fk5", "cat_coord_units": "deg", "cat_lon_name": "RA", "cat_lat_name": "DEC"}
    out.table("sources", sources, {"RA": "deg", "DEC": "deg", "PEAK": "count"}, meta, "Sources")


def _on_the_sky(columns: Any, rows: Any, values: Mapping[str, Any]) -> tuple[Any, Any]:
    """The inverse of the tangential projection; pixels count from 0, angles in degrees."""
    middle, step = (values["size"] - 1) / 2, np.radians(values["pixel"] / _ARCSECONDS)
    x, y = -(columns - middle) * step, (rows - middle) * step
    ra, dec = np.radians(values["RA"]), np.radians(values["DEC"])
    north = np.cos(dec) - y * np.sin(dec)
    longitude = ra + np.arctan2(x, north)
    latitude = np.arctan2(np.sin(dec) + y * np.cos(dec), np.hypot(x, north))
    return np.degrees(longitude) % 360.0, np.degrees(latitude)
