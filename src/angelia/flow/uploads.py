"""Files that people give to jobs: kept once for equal contents, each with its owners; known by the address that stands for it in a request."""

import hashlib
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
    """Below one folder; `place` is the address at which they are given back. Those of one owner have at most `most` bytes, 0 for any number. What is
    here blocks: call it in a thread.
    """

    def __init__(self, folder: Path, place: str, most: int = 0) -> None:
        self._folder, self._place, self._most = folder, place, most

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
        """Its key, once it is on disk: one file for equal contents, with all who gave it as owners. "" is the public. Forbidden for one who has
        given too much.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        number, name = tempfile.mkstemp(dir=self._folder, prefix=".")
        part = Path(name)
        try:
            with open(number, "wb") as file:
                while piece := content.read(_PIECE):
                    digest.update(piece)
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            key = digest.hexdigest()[:32]
            self._check_room(login, key, part.stat().st_size)
            # Jobs of the hub's own user read it: none of them should change it by mistake.
            part.chmod(0o400)
            part.replace(self._folder / key)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        # A file for each owner of each: two who send the same at once can't undo each other's word.
        mark = self._mark(login, key)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
        return key

    def _check_room(self, login: str, key: str, size: int) -> None:
        if not self._most or self._mark(login, key).exists():
            return
        folder = self._mark(login, key).parent
        keys = [mark.name for mark in folder.iterdir()] if folder.is_dir() else []
        if size + sum(path.stat().st_size for one in keys if (path := self.path(one)) is not None) > self._most:
            raise Forbidden(
                f"the files that you uploaded would take more than {self._most} bytes: that is all you may keep; they are forgotten in time"
            )

    def _mark(self, login: str, key: str) -> Path:
        """Where it is written whose a file is."""
        return self._folder / "owners" / hashlib.sha256((login or PUBLIC).encode()).hexdigest()[:32] / key

    def place_of(self, key: str) -> Path:
        """Where its bytes are, or were."""
        return (self._folder / key).resolve()

    def path(self, key: str) -> Path | None:
        """Where its bytes are; None where there is none of this key, or none any more."""
        path = self._folder / key
        return path if _KEY.fullmatch(key) and path.is_file() else None

    def is_of(self, key: str, login: str) -> bool:
        """May she have it?"""
        return self._mark("", key).exists() or self._mark(login, key).exists()

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
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
                for mark in self._folder.glob(f"owners/*/{path.name}"):
                    mark.unlink(missing_ok=True)
