"""Files that people give to jobs: kept once for equal contents, each with its owners; known by the address that stands for it in a request."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qs, urlencode, urlsplit

from angelia.model.declaration import Parameter, ParameterKind
from angelia.model.errors import Forbidden, InvalidInput

PUBLIC = "public"
"""Whose the files of those are who are not signed in: everybody's."""
_KEY = re.compile(r"[0-9a-f]{32}")
_PIECE = 1 << 20
_KINDS = frozenset({ParameterKind.FILE, ParameterKind.CATALOGUE})


class Uploads:
    """Below one folder; `place` is the address at which they are given back. What is here blocks: call it in a thread."""

    def __init__(self, folder: Path, place: str) -> None:
        self._folder, self._place = folder, place

    def address(self, key: str) -> str:
        """What stands for a file in a request."""
        return f"{self._place}?{urlencode({'file_list': key, '_is_mmoda_url': 'True', 'return_archive': 'False'})}"

    def key_of(self, value: object) -> str:
        """Of the file that an address stands for; "" where it stands for none of ours."""
        if not isinstance(value, str) or not value.startswith(f"{self._place}?"):
            return ""
        key = parse_qs(urlsplit(value).query).get("file_list", [""])[0]
        return key if _KEY.fullmatch(key) else ""

    def keep(self, content: BinaryIO, login: str) -> str:
        """Its key, once it is on disk: one file for equal contents, with all who gave it as owners. "" is the public."""
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        number, part = tempfile.mkstemp(dir=self._folder, prefix=".")
        with open(number, "wb") as file:
            while piece := content.read(_PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        key = digest.hexdigest()[:32]
        # Jobs of the hub's own user read it: none of them should change it by mistake.
        Path(part).chmod(0o400)
        Path(part).replace(self._folder / key)
        # A file for each owner: two who send the same at once can't undo each other's word.
        owner, folder = login or PUBLIC, self._folder / f"{key}.owners"
        folder.mkdir(exist_ok=True)
        mark = folder / hashlib.sha256(owner.encode()).hexdigest()[:32]
        if not mark.exists():
            _write_whole(mark, json.dumps(owner))
        return key

    def place_of(self, key: str) -> Path:
        """Where its bytes are, or were."""
        return (self._folder / key).resolve()

    def path(self, key: str) -> Path | None:
        """Where its bytes are; None where there is none of this key, or none any more."""
        path = self._folder / key
        return path if _KEY.fullmatch(key) and path.is_file() else None

    def is_of(self, key: str, login: str) -> bool:
        """May she have it?"""
        folder = self._folder / f"{key}.owners"
        owners = {json.loads(mark.read_text("utf-8")) for mark in folder.iterdir() if not mark.name.startswith(".")} if folder.is_dir() else set()
        return PUBLIC in owners or (login in owners and login != "")

    def check(self, keys: Collection[str], login: str) -> None:
        """May she give these to a job? Forbidden and InvalidInput say why not. They are kept as long as the job, from now on."""
        for key in keys:
            if (path := self.path(key)) is None:
                raise InvalidInput("a file of this request is not there any more; upload it again", "parameters")
            if not self.is_of(key, login):
                raise Forbidden("a file of this request is not yours")
            os.utime(path)

    def keys_in(self, parameters: Collection[Parameter], values: Mapping[str, Any]) -> dict[str, str]:
        """The uploads that are values of a request, by parameter."""
        found = {one.name: self.key_of(values.get(one.name)) for one in parameters if one.kind in _KINDS}
        return {name: key for name, key in found.items() if key}

    def forget_old(self, before: float) -> None:
        """Those that nobody has given to a job since, in epoch seconds; parts of some that never came whole as well."""
        if not self._folder.is_dir():
            return
        for path in list(self._folder.iterdir()):
            if not path.is_file() or path.stat().st_mtime >= before:
                continue
            path.unlink(missing_ok=True)
            owners = path.with_name(f"{path.name}.owners")
            for mark in list(owners.iterdir()) if owners.is_dir() else ():
                mark.unlink(missing_ok=True)
            if owners.is_dir():
                owners.rmdir()


def _write_whole(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
