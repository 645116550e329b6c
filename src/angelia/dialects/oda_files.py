"""Files of the ODA dialect: products as they are or packed, and uploads, which belong to who sent them."""

import asyncio
import gzip
import hashlib
import io
import json
import mimetypes
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import quote, urlencode

from starlette.datastructures import UploadFile

from angelia.dialects.oda_ids import JobIds
from angelia.dialects.oda_people import Guest, OdaPeople
from angelia.dialects.oda_wire import Answer, Asked, as_text, redirect, refusal, session_of
from angelia.flow.dispatcher import Dispatcher
from angelia.model.errors import NotFound
from angelia.products.source import Kept, Source, opened
from angelia.wire.problems import Header

PUBLIC_OWNER = "public"
_UPLOAD = re.compile(r"[0-9a-f]{32}")
_PIECE = 1 << 20
_SAFE = "sandbox; default-src 'none'"


class OdaFiles:
    """`folder` is for uploads and for archives while they are sent."""

    def __init__(self, dispatcher: Dispatcher, people: OdaPeople, ids: JobIds, now: Callable[[], datetime], folder: Path, products_url: str) -> None:
        self._dispatcher, self._people, self._ids, self._now = dispatcher, people, ids, now
        self._folder, self._products_url = folder, products_url

    async def download_products(self, asked: Asked) -> Answer:
        """Files of one of her jobs, or an upload."""
        session = session_of(asked)
        guest = self._people.guest(asked)
        names = [name for name in asked.text("file_list").split(",") if name]
        archive = asked.text("return_archive", "True") == "True"
        if asked.is_true("from_request_files_dir"):
            return await self._uploaded(asked, guest, names, session)
        job = await self._ids.find(guest.principal, asked.text("job_id"))
        if job is None:
            return self._refused(asked, session, "Request not authorized")
        products = await self._dispatcher.products(guest.principal, job.job_id)
        sources = {}
        for product in products:
            try:
                sources[product.path] = self._dispatcher.files.source(job, product), product.content_type
            except NotFound:
                continue
        if not names or any(name not in sources for name in names):
            return self._refused(asked, session, "No such file")
        wanted = asked.text("download_file_name")
        if not archive and len(names) == 1:
            source, kind = sources[names[0]]
            return Answer(200, headers=_attached(wanted or source.name, kind), source=source)
        made = await asyncio.to_thread(self._packed, [sources[name][0] for name in names])
        kind = "application/x-gzip-compressed" if len(names) == 1 else "application/gzip"
        return Answer(200, headers=_attached(wanted or "download.tar.gz", kind), source=made, is_temporary=True)

    def download_file(self, asked: Asked) -> Answer:
        """Where an upload is."""
        query = {**asked.query, "from_request_files_dir": "True", "download_file": "True", "download_products": "False"}
        return redirect(f"{self._products_url}/dispatch-data/download_products?{urlencode(query)}")

    async def keep(self, files: dict[str, UploadFile], guest: Guest) -> dict[str, str]:
        """Uploads by field; each becomes the address under which its owner gets it."""
        addresses = {}
        for name, file in files.items():
            key = await asyncio.to_thread(self._keep, file, guest.principal.login or PUBLIC_OWNER)
            query = f"file_list={key}&_is_mmoda_url=True&return_archive=False"
            addresses[name] = f"{self._products_url}/dispatch-data/download_file?{query}"
        return addresses

    async def _uploaded(self, asked: Asked, guest: Guest, names: Sequence[str], session: str) -> Answer:
        if len(names) != 1 or not _UPLOAD.fullmatch(names[0]) or not (self._uploads / names[0]).is_file():
            return self._refused(asked, session, "No such file")
        owners = await asyncio.to_thread(self._owners, names[0])
        if PUBLIC_OWNER not in owners and (not guest.principal.login or guest.principal.login not in owners):
            return as_text("User cannot access the file", 403)
        return Answer(200, headers=_attached(asked.text("download_file_name") or names[0], ""), source=self._uploads / names[0])

    @property
    def _uploads(self) -> Path:
        return self._folder / "uploads"

    def _keep(self, upload: UploadFile, owner: str) -> str:
        """One file for equal contents, with all who sent it as owners."""
        self._uploads.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        number, part = tempfile.mkstemp(dir=self._uploads, prefix=".")
        with open(number, "wb") as file:
            while piece := upload.file.read(_PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        key = digest.hexdigest()[:32]
        Path(part).replace(self._uploads / key)
        # A file for each owner: two who send the same at once can't undo each other's word.
        folder = self._uploads / f"{key}.owners"
        folder.mkdir(exist_ok=True)
        mark = folder / hashlib.sha256(owner.encode()).hexdigest()[:32]
        if not mark.exists():
            _write_whole(mark, json.dumps(owner))
        return key

    def _owners(self, key: str) -> set[str]:
        folder = self._uploads / f"{key}.owners"
        return {json.loads(mark.read_text("utf-8")) for mark in folder.iterdir() if not mark.name.startswith(".")} if folder.is_dir() else set()

    def _packed(self, sources: Sequence[Source]) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        number, made = tempfile.mkstemp(dir=self._folder, prefix="download-")
        with open(number, "wb") as target:
            if len(sources) == 1:
                with gzip.GzipFile(sources[0].name, "wb", 5, target) as packed, opened(sources[0]) as source:
                    shutil.copyfileobj(source, packed, _PIECE)
            else:
                with tarfile.open(fileobj=target, mode="w:gz", compresslevel=5) as packed_all:
                    for one in sources:
                        _add(packed_all, one)
        return Path(made)

    def _refused(self, asked: Asked, session: str, text: str) -> Answer:
        return refusal(text, asked.text("job_id"), session, self._now().timestamp())


def _add(archive: tarfile.TarFile, source: Source) -> None:
    """As it is on disk, or would be there."""
    if not isinstance(source, Kept):
        archive.add(source, source.name, recursive=False)
        return
    entry = tarfile.TarInfo(source.name)
    entry.size, entry.mtime = len(source.content), source.at.timestamp()
    archive.addfile(entry, io.BytesIO(source.content))


def _attached(name: str, kind: str) -> tuple[Header, ...]:
    """Saved, and never run, whatever it is."""
    guess = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
    said = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    if re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name):
        said = f"attachment; filename={name}"
    return (b"content-type", guess.encode("ascii", "replace")), (b"content-disposition", said.encode()), (b"content-security-policy", _SAFE.encode())


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
