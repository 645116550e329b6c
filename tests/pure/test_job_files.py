"""What a job left behind, as the hub takes it: whole or not at all, from its own folder, and never loaded (E6, F44)."""

import json
import os
import pickle
import resource
import signal
import warnings

import pytest

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


def test_nothing_of_a_product_is_run(tmp_path):  # E6.75

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "x.bin").write_bytes(pickle.dumps(Trap()))
    listed(tmp_path, {"kind": "table"}, {"name": "y", "kind": "image"}, {"name": "z", "kind": "json"})
    assert len(collect(tmp_path, LIMITS)) == 3
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
