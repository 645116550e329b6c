"""The catalogues: each language says everything, with the same places to fill, and nothing that is no longer asked for."""

import re
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from babel.messages.checkers import checkers
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po

from angelia.web.pages.languages import LANGUAGES, gettexts

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "src/angelia/web/pages"
FOREIGN = sorted(LANGUAGES.keys() - {"en"})
_PLACE = re.compile(r"%\((\w+)\)s")


def asked():
    """The texts of all templates, each as an id: a text, or singular and plural."""
    with (ROOT / "babel.cfg").open() as file:
        methods, options = parse_mapping_cfg(file)
    return {message for _, _, message, _, _ in extract_from_dir(PAGES, methods, options)}


def catalogue(language):
    with (PAGES / "locale" / language / "LC_MESSAGES" / "angelia.po").open("rb") as file:
        return read_po(file, locale=language)


def test_german_and_russian_are_there():
    assert {"de", "ru"} <= set(FOREIGN)


@pytest.mark.parametrize("language", FOREIGN)
def test_a_catalogue_says_everything(language):
    said = {message.id: message for message in catalogue(language) if message.id}
    missing = sorted(map(str, asked() - said.keys()))
    assert missing == [], "run make messages, then translate these"
    assert sorted(map(str, said.keys() - asked())) == [], "run make messages: nobody asks for these any more"
    for key, message in said.items():
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(strings), f"not translated: {key}"
        assert not message.fuzzy, f"a guess: {key}"


@pytest.mark.parametrize("language", FOREIGN)
def test_places_to_fill_agree(language):
    made = catalogue(language)
    for message in made:
        ids = message.id if isinstance(message.id, tuple) else (message.id,)
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        if not message.id:
            continue
        wanted = set(_PLACE.findall(ids[-1]))
        for string in strings:
            places = set(_PLACE.findall(string))
            # One thing may be said without a number: "One message is archived".
            assert places == wanted or (string is not strings[-1] and places == set(_PLACE.findall(ids[0]))), f"{ids[-1]}: {string}"
            # A single percent sign that begins no place would break the page.
            assert len(re.findall(r"%(?!\(\w+\)s|%)", string)) == len(re.findall(r"%(?!\(\w+\)s|%)", ids[-1])), string
        # Babel's own checks compare the first forms only, of which one may say the number and the other not.
        for check in checkers if isinstance(message.id, str) else ():
            check(made, Message(message.id, message.string, flags=message.flags))


@pytest.mark.parametrize("language", FOREIGN)
def test_a_catalogue_is_spoken(language):
    texts = gettexts(language)
    assert texts.gettext("Sign in") != "Sign in"
    forms = {texts.ungettext("%(num)s of nothing", "%(num)s of nothing", count) for count in range(5)}
    assert forms


def test_german_speaks_to_a_friend():
    """One way to speak to her on all pages: `du`, never `Sie`."""
    formal = re.compile(r"\b(Ihnen|Ihrem|Ihren)\b|(?<=[a-zäöüß,] )(Sie|Ihre?)\b")
    strings = [text for one in catalogue("de") if one.id for text in (one.string if isinstance(one.string, tuple) else (one.string,))]
    assert [text for text in strings if formal.search(text)] == []
