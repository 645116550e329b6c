"""What a computing function writes, how it is listed, and how it is read back."""

import json
import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from angelia.dialects.oda_encoding import encoded
from angelia.model.declaration import ProductKind
from angelia.products.files import read_table, read_units
from angelia.products.output import MANIFEST, PROGRESS, Output, read_progress
from angelia.products.plain import plain, plain_text


def listed(folder):
    return {entry["name"]: entry for entry in json.loads((folder / MANIFEST).read_text())["products"]}


def test_each_kind_is_written_listed_and_read_back(tmp_path):
    out = Output(tmp_path)
    curve = {
        "TIME": np.arange(4.0),
        "RATE": np.array([1, np.nan, np.inf, 2], dtype="f4"),
        "OK": [True, False, True, True],
        "NAME": ["a", "bb", "c", "d"],
    }
    out.light_curve("light curve", curve, {"TIME": "d", "RATE": "count / s"}, {"TELESCOP": "Sky", "a long word": 3, "BAD": math.nan}, "Of a star")
    out.spectrum("spectrum", {"ENERGY": [1, 2], "FLUX": [0.5, 0.25]}, {"ENERGY": "keV"})
    out.image("image", np.arange(12.0).reshape(3, 4), {"BUNIT": "Jy", "CRVAL1": math.inf})
    out.table("sources é", {"n": [1, 2], "name": ["x", "y y"], "v": [1.5, math.nan]}, {"v": "mJy"}, {"k": 1})
    out.text("log", "hé\n")
    out.json("best", {"x": math.nan, "a": np.arange(3), "b": np.float32(0.5), "c": {"d": None}})
    (tmp_path / "raw.bin").write_bytes(bytes(range(256)))
    out.file("raw", "raw.bin")
    assert not (tmp_path / MANIFEST).exists()
    out.publish()
    assert list(listed(tmp_path)) == ["light curve", "spectrum", "image", "sources é", "log", "best", "raw"]
    (tmp_path / MANIFEST).unlink()
    out.close()
    found = listed(tmp_path)
    assert {name: entry["kind"] for name, entry in found.items()} == {
        "light curve": "light_curve", "spectrum": "spectrum", "image": "image", "sources é": "table", "log": "text", "best": "json", "raw": "file",
    }  # fmt: skip
    assert found["light curve"]["title"] == "Of a star"
    assert found["light curve"]["meta"]["rows"] == 4
    assert found["image"]["meta"]["shape"] == [3, 4]
    assert found["raw"]["path"] == "raw.bin"
    assert sorted(os.listdir(tmp_path)) == sorted([MANIFEST, *(entry["path"] for entry in found.values())])

    (unit,) = read_units(tmp_path / found["light curve"]["path"], ProductKind.LIGHT_CURVE)
    assert unit.data.dtype.descr == [("TIME", "<f8"), ("RATE", "<f4"), ("OK", "|b1"), ("NAME", "<U2")]
    assert unit.data["OK"].tolist() == [True, False, True, True]
    np.testing.assert_array_equal(unit.data["RATE"], curve["RATE"])
    assert unit.units == {"TIME": "d", "RATE": "count s-1"}
    assert unit.header["TELESCOP"] == "Sky"
    (unit,) = read_units(tmp_path / found["image"]["path"], ProductKind.IMAGE)
    np.testing.assert_array_equal(unit.data, np.arange(12.0).reshape(3, 4))
    assert unit.header["BUNIT"] == "Jy" and "CRVAL1" not in unit.header
    table = read_table(tmp_path / found["sources é"]["path"])
    assert table["name"].tolist() == ["x", "y y"] and str(table["v"].unit) == "mJy" and table.meta["k"] == 1
    assert json.loads((tmp_path / found["best"]["path"]).read_text()) == {"x": None, "a": [0, 1, 2], "b": 0.5, "c": {"d": None}}
    assert (tmp_path / found["log"]["path"]).read_text() == "hé\n"


@pytest.mark.parametrize("write", [
    lambda out: out.text("", "x"),
    lambda out: out.text("a\n", "x"),
    lambda out: (out.text("a", "x"), out.text("a", "y")),
    lambda out: out.light_curve("a", {"TIME": [1]}),
    lambda out: out.spectrum("a", {}),
    lambda out: out.table("a", {"x": [1], "y": [1, 2]}),
    lambda out: out.table("a", {"x": [1]}, {"y": "m"}),
    lambda out: out.table("a", {"x": [1]}, {"x": "parrot"}),
    lambda out: out.table("a", {"x": [1, {}]}),
    lambda out: out.image("a", [1, 2]),
    lambda out: out.image("a", [["x"]]),
    lambda out: out.json("a", object()),
    lambda out: out.file("a", "missing"),
    lambda out: out.file("a", MANIFEST),
])  # fmt: skip
def test_what_can_t_be_a_product_leaves_nothing_behind(tmp_path, write):
    out = Output(tmp_path)
    with pytest.raises((ValueError, TypeError, FileNotFoundError)):
        write(out)
    assert [name for name in os.listdir(tmp_path) if name != "a.txt"] == []


