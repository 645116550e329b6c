"""Output: what a computing function writes its products with, in a process of its own; plus the list of them, the manifest."""

import importlib
import io
import json
import math
import mimetypes
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from angelia.model.declaration import ProductKind
from angelia.products.plain import plain, plain_text

MANIFEST = "products.json"
PROGRESS = "progress.json"
MOST_PROGRESS = 16_384
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_FITS, _ECSV = "application/fits", "application/x-ecsv"
_WRITERS = "angelia.products.files"
"""Loaded with the first table or array: it needs libraries that take half a second, and a product that is a text needs none."""


class Output:
    """Writes products into one folder. Files appear whole or not at all; the manifest comes last, by `close`.

    Names of products are free, but each only once. Arrays and columns are numpy arrays or lists; `units` are astropy's names by column.
    As long as all products together have at most `room` bytes they are kept in memory, and are no files: `contents` has them then.
    """

    def __init__(self, folder: Path | str, room: int = 0, tell: Callable[[float, str], None] | None = None) -> None:
        self._folder = Path(folder)
        self._entries: list[dict[str, Any]] = []
        self._names: set[str] = set()
        self._room, self._tell = room, tell
        self._contents: dict[str, bytes] = {}

    def table(
        self, name: str, columns: Mapping[str, Any], units: Mapping[str, str] | None = None, meta: Mapping[str, Any] | None = None, title: str = ""
    ) -> None:
        """A table of columns of one length, kept as ECSV."""
        self._columns(name, ProductKind.TABLE, columns, units or {}, meta or {}, title)

    def light_curve(
        self, name: str, columns: Mapping[str, Any], units: Mapping[str, str] | None = None, meta: Mapping[str, Any] | None = None, title: str = ""
    ) -> None:
        """A curve over time, kept as FITS: TIME, one of RATE, FLUX, MAG or COUNTS, and ERROR, TIMEDEL where they are known."""
        if "TIME" not in columns or not {"RATE", "FLUX", "MAG", "COUNTS"} & set(columns):
            raise ValueError("a light curve has the columns TIME and one of RATE, FLUX, MAG, COUNTS")
        self._columns(name, ProductKind.LIGHT_CURVE, columns, units or {}, meta or {}, title)

    def spectrum(
        self, name: str, columns: Mapping[str, Any], units: Mapping[str, str] | None = None, meta: Mapping[str, Any] | None = None, title: str = ""
    ) -> None:
        """A curve over energy, frequency, wavelength or channel, kept as FITS; the first column is what it runs over."""
        self._columns(name, ProductKind.SPECTRUM, columns, units or {}, meta or {}, title)

    def image(self, name: str, array: Any, meta: Mapping[str, Any] | None = None, title: str = "") -> None:
        """An array of 2 or more dimensions, kept as FITS; `meta` are its header's keywords (`BUNIT` is the unit)."""
        write: Callable[..., Mapping[str, Any]] = importlib.import_module(_WRITERS).write_image
        self._new(name, ProductKind.IMAGE, ".fits", _FITS, title, meta or {}, lambda file: write(file, array, meta or {}))

    def text(self, name: str, text: str, meta: Mapping[str, Any] | None = None, title: str = "") -> None:
        """A text, kept as UTF-8."""
        self._new(name, ProductKind.TEXT, ".txt", "text/plain; charset=utf-8", title, meta or {}, lambda file: _put(file, text))

    def json(self, name: str, value: Any, meta: Mapping[str, Any] | None = None, title: str = "") -> None:
        """Any value that JSON can hold; NaN and infinity become null."""
        text = plain_text(value)
        self._new(name, ProductKind.JSON, ".json", "application/json", title, meta or {}, lambda file: _put(file, text))

    def file(self, name: str, path: Path | str, content_type: str = "", meta: Mapping[str, Any] | None = None, title: str = "") -> None:
        """A file that was written already: it is taken as it is, and copied unless it lies in the folder."""
        source = Path(path) if Path(path).is_absolute() else self._folder / path
        guess = content_type or mimetypes.guess_type(source.name)[0] or "application/octet-stream"
        if source.resolve().parent == self._folder.resolve() and source.name not in (MANIFEST, PROGRESS):
            if not source.is_file():
                raise FileNotFoundError(f"the product {name} has no file {source.name}")
            self._check(name)
            self._spill()
            self._list(name, ProductKind.FILE, source.name, guess, title, meta or {})
            return
        with source.open("rb") as original:
            self._new(name, ProductKind.FILE, source.suffix, guess, title, meta or {}, lambda file: _copy(original, file))

    def progress(self, fraction: float, message: str = "") -> None:
        """How far it is, 0 to 1, and in words. As often as you like: only the last one counts."""
        if self._tell is not None:
            self._tell(_share(fraction), str(message)[:2000])
            return
        _write_whole(self._folder / PROGRESS, json.dumps({"fraction": _share(fraction), "message": str(message)[:2000]}).encode(), is_safe=False)

    def publish(self) -> None:
        """Let what was written so far be seen while the rest is computed, from the next word of progress on. None of it may be changed after."""
        self._spill()
        self._folder.mkdir(parents=True, exist_ok=True)
        write_manifest(self._folder, self._entries)

    def close(self) -> None:
        """List what was written; after it the job may be called done."""
        if not self._room:
            write_manifest(self._folder, self._entries)

    @property
    def contents(self) -> list[tuple[dict[str, Any], bytes]] | None:
        """For each product what the manifest would say of it, and its bytes; None where they are files."""
        return [(entry, self._contents[entry["path"]]) for entry in self._entries] if self._room else None

    def _columns(
        self, name: str, kind: ProductKind, columns: Mapping[str, Any], units: Mapping[str, str], meta: Mapping[str, Any], title: str
    ) -> None:
        if not columns or len({len(column) for column in columns.values()}) != 1:
            raise ValueError(f"the columns of {name} are of one length, and at least one")
        if unknown := set(units) - set(columns):
            raise ValueError(f"{name} has no columns {', '.join(sorted(unknown))} for these units")
        is_text = kind is ProductKind.TABLE
        write: Callable[..., Mapping[str, Any]] = importlib.import_module(_WRITERS).write_columns
        suffix, content_type = (".ecsv", _ECSV) if is_text else (".fits", _FITS)
        self._new(name, kind, suffix, content_type, title, meta, lambda file: write(file, columns, units, meta, is_text=is_text, name=name))

    def _new(
        self,
        name: str,
        kind: ProductKind,
        suffix: str,
        content_type: str,
        title: str,
        meta: Mapping[str, Any],
        write: Callable[[BinaryIO], Mapping[str, Any] | None],
    ) -> None:
        self._check(name)
        path = self._free(name, suffix)
        more = self._in_memory(path.name, write) if self._room else None
        if more is None:
            path = self._free(name, suffix)
            more = self._in_file(path, write)
        self._list(name, kind, path.name, content_type, title, {**meta, **more})

    def _in_memory(self, name: str, write: Callable[[BinaryIO], Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
        """None where there is no room for it; then all products become files."""
        file = _Bounded(self._room - 1)
        try:
            more = write(file) or {}
        except _Full:
            self._spill()
            return None
        self._contents[name] = file.getvalue()
        self._room -= len(self._contents[name])
        return more

    def _spill(self) -> None:
        """Each under a name that no file has by now."""
        self._room, contents, self._contents = 0, self._contents, {}
        for entry in (one for one in self._entries if one["path"] in contents):
            path = self._free(Path(entry["path"]).stem, Path(entry["path"]).suffix)
            self._in_file(path, lambda file, content=contents[entry["path"]]: _put(file, content))  # type: ignore[misc]
            entry["path"] = path.name

    def _in_file(self, path: Path, write: Callable[[BinaryIO], Mapping[str, Any] | None]) -> Mapping[str, Any]:
        part = path.with_name(f".{path.name}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                more = write(file) or {}
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return more

    def _check(self, name: str) -> None:
        if not 0 < len(name) <= 200 or not name.isprintable():
            raise ValueError("a product's name has 1 to 200 printable characters")
        if name in self._names:
            raise ValueError(f"there is a product {name} already")

    def _free(self, name: str, suffix: str) -> Path:
        stem = _UNSAFE.sub("_", name).strip("._")[:80] or "product"
        for number in range(len(self._entries) + 3):
            path = self._folder / f"{stem}{f'-{number}' if number else ''}{suffix}"
            if path.name not in (MANIFEST, PROGRESS) and path.name not in self._contents and (self._room or not path.exists()):
                return path
        return self._folder / f"{stem}-{os.urandom(8).hex()}{suffix}"

    def _list(self, name: str, kind: ProductKind, path: str, content_type: str, title: str, meta: Mapping[str, Any]) -> None:
        self._check(name)
        self._names.add(name)
        self._entries.append(
            {"name": name, "kind": kind.value, "path": path, "content_type": content_type, "title": title or name, "meta": plain(meta)}
        )


def write_manifest(folder: Path | str, entries: Sequence[Mapping[str, Any]]) -> None:
    """List the products of a folder: `entries` have name, kind, path (in the folder), content_type, title and meta."""
    _write_whole(Path(folder) / MANIFEST, plain_text({"products": list(entries)}).encode(), is_safe=True)


def read_progress(folder: Path | str) -> tuple[float | None, str]:
    """The last (fraction, message) that was written; (None, "") where there is none, or nonsense."""
    try:
        with (Path(folder) / PROGRESS).open("rb") as file:
            said = json.loads(file.read(MOST_PROGRESS))
        return _share(said["fraction"]), str(said["message"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None, ""


def _share(fraction: float) -> float:
    number = float(fraction)
    return min(1.0, max(0.0, number)) if math.isfinite(number) else 0.0


class _Full(Exception):
    """There is no room for so much."""


class _Bounded(io.BytesIO):
    """A file in memory that takes so many bytes."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def write(self, piece: Any) -> int:
        """_Full where it would become too large."""
        if self.tell() + memoryview(piece).nbytes > self._most:
            raise _Full
        return super().write(piece)


def _put(file: BinaryIO, text: str | bytes) -> None:
    file.write(text if isinstance(text, bytes) else text.encode("utf-8", "replace"))


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    source.seek(0)
    shutil.copyfileobj(source, target, 1 << 20)


def _write_whole(path: Path, content: bytes, *, is_safe: bool) -> None:
    """Whole or not at all; `is_safe`: on disk before it returns, name and all."""
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        if is_safe:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)
    if is_safe:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
