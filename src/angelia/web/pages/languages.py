"""Languages of the pages: one catalogue a language, `locale/<language>/LC_MESSAGES/angelia.po`; to add one is to add that file."""

from functools import lru_cache
from importlib.resources import files
from io import BytesIO

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from fastapi import Request

from angelia.web.signin.guard import Visitor

_LOCALE = files("angelia.web.pages") / "locale"
_NAMES = {"en": "English", "de": "Deutsch", "ru": "Русский"}


def _known() -> dict[str, str]:
    found = [folder.name for folder in _LOCALE.iterdir() if folder.is_dir()] if _LOCALE.is_dir() else []
    return {"en": _NAMES["en"]} | {language: _NAMES.get(language, language) for language in sorted(found)}


LANGUAGES = _known()
"""Tag -> its own name. English is what the templates are written in."""


@lru_cache(maxsize=32)
def gettexts(language: str) -> Translations | NullTranslations:
    """The catalogue of one language.

    It is compiled here, once a process, in some tens of milliseconds: a step of the build could be forgotten, and pages would be English and
    nobody be told.
    """
    if language == "en":
        return NullTranslations()
    compiled = BytesIO()
    with (_LOCALE / language / "LC_MESSAGES" / "angelia.po").open("rb") as catalogue:
        write_mo(compiled, read_po(catalogue, locale=language.replace("-", "_")))
    compiled.seek(0)
    return Translations(compiled, domain="angelia")


def language_of(request: Request, visitor: Visitor | None) -> str:
    """Hers; else the first of the browser's wishes that we speak; else English."""
    if visitor is not None:
        return _spoken(visitor.reader.language) or "en"
    for wish in request.headers.get("accept-language", "")[:200].split(","):
        spoken = _spoken(wish.partition(";")[0].strip())
        if spoken:
            return spoken
    return "en"


def _spoken(tag: str) -> str:
    tag = tag.lower()
    if tag in LANGUAGES:
        return tag
    return tag.partition("-")[0] if tag.partition("-")[0] in LANGUAGES else ""
