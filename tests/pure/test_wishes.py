"""Small changes to a document, the tree of types, and how many a week: pure."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.errors import InvalidInput
from angelia.planning import editing
from angelia.planning.document import parse_wants
from angelia.planning.editing import documents_differ
from angelia.planning.estimate import Count, by_subtree, matched_counts
from angelia.web.pages.tree import Row, seen_of, toggled, visible
from angelia.wire.documents import from_toml, to_toml

SCOPES = st.sampled_from(["*", editing.UNKNOWN, "obs", "obs.build"])
CELLS = st.tuples(
    SCOPES, st.sampled_from(["web", "mail", "mail:a@example.org"]), st.sampled_from(["", "off", "now", "daily"]), st.sampled_from([None, "", "short"])
)


@given(st.lists(CELLS, max_size=30))
def test_after_any_cells_the_document_is_sound_and_says_what_was_said_last(cells):
    document = {}
    for scope, agent, when, form in cells:
        editing.put_cell(document, scope, agent, when, form)
    parse_wants(document, known_schedules=["daily"])
    last = {(scope, agent): when for scope, agent, when, _ in cells}
    for (scope, agent), when in last.items():
        assert editing.when_of(editing.statements_of(document, scope).get(agent)) == when
    if not any(last.values()):
        assert document == {}


@given(st.lists(CELLS, max_size=10))
def test_toml_and_back(cells):
    document = {"rules": [{"id": "a", "type": "obs", "do": {"mail": "off"}}]}
    for scope, agent, when, form in cells:
        editing.put_cell(document, scope, agent, when, form)
    assert from_toml(to_toml(document)) == document


def test_toml_times_are_texts_and_errors_are_told():
    assert from_toml("a = 2026-11-24T08:00:00Z\nb = [07:30:00]") == {"a": "2026-11-24T08:00:00+00:00", "b": ["07:30:00"]}
    for text in ("a =", "a = 1\na = 2", "x" + "[" * 3_000):
        with pytest.raises(InvalidInput):
            from_toml(text)


def test_what_differs_is_told_down_to_the_cell():
    new = {"preferences": {"*": {"mail": "daily"}}, "paused": ["mail"], "hold": {}}
    assert [(change["path"], change["before"], change["after"]) for change in documents_differ({"paused": []}, new)] == [
        ("hold", None, {}),
        ("paused", [], ["mail"]),
        ("preferences.*.mail", None, "daily"),
    ]
    assert documents_differ(new, new) == []


COUNTS = [Count("obs.build.fail", ("role:maintainer", "follow"), 3), Count("obs.build.fail", ("to",), 2), Count("jobs", (), 1)]


def test_counts_go_up_the_tree():
    assert by_subtree(COUNTS) == {"obs.build.fail": 5, "obs.build": 5, "obs": 5, "jobs": 1, "*": 6}


@pytest.mark.parametrize(
    "rule, expected",
    [
        ({"type": "obs"}, 5),
        ({"type": "obs", "role": "maintainer"}, 3),
        ({"type": "*"}, 6),
        ({"type": "obs.*.fail"}, 5),
        ({"type": "ob"}, 0),
        ({"role": "reader"}, 0),
    ],
)
def test_what_a_rule_of_type_and_role_matches(rule, expected):
    (parsed,) = parse_wants({"rules": [rule | {"do": {"mail": "now"}}]}).rules
    assert matched_counts(parsed, COUNTS) == expected


AT = datetime(2026, 11, 24, tzinfo=UTC)


def test_a_small_tree_is_whole_and_a_big_one_is_opened_by_hand():
    small = seen_of({"obs.build.fail": AT, "jobs": AT}, {"obs.build.fail": 1}, ["mine.only"])
    assert [(row.key, row.depth, row.is_open) for row in visible(small, {"mine.only"}).rows] == [
        ("jobs", 0, None), ("mine", 0, True), ("mine.only", 1, None), ("obs", 0, True), ("obs.build", 1, True), ("obs.build.fail", 2, None),
    ]  # fmt: skip
    big = seen_of({f"big.t{n}": AT for n in range(100)}, {}, [])
    assert [row.key for row in visible(big, ()).rows] == ["big"]
    assert len(visible(big, (), opened=["big"]).rows) == 101
    assert len(visible(big, (), at="big.t7").rows) == 101
    found = visible(big, {"big.t3"}, text="t3")
    assert [row.key for row in found.rows] == ["big.t3", *(f"big.t3{n}" for n in range(10))] and not found.is_cut
    assert [row.key for row in visible(big, {"big.t3"}, only_own=True).rows] == ["big.t3"]


def test_a_whole_tree_can_be_closed():
    small = seen_of({"a.b": AT}, {}, [])
    rows = visible(small, ()).rows
    assert toggled(rows, "a") == "-"
    closed = visible(small, (), opened=["-"]).rows
    assert [row.key for row in closed] == ["a"]
    assert toggled(closed, "a") == "a"
    assert isinstance(closed[0], Row)
