"""The unmodified client decodes every form in which products are told."""

import json
import struct
import zlib

import numpy as np
import pytest

from angelia.dialects.oda_encoding import encoded
from angelia.model.declaration import ProductKind
from angelia.products.output import MANIFEST, Output
from angelia_testing.peers.oda_client import run_client

READ = """
import ast, json, sys
from oda_api.api import DataCollection

# As the client itself reads the body of an answer.
answer = ast.literal_eval(str(json.load(sys.stdin)).replace("null", "None"))
told = {}
for product in DataCollection.from_response_json(answer, "probe", "p")._p_list:
    kind, name = type(product).__name__, product.name
    if kind == "NumpyDataProduct":
        (unit,) = product.data_unit
        told[name] = [kind, repr(unit.data.tolist()), str(unit.data.dtype.descr), unit.units_dict]
        product.to_fits_hdu_list()
    elif kind in ("ODAAstropyTable", "ApiCatalog"):
        told[name] = [kind, product.table.colnames, repr(product.table[product.table.colnames[0]].tolist())]
    elif kind == "TextLikeProduct":
        told[name] = [kind, product.value, product.meta_data]
    elif kind == "PictureProduct":
        told[name] = [kind, product.img_type]
    else:
        told[name] = [kind, product.bin_data.hex()]
print(json.dumps(told))
"""


class Listed:
    size = 1

    def __init__(self, entry):
        self.name, self.kind, self.content_type, self.meta = entry["name"], ProductKind(entry["kind"]), entry["content_type"], entry["meta"]


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


PNG = (
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("products")
    out = Output(folder)
    curve = {"TIME": np.arange(2.0), "RATE": np.array([1, np.nan], dtype="f4"), "OK": [True, False], "NAME": ["a", "null"], "V": [[1, 2], [3, 4]]}
    out.light_curve("curve", curve, {"TIME": "d", "RATE": "count / s"}, {"TELESCOP": "Sky"})
    out.spectrum("spectrum", {"ENERGY": [20.0, 30.0], "FLUX": [0.5, 0.25]}, {"ENERGY": "keV"})
    out.image("image", np.array([[1, np.nan], [np.inf, 4.0]]), {"BUNIT": "Jy"})
    out.image("cube", np.arange(8, dtype="i2").reshape(2, 2, 2))
    meta = {"cat_frame": "fk5", "cat_coord_units": "deg", "cat_lon_name": "ra", "cat_lat_name": "dec"}
    out.table("sources", {"ra": [1.5, np.nan], "dec": [4.0, 5.0], "name": ["x", "y"]}, {"ra": "deg"}, meta)
    out.text("log", "hé\n", {"k": 1})
    out.json("best", {"x": np.nan, "a": [1, "true"]})
    for name, content in (("raw.bin", bytes(range(256))), ("p.png", PNG)):
        (folder / name).write_bytes(content)
        out.file(name, name)
    out.close()
    entries = json.loads((folder / MANIFEST).read_text())["products"]
    found = encoded([(Listed(entry), folder / entry["path"]) for entry in entries])
    assert found.left_out == ()
    answer = {"products": found.products, "job_monitor": {"job_id": "a" * 16, "session_id": "b"}, "session_id": "b", "exit_status": {"comment": ""}}
    json.dumps(answer, allow_nan=False)
    return run_client(READ, answer)


def test_arrays(told):
    assert told["image"] == ["NumpyDataProduct", "[[1.0, nan], [nan, 4.0]]", "[('', '<f8')]", None]
    assert told["cube"][1:3] == ["[[[0, 1], [2, 3]], [[4, 5], [6, 7]]]", "[('', '<i2')]"]


def test_curves(told):
    kind, rows, described, units = told["curve"]
    assert kind == "NumpyDataProduct" and units == {"TIME": "d", "RATE": "count s-1"}
    assert described == "[('TIME', '<f8'), ('RATE', '<f4'), ('OK', '|b1'), ('NAME', '<U4'), ('V', '<i8', (2,))]"
    assert rows.startswith("[(0.0, 1.0, True, 'a', ") and "(1.0, nan, False, " in rows
    assert told["spectrum"][1] == "[(20.0, 0.5), (30.0, 0.25)]"


def test_tables_and_catalogues(told):
    assert told["sources"] == ["ODAAstropyTable", ["ra", "dec", "name"], "[1.5, nan]"]
    # A source without a position breaks its catalogue.
    assert told["dispatcher_catalog"] == ["ApiCatalog", ["ra", "dec", "name"], "[1.5]"]


def test_texts_and_files(told):
    assert told["log"] == ["TextLikeProduct", "hé\n", {"k": 1}]
    assert told["best"] == ["TextLikeProduct", {"x": None, "a": [1, "true"]}, {}]
    assert told["raw.bin"] == ["BinaryProduct", bytes(range(256)).hex()]
    assert told["p.png"] == ["PictureProduct", "png"]
