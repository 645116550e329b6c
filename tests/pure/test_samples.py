"""The sample instruments compute what they say: the period, the sources and the model that went into their data come out again."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from angelia.instruments.samples import FOLDER, sample_tables
from angelia.model.declaration import ProductKind
from angelia.parameters import checked
from angelia.parameters.reading import read_declaration, read_folder
from angelia.products.files import read_table, read_units
from angelia.products.output import MANIFEST, Output, read_progress

DECLARED = {declaration.name: declaration for declaration in read_folder(FOLDER)}


def computed(folder, instrument, **given):
    declaration = DECLARED[instrument]
    (product,) = declaration.products
    module, _, name = declaration.settings["target"].partition(":")
    out = Output(folder)
    getattr(importlib.import_module(module), name)(checked(declaration, product.name, given).values, out)
    out.close()
    assert read_progress(folder) == (1.0, "done")
    entries = json.loads((folder / MANIFEST).read_text())["products"]
    assert product.kind in {entry["kind"] for entry in entries}
    return {entry["name"]: folder / entry["path"] for entry in entries}


def test_a_site_has_them_by_their_names():
    assert set(sample_tables()) == set(DECLARED)
    assert all(read_declaration(Path(table["declaration"])).name == name for name, table in sample_tables().items())


@pytest.mark.parametrize("period", [3.0, 7.5])
def test_the_period_that_went_in_comes_out(tmp_path, period):
    found = computed(tmp_path, "periodogram", period={"value": period * 60, "unit": "minute"}, T1="61100", T2="61103", T_format="mjd")
    best = json.loads(found["best period"].read_text())
    assert best["period_hours"] == pytest.approx(period, rel=0.02)
    assert best["false_alarm_probability"] < 1e-6
    (curve,) = read_units(found["light curve"], ProductKind.LIGHT_CURVE)
    assert len(curve.data) == 432 and curve.data["TIME"][0] == pytest.approx(61100, abs=0.01)


def test_no_period_where_none_went_in(tmp_path):
    found = computed(tmp_path, "periodogram", amplitude=0)
    assert json.loads(found["best period"].read_text())["false_alarm_probability"] > 1e-3


def test_the_same_seed_is_the_same_data(tmp_path):
    files = []
    for number, seed in enumerate((5, 5, 6)):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(computed(folder, "periodogram", seed=seed)["light curve"].read_bytes())
    assert files[0] == files[1] != files[2]


def test_smoothing_keeps_the_light_and_lowers_the_noise(tmp_path):
    found = computed(tmp_path, "smoothing", stars=20, size=128, RA="5h34m32s")
    (before,), (after,) = (read_units(found[name], ProductKind.IMAGE) for name in ("image", "smoothed image"))
    assert after.data.sum() == pytest.approx(before.data.sum(), rel=1e-3)
    # Most of a field is sky: the median of the deviations is that of the noise.
    noise = [np.median(np.abs(image.data - np.median(image.data))) for image in (before, after)]
    assert noise[1] < noise[0] / 2
    sources = read_table(found["sources"])
    assert 5 < len(sources) <= 25
    assert np.all(np.abs(sources["RA"] - 83.633) < 0.1) and np.all(np.abs(sources["DEC"] - 22.014) < 0.1)
    # The brightest source lies where the brightest pixel is, by the header alone.
    row, column = np.unravel_index(np.argmax(after.data), after.data.shape)
    header = after.header
    assert sources["DEC"][0] == pytest.approx(header["CRVAL2"] + (row + 1 - header["CRPIX2"]) * header["CDELT2"], abs=1e-4)
    ra = header["CRVAL1"] + (column + 1 - header["CRPIX1"]) * header["CDELT1"] / np.cos(np.radians(sources["DEC"][0]))
    assert sources["RA"][0] == pytest.approx(ra, abs=1e-4)


def test_an_empty_field_has_hardly_a_source(tmp_path):
    assert len(read_table(computed(tmp_path, "smoothing", stars=0, size=64, threshold=6)["sources"])) == 0


def test_the_model_that_went_in_comes_out(tmp_path):
    found = computed(tmp_path, "spectrum-fit", photon_index=1.7, line="0.08 MeV")
    fit = {row["PARAMETER"]: row for row in read_table(found["best fit"])}
    for name, truth in (("photon index", 1.7), ("line energy", 80.0), ("norm", 0.05)):
        assert abs(fit[name]["VALUE"] - truth) < 5 * fit[name]["ERROR"], name
    assert "photon index = 1." in found["summary"].read_text()


def test_what_can_t_be_computed_says_why(tmp_path):
    with pytest.raises(ValueError, match="16 to 20000"):
        computed(tmp_path, "periodogram", T2="2020-01-01T00:00:00")
    with pytest.raises(ValueError, match="256 are the most"):
        computed(tmp_path, "smoothing", width=600, pixel="1 arcsec")
    with pytest.raises(ValueError, match="between the lowest and the highest"):
        computed(tmp_path, "spectrum-fit", line=500)
