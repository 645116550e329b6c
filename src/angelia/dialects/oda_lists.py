"""Lists of science windows and catalogues of sources in the ODA dialect: typed in, or sent as files."""

import re
from collections.abc import Mapping
from typing import Any

from angelia.dialects.oda_wire import NotUnderstood

SCWS, SCWS_FILE, CATALOGUE_FILE = "scw_list", "user_scw_list_file", "user_catalog_file"
CATALOGUE = "user_catalog"
"""The parameter that is the address of an uploaded catalogue."""
MOST_SCWS = 65_536
_WAYS = frozenset({"", "no", "form_list", "user_file"})
_ECSV, _FITS, _GZIP = b"# %ECSV", b"SIMPLE  =", b"\x1f\x8b"
_CHECK = "please check the inputs"


def with_scws(values: Mapping[str, Any], file: bytes | None) -> dict[str, Any]:
    """The values of a new request with its list as a list, whichever way it came. `file` is the upload, None for none.

    NotUnderstood where `use_scws` says another way than the one in which it came, or where it is no list.
    """
    way = str(values.get("use_scws") or "")
    given = values.get(SCWS)
    if way not in _WAYS:
        raise NotUnderstood("use_scws is no, form_list or user_file")
    if given and way in ("no", "user_file"):
        raise NotUnderstood(f"scw_list parameter was found despite use_scws was indicating this was not provided, {_CHECK}")
    if not given and way == "form_list":
        raise NotUnderstood(f"scw_list parameter was expected to be passed, but it has not been found, {_CHECK}")
    if file is not None and way in ("no", "form_list"):
        raise NotUnderstood(f"scw_list file was found despite use_scws was indicating this was not provided, {_CHECK}")
    if file is None and way == "user_file":
        raise NotUnderstood(f"scw_list file was expected to be passed, but it has not been found, {_CHECK}")
    rest = {name: value for name, value in values.items() if name != SCWS}
    listed = _listed(given) if given else None if file is None else _in_file(file)
    return rest if listed is None else {**rest, SCWS: listed}


def check_catalogue(start: bytes) -> None:
    """Is it one by its first bytes? What is in it is for its instrument to read: it is never loaded here."""
    if not start.startswith((_ECSV, _FITS, _GZIP)):
        raise NotUnderstood("the catalogue file is neither FITS nor ECSV")


def _in_file(content: bytes) -> list[str]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotUnderstood("the file with the science windows is no text") from None
    return _listed([part for line in text.splitlines() for part in line.split(",")])


def _listed(given: Any) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, list) or len(parts) > MOST_SCWS:
        raise NotUnderstood(f"scw_list is a list of at most {MOST_SCWS} science windows")
    names = [name for part in parts if (name := str(part).strip())]
    if any(re.search(r"\s", name) for name in names):
        raise NotUnderstood("a space separated science windows list is an unsupported format, please provide it as a comma separated list")
    return names
