"""What a type says for messages that say nothing themselves."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.errors import InvalidInput
from angelia.model.message import Message, MessageType, Severity
from angelia.model.payload import message_of, payload_of
from angelia.planning.defaults import MOST_KEY, check_template, defaults_of, filled, rendered

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)


def a_type(key, **said):
    return MessageType(key=key, first_seen_at=NOW, last_seen_at=NOW, **said)


def message(kind="obs.build.fail", **fields):
    defaults = {"object": "KDE/okular", "params": {"arch": "x86_64", "flags": ("a", "b")}, "tags": (("site", "A"), ("site", "B"))}
    return Message(message_id=1, source="ci", type=kind, received_at=NOW, occurred_at=NOW, **(defaults | fields))


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{object}/{params.arch}", "KDE/okular/x86_64"),
        ("{type} {source}", "obs.build.fail ci"),
        ("{params.flags}", "a,b"),
        ("{tags.site}", "A,B"),
        ("{object}/{params.missing}", ""),
        ("{actor}", ""),
        ("{object.__class__}", ""),
        ("{params}", ""),
        ("", ""),
    ],
)
def test_keys(template, key):
    assert rendered(template, message()) == key


def test_values_are_not_templates_and_long_keys_stay_apart():
    assert rendered("{object}", message(object="{params.arch}")) == "{params.arch}"
    one, two = (rendered("{params.x}", message(params={"x": "y" * 4_000 + end})) for end in "ab")
    assert len(one) <= MOST_KEY and one != two


@pytest.mark.parametrize(
    "template", ["{nothing}", "{params.}", "{object", "object}", "{object!r}", "{0}", "{}", "static", "{object.__class__}", "{{object}}"]
)
def test_templates_that_name_nothing(template):
    with pytest.raises(InvalidInput) as caught:
        check_template(template, "collapse_key")
    assert caught.value.field == "collapse_key"


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_template_and_any_value_give_a_key_or_none(template, value):
    key = rendered(template, message(object=value, params={"x": value}))
    assert len(key) <= MOST_KEY
    try:
        check_template(template, "f")
    except InvalidInput:
        return
    assert key == "" or value in key or len(key) == MOST_KEY or "{" not in template


def test_the_nearest_type_speaks_and_the_sender_before_all():
    defaults = defaults_of(
        [
            a_type("obs", default_severity=Severity.HIGH, collapse_key="{type}", thread_key="{object}"),
            a_type("obs.build", collapse_key="{object}/{params.arch}"),
            a_type("obs.build.fail", labels={"en": "said nothing"}),
            a_type("obs.request", default_severity=Severity.URGENT),
        ]
    )
    assert sorted(defaults) == ["obs", "obs.build", "obs.request"]
    found = filled(message(), defaults)
    assert (found.severity, found.collapse_key, found.thread) == (Severity.HIGH, "KDE/okular/x86_64", "KDE/okular")
    own = message(severity=Severity.NORMAL, has_own_severity=True, collapse_key="mine", thread="t")
    assert filled(own, defaults) is own
    other = message("wiki.change")
    assert filled(other, defaults) is other
    assert filled(message("obs.requests"), defaults).severity is Severity.HIGH


@pytest.mark.parametrize("said", ['{"type":"a"}', '{"type":"a","severity":"normal"}', '{"type":"a","severity":"high"}'])
def test_whether_a_sender_gave_a_severity_survives_the_stored_form(said):
    first = message_of(1, "ci", 0, said)
    assert first.has_own_severity == ("severity" in said)
    again = message_of(1, "ci", 0, payload_of(first))
    assert (again, again.has_own_severity) == (first, first.has_own_severity)
    again = filled(again, {"a": a_type("a", default_severity=Severity.LOW)})
    assert again.severity.label == ("low" if "severity" not in said else first.severity.label)
