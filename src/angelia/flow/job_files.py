"""The folders of jobs: where an attempt writes, what counts as a product of it, and how its files are found again."""

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from angelia.instrument import MANIFEST, MOST_CONTENTS
from angelia.model.declaration import Limits, ProductKind
from angelia.model.errors import AngeliaError, NotFound
from angelia.model.job import Job, Product
from angelia.products.packing import packed
from angelia.products.source import Kept, Source

MOST_MANIFEST = 4_194_304
MOST_META = 65_536
_PIECE = 1 << 20


class BadProducts(AngeliaError):
    """What an instrument left behind can't be used: no manifest, or one that lies."""

    def __init__(self, text: str, *, is_limit: bool = False) -> None:
        super().__init__(text)
        self.is_limit = is_limit


class JobFiles:
    """Below one folder; each attempt of a job has its own. What is here blocks: call it in a thread where files are large."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, job: Job) -> Path:
        """Of the job's present attempt. Spread over a thousand folders, so that none is too full."""
        return self._of(job.job_id, job.public_id) / str(job.attempt)

    def _of(self, job_id: int, public: str) -> Path:
        return self._root / f"{job_id >> 12 & 1023:03x}" / public

    def make(self, job: Job) -> Path:
        """An empty one for an attempt that certainly has not started."""
        folder = self.folder(job)
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            shutil.rmtree(folder)
            folder.mkdir()
        return folder

    def forget(self, job_id: int, public: str) -> None:
        """Of all attempts."""
        shutil.rmtree(self._of(job_id, public), ignore_errors=True)

    def archive(self, job: Job, products: Sequence[Product]) -> Path:
        """All of these that are there in one new file, which whoever asked removes. NotFound where none is."""
        sources: list[tuple[str, Source]] = []
        for product in products:
            with suppress(NotFound):
                sources.append((product.path, self.source(job, product)))
        if not sources:
            raise NotFound("there is no file to pack")
        return packed(sources, self._root / "archives")

    def source(self, job: Job, product: Product) -> Source:
        """Where a product's bytes are. NotFound where its file is gone, or is not what it was."""
        if product.content is not None:
            return Kept(PurePosixPath(product.path), product.content, job.ended_at or job.changed_at)
        folder = self.folder(job)
        path = folder / product.path
        if not _is_inside(path, folder):
            raise NotFound("the file of this product is gone")
        return path


def collect(folder: Path, limits: Limits) -> list[Product]:
    """The products that the manifest lists, measured and on disk for good. BadProducts says what is wrong."""
    entries = _manifest(folder)
    if len(entries) > limits.files:
        raise BadProducts(f"it lists more than {limits.files} products", is_limit=True)
    products, room = [], limits.output_bytes
    for entry in entries:
        product = _product(entry, folder, room)
        if product is None:
            raise BadProducts(f"its products have more than {limits.output_bytes} bytes", is_limit=True)
        room -= product.size
        products.append(product)
    return _unlike(products)


def _unlike(products: list[Product]) -> list[Product]:
    if len({product.name for product in products}) < len(products):
        raise BadProducts("it lists two products of one name")
    return products


def taken(contents: Sequence[tuple[Mapping[str, Any], bytes]], limits: Limits) -> list[Product]:
    """The products that an instrument handed over as they are, measured. BadProducts says what is wrong."""
    if len(contents) > limits.files:
        raise BadProducts(f"it lists more than {limits.files} products", is_limit=True)
    size = sum(len(content) for _, content in contents)
    if size > limits.output_bytes:
        raise BadProducts(f"its products have more than {limits.output_bytes} bytes", is_limit=True)
    if size > MOST_CONTENTS:
        raise BadProducts("its products are too large to go without files")
    products = []
    for entry, content in contents:
        name, kind, path = _named(entry)
        if not path or "/" in path or path.startswith(".") or not path.isprintable():
            raise BadProducts(f"the product {name} has no name for a file")
        products.append(_described(entry, name, kind, path, len(content), hashlib.sha256(content).hexdigest(), content))
    return _unlike(products)


def has_manifest(folder: Path) -> bool:
    """Is there a list of products?"""
    return (folder / MANIFEST).is_file()


def _manifest(folder: Path) -> list[Any]:
    path = folder / MANIFEST
    try:
        if not _is_inside(path, folder) or path.stat().st_size > MOST_MANIFEST:
            raise BadProducts("it left no list of products")
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise BadProducts("its list of products can't be read") from None
    entries = said.get("products") if isinstance(said, dict) else None
    if not isinstance(entries, list):
        raise BadProducts("its list of products is none")
    return entries


def _product(entry: Any, folder: Path, room: int) -> Product | None:
    """None where it has more bytes than there is room for."""
    name, kind, path = _named(entry)
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path or not _is_inside(folder / path, folder):
        raise BadProducts(f"the product {name} has no file in the job's folder")
    if (folder / path).lstat().st_nlink > 1:
        raise BadProducts(f"the file of the product {name} has other names: it may be somebody else's")
    measured = _measured(folder / path, room)
    return None if measured is None else _described(entry, name, kind, path, *measured)


def _named(entry: Any) -> tuple[str, ProductKind, str]:
    """Name, kind, path."""
    if not isinstance(entry, dict):
        raise BadProducts("an entry of its list of products is no object")
    name, path = str(entry.get("name") or ""), str(entry.get("path") or "")
    if not 0 < len(name) <= 200 or not name.isprintable():
        raise BadProducts("a product needs a name of 1 to 200 printable characters")
    try:
        kind = ProductKind(str(entry.get("kind")))
    except ValueError:
        raise BadProducts(f"the product {name} is of a kind that there is not") from None
    return name, kind, path


def _described(entry: Mapping[str, Any], name: str, kind: ProductKind, path: str, size: int, sha256: str, content: bytes | None = None) -> Product:
    meta = entry.get("meta") or {}
    if not isinstance(meta, Mapping) or len(json.dumps(meta)) > MOST_META:
        raise BadProducts(f"the product {name} says too much of itself")
    title, content_type = str(entry.get("title") or name)[:500], str(entry.get("content_type") or "application/octet-stream")
    if len(content_type) > 200 or not content_type.isascii() or not content_type.isprintable():
        content_type = "application/octet-stream"
    return Product(name, kind, title, content_type, size, sha256, meta, path, content)


def _is_inside(path: Path, folder: Path) -> bool:
    """A plain file, and no link leads there from outside: a job may write what it likes into its folder."""
    try:
        # What lies in the folder itself has no link on its way; to look at each part of a path costs more than all else here.
        return stat.S_ISREG(os.lstat(path).st_mode) and (path.parent == folder or path.resolve().is_relative_to(folder.resolve()))
    except (OSError, RuntimeError):
        return False


def _measured(path: Path, room: int) -> tuple[int, str] | None:
    """Size and hash; the file is on disk after. None as soon as it is over `room` bytes: a file of nothing but holes may say that it is huge."""
    digest, size = hashlib.sha256(), 0
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with open(number, "rb", buffering=0) as file:
        if os.fstat(number).st_size > room:
            return None
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if size > room:
                return None
        os.fsync(number)
    return size, digest.hexdigest()
