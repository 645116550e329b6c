"""A rule as a sentence, and which rules are ever reached."""

from datetime import UTC, datetime

import pytest

from angelia.model.message import Message
from angelia.planning.hygiene import reach_of, stopped_by
from angelia.planning.rules import parse_rule
from angelia.planning.sentence import Part, Said, sentence_of

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
ANYBODY: frozenset[str] = frozenset()


def rule(rule_id="r", **said):
    return parse_rule({"do": {"mail": "now"}} | said, "", None, rule_id)


def message(**said):
    return Message(message_id=1, source="ci", received_at=NOW, occurred_at=NOW, **{"type": "obs.build.fail", "params": {"project": "KDE"}} | said)


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ({}, Part(Said.ANYTHING)),
        ({"type": "#"}, Part(Said.ANYTHING)),
        ({"type": "obs.build"}, Part(Said.TYPE, values=("obs.build",))),
        ({"type": "obs.*.fail"}, Part(Said.PATTERN, values=("obs.*.fail",))),
    ],
)
def test_a_sentence_begins_with_the_kind_of_message(said, part):
    assert sentence_of(rule(**said)).whens == (part,)


def test_everything_that_a_rule_knows_is_said_once():
    when = {"project": ["KDE", "GNOME"], "arch": {"not": "s390x"}, "tag.team": {"contains": "desk"}, "message.subject": {"regexp": "^x"}}
    do = {"mail": {"when": "daily", "form": "short"}, "web": "off", "feed": "now", "mail:a@example.org": "now"}
    found = sentence_of(rule(type="obs", role="maintainer", when=when, min_severity="high", include_own=True, final=False, do=do))
    assert found.whens == (
        Part(Said.TYPE, values=("obs",)),
        Part(Said.ROLE, "maintainer"),
        Part(Said.ONEOF, "project", ("KDE", "GNOME")),
        Part(Said.NOT, "arch", ("s390x",)),
        Part(Said.CONTAINS, "tag.team", ("desk",)),
        Part(Said.REGEXP, "message.subject", ("^x",)),
        Part(Said.SEVERITY, values=("high",)),
        Part(Said.OWN),
    )
    assert found.does == (
        Part(Said.DIGEST, "mail", ("daily",), form="short"),
        Part(Said.NOW, "mail", address="a@example.org"),
        Part(Said.OFF, "web"),
        Part(Said.NOW, "feed"),
    )
    assert not found.stops
    assert sentence_of(rule(do={})).does == (Part(Said.NOTHING),)


def test_a_final_rule_hides_what_stands_below_it():
    rules = [rule("on", final=False), rule("first", type="obs.build"), rule("hidden", when={"project": "KDE"}), rule("other", type="wiki")]
    found = reach_of(rules, [(message(), ANYBODY), (message(type="wiki.x", params={}), ANYBODY)])
    assert {rule_id: (reach.matched, reach.reached, dict(reach.hidden_by)) for rule_id, reach in found.items()} == {
        "on": (2, 2, {}), "first": (1, 1, {}), "hidden": (1, 0, {"first": 1}), "other": (1, 1, {}),
    }  # fmt: skip
    assert [rule_id for rule_id, reach in found.items() if reach.is_never_reached] == ["hidden"]
    assert stopped_by(rules, "hidden", message(), ANYBODY) is rules[1]
    assert stopped_by(rules, "hidden", message(type="wiki.x"), ANYBODY) is None
    assert stopped_by(rules, "first", message(), ANYBODY) is None
    assert stopped_by([rule("first", enabled=False), rule("b")], "b", message(), ANYBODY) is None
