"""A small product that is no file is read, drawn, packed and sent as one that is (P12)."""

import gzip
import os
import tarfile
from datetime import UTC, datetime
from pathlib import PurePosixPath

import numpy as np
import pytest
from starlette.testclient import TestClient

from angelia.dialects.oda_encoding import encoded
from angelia.flow.job_files import BadProducts, collect, taken
from angelia.instrument import MOST_CONTENTS
from angelia.model.declaration import Limits, ProductKind
from angelia.products.output import Output
from angelia.products.packing import packed
from angelia.products.plots import plots_of, rows_of
from angelia.products.source import Kept, opened, size_of
from angelia.wire.file_answer import FileAnswer

AT = datetime(2026, 5, 1, 12, 0, 3, tzinfo=UTC)
LIMITS = Limits(output_bytes=10_000_000, files=50)


def write(out):
    """One of each kind."""
    time = np.arange(5.0)
    out.table("table", {"a": time, "b": ["x"] * 5}, {"a": "s"})
    out.light_curve("curve", {"TIME": time, "RATE": time**2, "ERROR": time / 7}, {"TIME": "s", "RATE": "count / s"})
    out.spectrum("spectrum", {"ENERGY": time, "FLUX": time}, {"ENERGY": "keV"})
    out.image("image", time.repeat(4).reshape(5, 4), {"BUNIT": "Jy"})
    out.text("words", "Grüße")
    out.json("values", {"n": [1, None]})


@pytest.fixture
def both(tmp_path):
    """(as a file, as a small content), by product."""
    as_files, in_memory = Output(tmp_path), Output(tmp_path / "none", MOST_CONTENTS)
    for out in (as_files, in_memory):
        write(out)
        out.close()
    files, contents = collect(tmp_path, LIMITS), taken(in_memory.contents, LIMITS)
    assert not (tmp_path / "none").exists()
    for file in tmp_path.iterdir():
        os.utime(file, (AT.timestamp(), AT.timestamp()))
    return [
        ((file, tmp_path / file.path), (content, Kept(PurePosixPath(content.path), content.content, AT)))
        for file, content in zip(files, contents, strict=True)
    ]


def test_what_is_told_of_them_is_the_same(both):
    for (file, _), (content, _) in both:
        assert {**vars_of(content), "content": None} == vars_of(file)


def vars_of(product):
    return {name: getattr(product, name) for name in type(product).__slots__}


def test_they_are_read_drawn_and_encoded_alike(both):
    for (file, path), (_, kept) in both:
        assert (path.name, path.stem, path.read_bytes(), path.read_text(errors="replace")) == (
            kept.name, kept.stem, kept.read_bytes(), kept.read_text(errors="replace"),
        )  # fmt: skip
        assert size_of(path) == size_of(kept)
        with opened(path) as one, opened(kept) as other:
            assert one.read() == other.read()
        if file.kind in (ProductKind.TABLE, ProductKind.LIGHT_CURVE, ProductKind.SPECTRUM, ProductKind.IMAGE):
            assert plots_of(path, file.kind) == plots_of(kept, file.kind)
            assert rows_of(path, file.kind, 1, 2) == rows_of(kept, file.kind, 1, 2)
    assert encoded([one for one, _ in both]) == encoded([other for _, other in both])


ASKED = [
    {}, {"range": "bytes=2-5"}, {"range": "bytes=-3"}, {"range": "bytes=3-"}, {"range": "bytes=0-1,4-5"}, {"range": "bytes=9999999-"}, {"range": "lines=1-2"},
    {"range": "bytes=2-5", "if-range": '"another"'}, {"range": "bytes=2-5", "if-range": "Fri, 01 May 2026 12:00:03 GMT"},
]  # fmt: skip


@pytest.mark.parametrize("asked", ASKED, ids=str)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_they_are_sent_alike(both, monkeypatch, asked, method):
    monkeypatch.setattr("starlette.responses.token_hex", lambda size: "0" * 2 * size)
    for (file, path), (content, kept) in both[:2]:
        assert file.sha256 == content.sha256
        answers = [TestClient(FileAnswer(source, media_type=file.content_type)).request(method, "/", headers=asked) for source in (path, kept)]
        one, other = [(answer.status_code, {**answer.headers, "etag": ""}, answer.content) for answer in answers]
        assert one == other


