"""Files that people give to jobs: one for equal contents, each with its owners, and gone when no job was given them for long."""

import io
import os

import pytest

from angelia.flow.uploads import Uploads
from angelia.model.declaration import Parameter, ParameterKind
from angelia.model.errors import Forbidden, InvalidInput

PLACE = "https://see.example.org/dispatch-data/download_file"
FILE = Parameter("image", ParameterKind.FILE)


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path / "uploads", PLACE)


def kept(uploads, login="alice", content=b"two stars"):
    return uploads.keep(io.BytesIO(content), login)


def test_equal_contents_are_one_file_of_all_who_gave_it(uploads, tmp_path):
    key = kept(uploads)
    assert kept(uploads, "bob") == kept(uploads, "alice") == key
    assert kept(uploads, content=b"three") != key
    assert uploads.path(key).read_bytes() == b"two stars"
    assert len([path for path in (tmp_path / "uploads").iterdir() if path.is_file()]) == 2
    assert uploads.path("owners") is None
    assert uploads.is_of(key, "alice") and uploads.is_of(key, "bob")
    assert not uploads.is_of(key, "carol") and not uploads.is_of(key, "")
    public = kept(uploads, "", b"of nobody")
    assert uploads.is_of(public, "") and uploads.is_of(public, "carol")


def test_an_address_leads_to_its_file_and_nothing_else_does(uploads):
    key = kept(uploads)
    assert uploads.key_of(uploads.address(key)) == key
    assert uploads.key_of(f"{uploads.address(key)}&token=x") == key
    others = (
        "", None, 3, key, PLACE, f"{PLACE}?file_list=../../etc/passwd", f"{PLACE}?file_list=owners", f"{PLACE}?file_list={key.upper()}",
        f"https://evil.example.org/dispatch-data/download_file?file_list={key}", f"x{uploads.address(key)}",
    )  # fmt: skip
    assert [uploads.key_of(other) for other in others] == [""] * len(others)
    assert uploads.path("../x") is None and uploads.path("0" * 32) is None


def test_only_files_and_catalogues_are_looked_at(uploads):
    address = uploads.address(kept(uploads))
    parameters = [FILE, Parameter("c", ParameterKind.CATALOGUE), Parameter("text", ParameterKind.STRING)]
    assert set(uploads.keys_in(parameters, {"image": address, "c": address, "text": address})) == {"image", "c"}
    assert uploads.keys_in(parameters, {"image": "https://elsewhere.example.org/x.fits", "c": {"a": 1}}) == {}


def test_who_may_give_it_to_a_job(uploads):
    key = kept(uploads)
    uploads.check([key], "alice")
    for login in ("bob", ""):
        with pytest.raises(Forbidden):
            uploads.check([key], login)
    with pytest.raises(InvalidInput):
        uploads.check(["0" * 32], "alice")


def test_what_no_job_was_given_for_long_is_forgotten(uploads, tmp_path):
    uploads.forget_old(1e12)  # there is no folder yet
    old, given, young = kept(uploads, content=b"1"), kept(uploads, content=b"2"), kept(uploads, content=b"3")
    for key in (old, given):
        os.utime(uploads.path(key), (1_000, 1_000))
    part = tmp_path / "uploads" / ".never-whole"
    part.touch()
    os.utime(part, (1_000, 1_000))
    uploads.check([given], "alice")
    uploads.forget_old(2_000)
    assert [uploads.path(key) is not None for key in (old, given, young)] == [False, True, True]
    assert not uploads.is_of(old, "alice")
    assert {path.name for path in (tmp_path / "uploads").iterdir()} == {given, young, "owners"}
    assert kept(uploads, "bob", b"1") == old and not uploads.is_of(old, "alice")


def test_nobody_keeps_too_much(tmp_path):
    uploads = Uploads(tmp_path, PLACE, most=10)
    first = kept(uploads, content=b"123456")
    assert kept(uploads, content=b"123456") == first  # it is there
    kept(uploads, content=b"1234")
    for content in (b"1", b"x" * 11):
        with pytest.raises(Forbidden, match="more than 10 bytes"):
            kept(uploads, content=content)
    kept(uploads, "bob", b"x" * 10)
    kept(uploads, "", b"y" * 10)
    assert len([path for path in tmp_path.iterdir() if path.is_file()]) == 4  # and nothing of what was refused
    os.utime(uploads.path(first), (1_000, 1_000))
    uploads.forget_old(2_000)
    kept(uploads, content=b"654321")
