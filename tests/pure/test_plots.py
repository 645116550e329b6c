"""What is drawn of product files: which columns, with which errors, how much of it, and what is refused."""

import base64
import gzip
import json

import numpy as np
import pytest
from astropy.io import fits

from angelia.model.declaration import ProductKind
from angelia.products.output import MANIFEST, Output
from angelia.products.plots import MOST_POINTS, MOST_SIDE, plots_of, rows_of

CURVE, SPECTRUM, IMAGE, TABLE = ProductKind.LIGHT_CURVE, ProductKind.SPECTRUM, ProductKind.IMAGE, ProductKind.TABLE


@pytest.fixture
def out(tmp_path):
    return Output(tmp_path)


def file_of(out, tmp_path):
    out.close()
    return tmp_path / json.loads((tmp_path / MANIFEST).read_text())["products"][-1]["path"]


def only(path, kind):
    (one,) = plots_of(path, kind)
    json.dumps(one, allow_nan=False)
    return one


def pixels(one):
    return np.frombuffer(base64.b64decode(one["pixels"]), "<f4").reshape(one["height"], one["width"])


def test_a_light_curve_has_its_errors_and_the_width_of_bins_in_the_unit_of_time(out, tmp_path):
    columns = {"TIME": [1.0, 2.0, 3.0], "TIMEDEL": [864.0] * 3, "RATE": [5.0, np.nan, 7.0], "ERROR": [1.0, 2.0, 3.0], "QUALITY": [0, 0, 1]}
    out.light_curve("c", columns, {"TIME": "d", "TIMEDEL": "s", "RATE": "count / s", "ERROR": "count / s"})
    one = only(file_of(out, tmp_path), CURVE)
    assert (one["kind"], one["x"]["label"], one["x"]["unit"], one["x"]["values"]) == ("curve", "TIME", "d", [1.0, 2.0, 3.0])
    assert one["x"]["widths"] == pytest.approx([0.005] * 3)
    (rate,) = one["series"]
    assert (rate["label"], rate["unit"], rate["values"], rate["errors"], rate["is_line"]) == (
        "RATE",
        "count s-1",
        [5.0, None, 7.0],
        [1.0, 2.0, 3.0],
        False,
    )
    assert not one["is_log_x"] and not one["is_log_y"]


def test_a_spectrum_over_a_wide_band_is_logarithmic_and_its_model_is_a_line(out, tmp_path):
    energies = np.geomspace(1.0, 100.0, 20)
    columns = {"ENERGY": energies, "WIDTH": energies / 10, "FLUX": 1 / energies, "ERROR": 0.1 / energies, "MODEL": 1 / energies, "CHI": energies}
    unit = "1 / (keV s)"
    out.spectrum("s", columns, {"ENERGY": "keV", "WIDTH": "keV", "FLUX": unit, "ERROR": unit, "MODEL": unit})
    one = only(file_of(out, tmp_path), SPECTRUM)
    assert [(series["label"], series["is_line"]) for series in one["series"]] == [("FLUX", False), ("MODEL", True)]
    assert one["is_log_x"] and one["is_log_y"]
    assert one["x"]["widths"][0] == pytest.approx(0.05)


def test_errors_belong_to_their_column_and_magnitudes_hang_down(out, tmp_path):
    columns = {"TIME": [1, 2], "MAG": [10.0, 11.0], "MAG_ERR": [0.1, 0.2], "ERROR": [9.0, 9.0], "NAME": ["a", "b"]}
    out.light_curve("c", columns)
    one = only(file_of(out, tmp_path), CURVE)
    assert [(series["label"], series["errors"]) for series in one["series"]] == [("MAG", [0.1, 0.2])]
    assert one["is_upside_down"]


def test_a_width_of_another_kind_than_its_axis_is_no_bar(out, tmp_path):
    out.light_curve("c", {"TIME": [1.0, 2.0], "TIMEDEL": [1.0, 1.0], "RATE": [1.0, 2.0]}, {"TIME": "d", "TIMEDEL": "keV"})
    assert only(file_of(out, tmp_path), CURVE)["x"]["widths"] is None


def test_a_long_curve_is_thinned_and_keeps_its_peaks(out, tmp_path):
    rates = np.zeros(200_000)
    rates[123_456], rates[77_777] = 9.0, -4.0
    out.light_curve("c", {"TIME": np.arange(200_000.0), "RATE": rates, "ERROR": rates / 2})
    one = only(file_of(out, tmp_path), CURVE)
    (series,) = one["series"]
    assert one["total"] == 200_000 and len(series["values"]) <= MOST_POINTS + 2
    at = one["x"]["values"].index(123_456.0)
    assert (series["values"][at], series["errors"][at]) == (9.0, 4.5)
    assert min(series["values"]) == -4.0
    assert one["x"]["values"] == sorted(one["x"]["values"])