def test_they_are_packed_alike(both, tmp_path):
    found = []
    for number in (0, 1):
        made = packed([(f"in/{pair[number][1].name}", pair[number][1]) for pair in both], tmp_path / "archives")
        with tarfile.open(made) as archive:
            entries = [(entry.name, entry.size, entry.mtime, entry.isreg(), archive.extractfile(entry).read()) for entry in archive]
            assert {(entry.uname, entry.gname, entry.uid) for entry in archive} == {("", "", 0)}
        alone = packed([("x", both[0][number][1])], tmp_path / "archives", is_one=True)
        found.append((entries, gzip.decompress(alone.read_bytes())))
    assert found[0] == found[1]
    assert found[0][0][0][0].startswith("in/")


def test_an_archive_that_nobody_removed_goes_with_a_later_one(both, tmp_path):
    folder = tmp_path / "archives"
    old, young = (packed([("x", both[0][0][1])], folder) for _ in range(2))
    (folder / "other").touch()
    for path in (old, folder / "other"):
        os.utime(path, (1_000, 1_000))
    new = packed([("x", both[0][0][1])], folder)
    assert set(folder.iterdir()) == {young, new, folder / "other"}
    with pytest.raises(FileNotFoundError):
        packed([("x", tmp_path / "nothing")], folder)
    assert len(list(folder.iterdir())) == 3


def test_what_becomes_large_becomes_files_and_all_with_it(tmp_path):
    out = Output(tmp_path / "job", 1_000)
    out.text("small", "x" * 900)
    assert not (tmp_path / "job").exists()
    out.text("large", "y" * 101)
    out.text("small too", "z")
    out.close()
    assert out.contents is None
    products = collect(tmp_path / "job", LIMITS)
    assert [(product.name, product.size, product.content) for product in products] == [
        ("small", 900, None),
        ("large", 101, None),
        ("small too", 1, None),
    ]


@pytest.mark.parametrize("room", [0, 1_000])
def test_a_file_that_a_job_wrote_itself_makes_all_of_them_files(tmp_path, room):
    for name in ("own.bin", "more.bin"):
        (tmp_path / name).write_bytes(b"own")
    out = Output(tmp_path, room)
    out.text("small", "few")
    out.file("own", "own.bin")
    out.text("small too", "few")
    out.file("more", "more.bin")
    out.close()
    assert out.contents is None
    assert [product.path for product in collect(tmp_path, LIMITS)] == ["small.txt", "own.bin", "small_too.txt", "more.bin"]


def test_no_file_that_a_job_wrote_itself_is_overwritten(tmp_path):
    out = Output(tmp_path, 1_000)
    out.text("own", "a product")
    (tmp_path / "own.txt").write_text("its own")
    out.text("full", "x" * 991)
    out.close()
    products = {product.name: product for product in collect(tmp_path, LIMITS)}
    assert (tmp_path / "own.txt").read_text() == "its own"
    assert (tmp_path / products["own"].path).read_text() == "a product"
    assert products["full"].size == 991


@pytest.mark.parametrize(
    ("entries", "is_limit"),
    [
        ([({"name": "x", "kind": "file", "path": "../x"}, b"")], False),
        ([({"name": "x", "kind": "file", "path": ".x"}, b"")], False),
        ([({"name": "x", "kind": "file", "path": ""}, b"")], False),
        ([({"name": "", "kind": "file", "path": "x"}, b"")], False),
        ([({"name": "x", "kind": "what", "path": "x"}, b"")], False),
        ([({"name": "x", "kind": "file", "path": "x"}, b"")] * 2, False),
        ([({"name": "x", "kind": "file", "path": "x"}, bytes(MOST_CONTENTS + 1))], False),
        ([({"name": "x", "kind": "file", "path": "x", "meta": {"long": "x" * 70_000}}, b"")], False),
        ([({"name": f"x{n}", "kind": "file", "path": "x"}, b"") for n in range(51)], True),
    ],
)
def test_contents_that_lie_are_refused(entries, is_limit):  # E6
    with pytest.raises(BadProducts) as told:
        taken(entries, LIMITS)
    assert told.value.is_limit is is_limit
    with pytest.raises(BadProducts):
        taken([({"name": "x", "kind": "file", "path": "x"}, b"12")], Limits(output_bytes=1))
