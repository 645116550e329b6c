"""The reference of documents names each key that they may have, and its examples are documents."""

import re
import tomllib
from pathlib import Path

import pytest

from angelia.model.preference import Site, Wants
from angelia.planning.document import _CHAIN_KEYS, _NEWS_FLAGS, _NEWS_LENGTHS, _SITE_KEYS, _WANTS_KEYS, parse_site, parse_wants
from angelia.planning.matching import FIELDS
from angelia.planning.rules import _RULE_KEYS

TEXT = (Path(__file__).parents[2] / "docs/reference/documents.md").read_text()
PERSONS, SITES = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
KEYS = {*_WANTS_KEYS, *_SITE_KEYS, *_RULE_KEYS, *_NEWS_FLAGS, *_NEWS_LENGTHS, *FIELDS, "since", "until", "policy", "pass_from", "every", "at", "on"}


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_key_is_explained(key):
    assert f"`{key}`" in TEXT or f"`{key} =" in TEXT


def test_the_examples_are_documents_and_say_everything():
    mine, of_site = tomllib.loads(PERSONS), tomllib.loads(SITES)
    wants = parse_wants(mine, known_schedules=parse_site(of_site).schedules)
    assert _WANTS_KEYS - mine.keys() == {"jobs_by_token"}  # hers is said by tokens
    assert isinstance(wants, Wants) and wants.rules[0].when and wants.hold is not None
    assert mine["escalate"]["instrument"].keys() == _CHAIN_KEYS
    assert isinstance(parse_site(of_site), Site)
    assert _SITE_KEYS - of_site.keys() == {"jobs", "fallback", "escalate"}  # as above
