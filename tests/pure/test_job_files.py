"""What a job left behind, as the hub takes it: whole or not at all, from its own folder, and never loaded (E6, F44)."""

import base64
import hashlib
import io
import json
import os
import pickle
import resource
import signal
import stat
import warnings
import zipfile

import numpy as np
import pytest

from angelia.dialects.oda_encoding import encoded
from angelia.flow.job_files import BadProducts, collect
from angelia.instrument import MANIFEST
from angelia.model.declaration import Limits
from angelia.products.output import Output

LIMITS = Limits(output_bytes=10_000_000, files=50)


def listed(folder, *entries):
    (folder / MANIFEST).write_text(json.dumps({"products": [{"name": "x", "kind": "file", "path": "x.bin"} | entry for entry in entries]}))


def refused(folder, limits=LIMITS):
    with pytest.raises(BadProducts) as told:
        collect(folder, limits)
    return told.value


def written(folder):
    """Twenty small products, then the list of them."""
    out = Output(folder)
    for number in range(20):
        out.text(f"words {number}", "of a product\n" * 20)
    out.close()


def killed_after(folder, size):
    """A writer that is killed at the byte `size` of whatever file first comes so far; did it get to its end?"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            written(folder)
        finally:
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGXFSZ)
    return status == 0


def test_a_writer_that_is_killed_leaves_all_or_nothing(tmp_path):  # F44
    written(tmp_path)
    whole = len((tmp_path / MANIFEST).read_bytes())
    ends = set()
    for number, size in enumerate([1, 100, 259, 260, 261, whole // 2, whole - 1, whole, whole + 1]):
        folder = tmp_path / str(number)
        folder.mkdir()
        is_over = killed_after(folder, size)
        ends.add((is_over, size >= whole))
        if is_over:
            assert len(collect(folder, LIMITS)) == 20
        else:
            assert "list of products" in str(refused(folder))
    assert ends == {(False, False), (True, True)}


@pytest.mark.parametrize(
    "path", ["../../etc/cron.d/x", "/etc/passwd", "..", ".", "", "a\0.fits", "sub/../../x.bin", "no such", "..\\..\\x", "%2e%2e%2fx.bin"]
)
def test_a_path_out_of_the_folder_is_refused(tmp_path, path):  # E6.72
    folder = tmp_path / "job" / "1"
    folder.mkdir(parents=True)
    (tmp_path / "job" / "x.bin").write_text("of somebody else")
    listed(folder, {"path": path})
    assert "no file in the job's folder" in str(refused(folder))


@pytest.mark.parametrize("name", ["", "n" * 201, "a\nb", "\u202egnp.exe", "\x00"])
def test_a_name_that_deceives_is_refused(tmp_path, name):  # E6.72
    (tmp_path / "x.bin").write_text("x")
    listed(tmp_path, {"name": name})
    assert "printable" in str(refused(tmp_path))


@pytest.mark.parametrize("name", [".htaccess", "CON", "../../x", "<script>"])
def test_any_other_name_is_only_a_name(tmp_path, name):
    (tmp_path / "x.bin").write_text("x")
    listed(tmp_path, {"name": name})
    assert [(product.name, product.path) for product in collect(tmp_path, LIMITS)] == [(name, "x.bin")]


def test_what_is_no_plain_file_is_refused(tmp_path):  # E6.73
    (tmp_path / "outside").write_text("secret")
    for number, make in enumerate(
        [
            lambda path: path.symlink_to("/etc/passwd"),
            lambda path: path.symlink_to(tmp_path / "outside"),
            lambda path: path.mkdir(),
            lambda path: os.link(tmp_path / "outside", path),
            os.mkfifo,
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / "x.bin")
        listed(folder, {})
        assert any(why in str(refused(folder)) for why in ("no file in the job's folder", "somebody else's"))
    folder = tmp_path / "linked folder"
    folder.mkdir()
    (folder / "sub").symlink_to(tmp_path)
    listed(folder, {"path": "sub/outside"})
    refused(folder)


def test_a_file_of_a_terabyte_without_any_content_is_too_large(tmp_path):  # E6.73
    with (tmp_path / "x.bin").open("wb") as file:
        file.truncate(1 << 40)
    listed(tmp_path, {})
    assert refused(tmp_path).is_limit


@pytest.mark.skipif(os.geteuid() != 0, reason="devices are made by root")
def test_a_device_is_refused(tmp_path):  # E6.73
    os.mknod(tmp_path / "x.bin", stat.S_IFCHR | 0o600, os.makedev(1, 5))  # an endless file of zeros
    listed(tmp_path, {})
    assert "no file in the job's folder" in str(refused(tmp_path))


def entry(name, content=b"x", mode=0o100644):
    """Of an archive: its name, kind and content."""
    made = zipfile.ZipInfo(name)
    made.external_attr = mode << 16
    made.compress_type = zipfile.ZIP_DEFLATED
    return made, content


def zipped(*entries):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two of one name
        with zipfile.ZipFile(file, "w") as archive:
            for made, content in entries:
                archive.writestr(made, content)
    return file.getvalue()


def encrypted():
    content = bytearray(zipped(entry("a")))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    return bytes(content)


ARCHIVES = {
    "a way out": lambda: zipped(entry("../x"), entry("/etc/x"), entry("a/../../x")),
    "a bomb": lambda: zipped(*[entry(f"{n}.zip", zipped(entry("zeros", bytes(10_000_000)))) for n in range(4)]),
    "very many": lambda: zipped(*[entry(str(n), b"") for n in range(3_000)]),
    "a link": lambda: zipped(entry("x", b"/etc/passwd", stat.S_IFLNK | 0o777)),
    "two of one name": lambda: zipped(entry("x", b"1"), entry("x", b"2")),
    "encrypted": encrypted,
}


@pytest.mark.parametrize("kind", ["file", "image", "table", "json"])
@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_is_a_file_like_any_other_and_never_unpacked(tmp_path, archive, kind):  # E6.74
    content = archive()
    (tmp_path / "x.bin").write_bytes(content)
    listed(tmp_path, {"kind": kind})
    (product,) = collect(tmp_path, LIMITS)
    assert (product.size, product.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    told = encoded([(product, tmp_path / "x.bin")]).products
    (element,) = told["astropy_table_product_ascii_list" if kind == "table" else "binary_data_product_list"]
    assert kind == "table" or base64.urlsafe_b64decode(element["data"]) == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [MANIFEST, "x.bin"]
    assert not (tmp_path.parent / "x").exists()


def test_nothing_of_a_product_is_run(tmp_path):  # E6.75

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "x.bin").write_bytes(pickle.dumps(Trap()))
    listed(tmp_path, {"kind": "table"}, {"name": "y", "kind": "image"}, {"name": "z", "kind": "json"})
    assert len(collect(tmp_path, LIMITS)) == 3
    assert not (tmp_path / "sprung").exists()


def claiming(size):
    """A FITS file of nothing but a header that says that so many bytes follow."""
    cards = {"SIMPLE": "T", "BITPIX": 8, "NAXIS": 1, "NAXIS1": size}
    return ("".join(f"{key:8}= {value!s:>20}".ljust(80) for key, value in cards.items()) + "END").ljust(2880).encode()


def array_of(thing):
    file = io.BytesIO()
    np.save(file, np.array([thing], object))
    return file.getvalue()


GARBAGE = {
    "pickle": pickle.dumps,
    "numpy": array_of,
    "yaml": lambda thing: f"# %ECSV 1.0\n# ---\n# meta: !!python/object/apply:os.mkdir [{thing.path}]\n# datatype: []\na\n1\n".encode(),
    "hdf5": lambda _: b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a header that claims": lambda _: claiming(9_999_999_999_999),
    "deep": lambda _: b"[" * 100_000,
    "nearly too deep": lambda _: b"[" * 960 + b"]" * 960,
    "half": lambda _: b'{"a":',
    "no text": lambda _: b"\xff\xfe{",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("kind", ["image", "light_curve", "spectrum", "table", "json", "text", "file"])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_given_as_it_is_and_hides_nothing_beside_it(tmp_path, garbage, kind):  # E6.75, E6.76

    class Trap:
        path = str(tmp_path / "sprung")

        def __reduce__(self):
            return os.mkdir, (self.path,)

    (tmp_path / "x.bin").write_bytes(garbage(Trap()))
    (tmp_path / "y.bin").write_text("well")
    table = {"cat_frame": "fk5", "cat_lon_name": "ra", "cat_lat_name": "dec"}
    listed(tmp_path, {"kind": kind, "meta": table if kind == "table" else {}}, {"name": "y", "kind": "text", "path": "y.bin"})
    told = encoded([(product, tmp_path / product.path) for product in collect(tmp_path, LIMITS)]).products
    assert told["text_product_list"][-1] == {"name": "y", "meta_data": {}, "value": "well"}
    assert sum(len(elements) for key, elements in told.items() if key != "catalog") == 2
    json.dumps(told, allow_nan=False)
    assert not (tmp_path / "sprung").exists()


def test_lists_that_lie_are_refused(tmp_path):  # E6.76
    (tmp_path / "x.bin").write_text("x" * 100)
    for text in (
        "{",
        "[]",
        '{"products": 1}',
        '{"products": [1]}',
        "[" * 100_000,
        '{"products": [{"name": "x", "kind": "pickle", "path": "x.bin"}]}',
    ):
        (tmp_path / MANIFEST).write_text(text)
        refused(tmp_path)
    listed(tmp_path, {}, {})
    assert "two products of one name" in str(refused(tmp_path))
    listed(tmp_path, *({"name": str(number)} for number in range(51)))
    assert refused(tmp_path).is_limit
    listed(tmp_path, {}, {"name": "y"})
    assert refused(tmp_path, Limits(output_bytes=199)).is_limit
    listed(tmp_path, {"meta": {"x": "y" * 70_000}})
    assert "too much of itself" in str(refused(tmp_path))
    listed(tmp_path, {"content_type": "text/html\r\nSet-Cookie: a=b"})
    assert collect(tmp_path, LIMITS)[0].content_type == "application/octet-stream"