def test_an_image_is_told_with_its_place_on_the_sky(out, tmp_path):
    array = np.arange(12.0, dtype="f4").reshape(3, 4)
    array[0, 0] = np.nan
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg"}
    out.image("i", array, {**sky, "BUNIT": "Jy", "CRPIX1": 2.5, "CRPIX2": 2.0, "CRVAL1": 83.6, "CRVAL2": 22.0, "CDELT1": -0.5, "CDELT2": 0.5})
    one = only(file_of(out, tmp_path), IMAGE)
    assert (one["width"], one["height"], one["unit"]) == (4, 3, "Jy")
    assert np.array_equal(pixels(one), array, equal_nan=True)
    assert one["x"] == {"label": "Δ RA", "unit": "deg", "first": 1.0, "step": -0.5}
    assert one["y"] == {"label": "Δ DEC", "unit": "deg", "first": -0.75, "step": 0.5}
    assert 1.0 <= one["low"] < one["high"] <= 11.0


def test_an_image_that_says_nothing_or_is_turned_is_in_pixels(out, tmp_path):
    out.image("i", np.ones((2, 3)), {"CD1_1": 0.5, "CRPIX1": 1.0, "CRVAL1": 1.0, "CDELT1": 1.0})
    one = only(file_of(out, tmp_path), IMAGE)
    assert one["x"] == {"label": "x", "unit": "pixel", "first": 0.5, "step": 1}
    assert one["high"] > one["low"]


def test_a_large_image_is_drawn_as_means_and_its_axes_stay(out, tmp_path):
    array = np.zeros((700, 1100))
    array[699, 1099] = 6.0
    out.image("i", array, {"CTYPE1": "X", "CRPIX1": 1.0, "CRVAL1": 10.0, "CDELT1": 2.0})
    one = only(file_of(out, tmp_path), IMAGE)
    assert one["block"] == 3 and max(one["width"], one["height"]) <= MOST_SIDE
    assert one["x"] == {"label": "X", "unit": "", "first": 9.0, "step": 6.0}
    # The last block has one row and two columns of pixels.
    assert pixels(one)[-1, -1] == pytest.approx(3.0)


def test_of_a_cube_the_first_plane_is_drawn_and_nothing_of_what_has_no_number(out, tmp_path):
    out.image("i", np.stack([np.full((2, 2), 1.0), np.full((2, 2), 2.0)]))
    one = only(file_of(out, tmp_path), IMAGE)
    assert one["shape"] == [2, 2, 2] and pixels(one).tolist() == [[1, 1], [1, 1]]
    out.image("n", np.full((2, 2), np.nan))
    assert plots_of(file_of(out, tmp_path), IMAGE) == []


def test_rows_come_a_page_at_a_time(out, tmp_path):
    out.table("t", {"n": list(range(5)), "name": ["a", "b", "c", "d", "é"], "v": [1.5, np.nan, 3, 4, 5]}, {"v": "mJy"})
    found = rows_of(file_of(out, tmp_path), TABLE, 1, 2)
    assert found.columns == (("n", ""), ("name", ""), ("v", "mJy"))
    assert (found.rows, found.first, found.total) == ([[1, "b", None], [2, "c", 3.0]], 1, 5)
    out.image("i", np.arange(6.0).reshape(3, 2))
    found = rows_of(file_of(out, tmp_path), IMAGE, 2, 9)
    assert (found.rows, found.total, len(found.columns)) == ([[4.0, 5.0]], 3, 2)


def test_a_table_without_rows_has_its_columns(out, tmp_path):
    out.light_curve("c", {"TIME": [], "RATE": []}, {"TIME": "d"})
    found = rows_of(file_of(out, tmp_path), CURVE, 0, 9)
    assert (found.columns, found.rows, found.total) == ((("TIME", "d"), ("RATE", "")), [], 0)
    out.table("t", {"n": []})
    assert rows_of(file_of(out, tmp_path), TABLE, 0, 9).columns == (("n", ""),)


def test_what_grows_when_it_is_read_is_refused(tmp_path):
    packed = tmp_path / "bomb.fits"
    packed.write_bytes(gzip.compress(b"SIMPLE  =                    T" + bytes(10_000)))
    with pytest.raises(OSError, match="no FITS"):
        plots_of(packed, IMAGE)
    tile = tmp_path / "tile.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(np.zeros((4096, 8192), "f4"))]).writeto(tile)
    assert tile.stat().st_size < 10_000_000
    with pytest.raises(ValueError, match="too large"):
        plots_of(tile, IMAGE)