def test_names_never_leave_the_folder_or_meet(tmp_path):
    out = Output(tmp_path)
    for name in ("../up", "a/b", "a_b", "products", ".hidden", "é", "ê", "x" * 200):
        out.json(name, 1)
    out.text("products.json", "x")
    out.close()
    paths = [entry["path"] for entry in listed(tmp_path).values()]
    assert len(set(paths)) == 9 and MANIFEST not in paths
    assert sorted(os.listdir(tmp_path)) == sorted([MANIFEST, *paths])


def test_a_file_from_elsewhere_is_copied(tmp_path):
    folder, other = tmp_path / "job", tmp_path / "other.png"
    folder.mkdir()
    other.write_bytes(b"\x89PNG")
    out = Output(folder)
    out.file("picture", other)
    out.close()
    entry = listed(folder)["picture"]
    assert entry["content_type"] == "image/png" and (folder / entry["path"]).read_bytes() == b"\x89PNG"


def test_progress_is_read_while_it_is_written(tmp_path):
    out = Output(tmp_path)
    assert read_progress(tmp_path) == (None, "")
    out.progress(0.25, "a quarter")
    assert read_progress(tmp_path) == (0.25, "a quarter")
    out.progress(7)
    assert read_progress(tmp_path) == (1.0, "")
    for nonsense in (b"", b"[]", b"{", b'{"fraction": "x", "message": ""}', b"\xff", b"[" * 10_000):
        (tmp_path / PROGRESS).write_bytes(nonsense)
        assert read_progress(tmp_path) == (None, "")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.floats(width=32).map(np.float32) | st.booleans().map(np.bool_)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner, inner))


@given(VALUES)
def test_anything_becomes_plain_json_once(value):
    found = plain(value)
    assert json.loads(plain_text(value)) == found
    assert plain(found) == found


def test_what_has_no_end_is_refused():
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="too deeply"):
        plain(loop)


class Listed:
    content_type, size, meta = "application/fits", 1, {}

    def __init__(self, kind, name="x", **more):
        self.kind, self.name = kind, name
        vars(self).update(more)


def as_the_client_reads(element):
    """It makes Python of the text, None of null, and an array of tuples."""
    rows = eval(element["data"].replace("null", "None"), {"__builtins__": {}})
    try:
        kind = np.dtype(element["dt"])
    except TypeError:
        kind = eval(element["dt"], {"__builtins__": {}})
    return np.asanyarray([tuple(row) for row in rows], dtype=kind)


@settings(max_examples=20)
@given(hnp.arrays(st.sampled_from(["f8", "f4", "i2", "i4", "u1"]), hnp.array_shapes(min_dims=2, max_dims=3, max_side=4)))
def test_images_come_through_as_they_are(tmp_path_factory, array):
    folder = tmp_path_factory.mktemp("image")
    Output(folder).image("x", array)
    answer = encoded([(Listed(ProductKind.IMAGE), folder / "x.fits")]).products
    json.dumps(answer, allow_nan=False)
    found = as_the_client_reads(answer["numpy_data_product_list"][0]["data_unit_list"][0])
    np.testing.assert_array_equal(found, np.where(np.isfinite(array), array, np.nan) if array.dtype.kind == "f" else array)


@settings(max_examples=20)
@given(st.data(), st.integers(1, 5))
def test_columns_come_through_as_they_are(tmp_path_factory, data, rows):
    kinds = data.draw(st.lists(st.sampled_from(["f8", "f4", "i4", "i8", "?", "U3"]), min_size=1, max_size=4))
    letters = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=3)
    columns = {f"C{number}": data.draw(hnp.arrays(kind, rows, elements=letters if kind == "U3" else None)) for number, kind in enumerate(kinds)}
    folder = tmp_path_factory.mktemp("columns")
    Output(folder).spectrum("x", columns)
    answer = encoded([(Listed(ProductKind.SPECTRUM), folder / "x.fits")]).products
    json.dumps(answer, allow_nan=False)
    found = as_the_client_reads(answer["numpy_data_product_list"][0]["data_unit_list"][0])
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], np.where(np.isfinite(column), column, np.nan) if column.dtype.kind == "f" else column)


def test_what_is_too_large_for_an_answer_is_named(tmp_path):
    path = tmp_path / "x"
    path.write_text("text")
    found = encoded([(Listed(ProductKind.TEXT, "a", size=4), path), (Listed(ProductKind.FILE, "b", size=100), path)], most_bytes=50)
    assert list(found.products) == ["text_product_list"] and found.left_out == ("b",)
