"""Topic patterns and their index."""

from hypothesis import given
from hypothesis import strategies as st

from angelia.flow.profiles import _condition, rule_rows
from angelia.planning.document import parse_wants
from angelia.planning.matching import rule_matches
from angelia.planning.topic import PatternIndex, matches
from angelia.planning.trial import _message

words = st.sampled_from("abc")
keys = st.lists(words, min_size=1, max_size=5).map(".".join)
patterns = st.lists(st.sampled_from(["a", "b", "c", "*", "#"]), min_size=1, max_size=5).map(".".join)
conditions = st.one_of(st.none(), st.tuples(st.sampled_from("pq"), st.sampled_from("xy")))


def test_the_rules_of_amqp():
    assert matches("a.#", "a")
    assert matches("a.#", "a.b.c")
    assert matches("a.*.c", "a.b.c")
    assert not matches("a.*", "a")
    assert not matches("*", "a.b")
    assert matches("#", "a.b")


@given(st.lists(st.tuples(patterns, conditions), max_size=12), keys, st.dictionaries(st.sampled_from("pq"), st.sampled_from("xyz")))
def test_the_index_finds_what_matching_one_by_one_finds(entries, key, params):
    index = PatternIndex()
    for number, (pattern, condition) in enumerate(entries):
        index.add(pattern, condition, number)
    expected = {
        number
        for number, (pattern, condition) in enumerate(entries)
        if matches(pattern, key) and (condition is None or params.get(condition[0]) == condition[1])
    }
    found = list(index.find(key, params))
    assert sorted(found) == sorted(expected)
    for number, (pattern, condition) in enumerate(entries):
        index.discard(pattern, condition, number)
    assert len(index) == 0
    assert not index.find(key, params)


def test_a_parameter_with_several_values():
    index = PatternIndex()
    index.add("a.#", ("arch", "s390x"), 7)
    assert list(index.find("a.b", {"arch": ("x86_64", "s390x")})) == [7]


_names = st.sampled_from(["p", "q", "message.source", "message.actor", "message.p", "tag.p"])


@given(
    st.lists(st.tuples(_names, st.sampled_from("xy")), min_size=1, max_size=6),
    st.dictionaries(_names, st.sampled_from("xyz")),
    st.sampled_from("xyz"),
    st.sampled_from("xyz"),
)
def test_the_index_finds_all_whose_rules_match(conditions, params, source, tag):
    message, _ = _message({"type": "a.b", "at": "2024-03-05T14:00:00Z", "params": params, "source": source, "tags": [["p", tag]]})
    index, matching = PatternIndex(), set()
    for number, (name, value) in enumerate(conditions):
        wants = parse_wants({"rules": [{"type": "a", "when": {name: [value]}, "do": {"mail": "now"}}]}, known_schedules=None)
        for row in rule_rows(wants.rules, number):
            index.add(row.pattern, _condition(row), number)
        if rule_matches(wants.rules[0], message, frozenset()):
            matching.add(number)
            assert value == {"message.source": source, "message.actor": "", "tag.p": tag}.get(name, params.get(name))
    assert matching <= set(index.find(message.type, message.params))
