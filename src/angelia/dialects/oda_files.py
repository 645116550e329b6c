"""Files of the ODA dialect: products as they are or packed, and uploads, which belong to who sent them."""

import asyncio
import mimetypes
import re
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
from angelia.model.job import PREFIX
from angelia.model.moments import number_of
from angelia.products.packing import packed
from angelia.wire.problems import Header

_SAFE = "sandbox; default-src 'none'"


class OdaFiles:
    """`folder` is for archives while they are sent."""

    def __init__(self, dispatcher: Dispatcher, people: OdaPeople, ids: JobIds, now: Callable[[], datetime], folder: Path, products_url: str) -> None:
        self._dispatcher, self._people, self._ids, self._now = dispatcher, people, ids, now
        self._folder, self._products_url, self._uploads = folder, products_url, dispatcher.uploads

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
        packing = [(name, sources[name][0]) for name in names]
        made = await asyncio.to_thread(packed, packing, self._folder, is_one=len(names) == 1)
        kind = "application/x-gzip-compressed" if len(names) == 1 else "application/gzip"
        return Answer(200, headers=_attached(wanted or "download.tar.gz", kind), source=made, is_temporary=True)

    def download_file(self, asked: Asked) -> Answer:
        """Where an upload is."""
        query = {**asked.query, "from_request_files_dir": "True", "download_file": "True", "download_products": "False"}
        return redirect(f"{self._products_url}/dispatch-data/download_products?{urlencode(query)}")

    async def keep(self, files: dict[str, UploadFile], guest: Guest) -> dict[str, str]:
        """Uploads by field; each becomes the address under which its owner gets it."""
        keys = {name: await asyncio.to_thread(self._uploads.keep, file.file, guest.principal.login) for name, file in files.items()}
        return {name: self._uploads.address(key) for name, key in keys.items()}

    async def _uploaded(self, asked: Asked, guest: Guest, names: Sequence[str], session: str) -> Answer:
        path = await asyncio.to_thread(self._uploads.path, names[0]) if len(names) == 1 else None
        if path is None:
            return self._refused(asked, session, "No such file")
        if not await asyncio.to_thread(self._uploads.is_of, path.name, guest.principal.login) and not await self._is_lent(asked, path.name):
            return as_text("User cannot access the file", 403)
        return Answer(200, headers=_attached(asked.text("download_file_name") or path.name, ""), source=path)

    async def _is_lent(self, asked: Asked, key: str) -> bool:
        """An instrument that computes with it comes with the secret of its job."""
        number = number_of(PREFIX, asked.text("job_id"))
        return number is not None and await self._dispatcher.lends(number, asked.text("secret"), key)

    def _refused(self, asked: Asked, session: str, text: str) -> Answer:
        return refusal(text, asked.text("job_id"), session, self._now().timestamp())


def _attached(name: str, kind: str) -> tuple[Header, ...]:
    """Saved, and never run, whatever it is."""
    guess = kind or mimetypes.guess_type(name)[0] or "application/octet-stream"
    said = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    if re.fullmatch(r"[A-Za-z0-9._-]{1,200}", name):
        said = f"attachment; filename={name}"
    return (b"content-type", guess.encode("ascii", "replace")), (b"content-disposition", said.encode()), (b"content-security-policy", _SAFE.encode())
