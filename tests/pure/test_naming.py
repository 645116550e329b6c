"""A document that names what is not there is refused, unless it was there once."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.errors import InvalidInput
from angelia.planning.naming import check_names, check_schedule

AGENTS = {"web", "mail"}


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"preferences": {"obs": {"mial": "now"}}}, "preferences.obs.mial"),
        ({"preferences": {"*": {"mial:a@b.org": "now"}}}, "preferences.*.mial:a@b.org"),
        ({"unknown": {"mial": "now"}}, "unknown.mial"),
        ({"rules": [{"do": {"mail": "now"}}, {"do": {"mial": "now"}}]}, "rules.1.do.mial"),
        ({"presets": {"p": {"rule": {"do": {"mial": "now"}}}}}, "presets.p.rule.do.mial"),
        ({"jobs": {"mial": {}}}, "jobs.mial"),
        ({"jobs_by_token": {"mial": {}}}, "jobs_by_token.mial"),
        ({"paused": ["mail", "mial"]}, "paused"),
        ({"fallback": ["mial"]}, "fallback"),
        ({"interruptive": ["mial"]}, "interruptive"),
        ({"pull": ["mial"]}, "pull"),
        ({"groups": {"qa": ["mial"]}}, "groups.qa"),
        ({"locks": {"account": ["mial"]}}, "locks.account"),
        ({"escalate": {"*": {"to": ["person:mial", "mial"]}}}, "escalate.*.to"),
        ({"rules": [{"when": {"message.sorce": "x"}}]}, "rules.0.when.message.sorce"),
        ({"presets": {"p": {"rule": {"when": {"message.type": "x"}}}}}, "presets.p.rule.when.message.type"),
    ],
)
def test_what_is_not_there_is_named(document, path):
    with pytest.raises(InvalidInput) as caught:
        check_names(document, AGENTS, {})
    assert caught.value.field == path
    assert "mail, web" in str(caught.value) or "message.source" in str(caught.value)
    check_names(document | {"follows": ["o"]}, AGENTS, document)  # it was stored when it was there


@pytest.mark.parametrize("pattern", ["obs.build*", "obs.**", "obs.*fail", "obs..*", "*."])
def test_a_pattern_that_no_type_can_match_is_refused(pattern):
    document = {"rules": [{"type": "obs.*.fail"}, {"type": "#"}, {"type": "OBS.#"}, {"type": pattern}]}
    with pytest.raises(InvalidInput) as caught:
        check_names(document, AGENTS, {})
    assert caught.value.field == "rules.3.type"
    check_names(document | {"follows": ["o"]}, AGENTS, document)


def test_what_is_there_may_be_named():
    check_names(
        {
            "preferences": {"*": {"mail": "now", "mail:a@b.org": "off"}},
            "rules": [{"when": {"message.source": "x", "project": "y", "tag.arch": "z"}, "do": {"web": "now"}}],
            "escalate": {"*": {"to": ["mail", "person:bob", "group:qa"]}},
        },
        AGENTS,
        {},
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["preferences", "unknown", "rules", "presets", "jobs", "paused", "groups", "locks", "escalate", "fallback"])


@given(st.dictionaries(KEYS, JSON, max_size=4), st.dictionaries(KEYS, JSON, max_size=4))
def test_a_document_of_any_form_is_read(document, stored):
    with contextlib.suppress(InvalidInput):
        check_names(document, AGENTS, stored)
    check_names(document, AGENTS, document)


def test_the_usual_digest_is_a_schedule_of_the_site():
    daily = {"schedules": {"daily": {}}}
    check_schedule({}, {})
    check_schedule(daily | {"digest_schedule": "daily"}, {})
    check_schedule({"digest_schedule": "weekly"}, {"digest_schedule": "weekly"})
    with pytest.raises(InvalidInput, match="no schedule 'weekly'"):
        check_schedule(daily | {"digest_schedule": "weekly"}, {})
    with pytest.raises(InvalidInput, match="no schedule 'weekly'"):
        check_schedule({"digest_schedule": "weekly"}, {})
