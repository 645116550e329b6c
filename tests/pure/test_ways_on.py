"""Fallback and escalation as decisions: an order ends, repeats nobody, and keeps its order; the nearest chain speaks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.delivery import Reason, State
from angelia.model.errors import InvalidInput
from angelia.model.message import HOUSE, Message, Severity
from angelia.model.preference import Escalation, Site, Until, Wants
from angelia.planning.document import parse_site, parse_wants
from angelia.planning.escalation import chain_for, plan_from, plan_text, remaining, target_of
from angelia.planning.fallback import PULL, is_failure, order_of, still_to_try

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
AGENTS = st.sampled_from(["web", "feed", "a", "b", "c", "d", "e"])
FAILED = st.sampled_from([State.BOUNCED, State.DEAD, State.EXPIRED, State.SUPPRESSED])
TRAILS = st.lists(st.tuples(AGENTS, st.sampled_from(list(State))), max_size=8)


@given(st.lists(AGENTS, max_size=8), TRAILS)
def test_what_is_tried_next_was_not_tried_and_keeps_the_order(order, trail):
    found = still_to_try(trail, order)
    assert not {agent for agent, _ in trail} & set(found) and not PULL & set(found)
    assert list(found) == sorted(set(found), key=order.index)


@given(st.lists(AGENTS, max_size=8), TRAILS, AGENTS.filter(lambda agent: agent not in PULL))
def test_while_something_reached_her_or_may_nothing_is_tried(order, trail, agent):
    for state in (State.HELD, State.DUE, State.SENDING, State.DIGESTED, State.DELIVERED):
        assert still_to_try([*trail, (agent, state)], order) == ()


@given(st.lists(AGENTS, max_size=8), st.data())
def test_failure_after_failure_ends_with_each_agent_tried_once(order, data):
    trail = [("mail", data.draw(FAILED)), ("web", State.DELIVERED)]
    while found := still_to_try(trail, order):
        trail.append((found[0], data.draw(FAILED)))
    tried = [agent for agent, _ in trail]
    assert len(tried) == len(set(tried)) <= 2 + len(order)
    assert set(order) - PULL <= set(tried)


@pytest.mark.parametrize(
    "state, reason, wanted",
    [
        (State.BOUNCED, Reason.REFUSED, True),
        (State.DEAD, Reason.POISON, True),
        (State.EXPIRED, Reason.LIFETIME_OVER, True),
        (State.EXPIRED, Reason.EXPIRED, False),
        (State.SUPPRESSED, Reason.NO_VERIFIED_ADDRESS, True),
        (State.SUPPRESSED, Reason.PAUSED, False),
        (State.SUPPRESSED, Reason.SEEN, False),
        (State.DELIVERED, Reason.CHOSEN, False),
        (State.DUE, Reason.CHOSEN, False),
    ],
)
def test_what_is_a_failure(state, reason, wanted):
    assert is_failure(state, reason) is wanted


def test_her_order_counts_before_the_sites_and_may_be_empty():
    site = parse_site({"fallback": ["pager"]})
    assert order_of(parse_wants({}), site).agents == ("pager",) and not order_of(parse_wants({}), site).is_own
    assert order_of(parse_wants({"fallback": []}), site).agents == ()
    assert order_of(parse_wants({"fallback": ["b", "a"]}), site).agents == ("b", "a")


def message(kind="a.b.c", **fields):
    return Message(message_id=1, source="ci", type=kind, received_at=NOW, occurred_at=NOW, **({"severity": Severity.URGENT} | fields))


def chain(*to, **fields):
    return Escalation(timedelta(minutes=10), to, **fields)


def test_the_nearest_scope_speaks_hers_before_the_sites():
    site = Site(escalate={"*": chain("s"), "a.b": chain("near", min_severity=Severity.HIGH)})
    assert chain_for(message(), Wants(), site).to == ("near",)
    assert chain_for(message(severity=Severity.HIGH), Wants(), site).to == ("near",)
    assert chain_for(message("x", severity=Severity.HIGH), Wants(), site) is None
    assert chain_for(message(), Wants(escalate={"*": chain("own")}), site).to == ("own",)
    assert chain_for(message(), Wants(escalate={"a": chain()}), site) is None
    assert chain_for(message(), Wants(), Site()) is None
    assert chain_for(replace(message(), source=HOUSE), Wants(), site) is None


@given(
    st.builds(
        Escalation,
        st.integers(60, 604_800).map(lambda seconds: timedelta(seconds=seconds)),
        st.lists(st.text(max_size=5), max_size=5).map(tuple),
        st.sampled_from(Severity),
        st.sampled_from(Until),
        st.booleans(),
    )
)
def test_a_stored_chain_is_the_same(made):
    assert plan_from(plan_text(made)) == made
    assert [place for place, _ in remaining(made, 2)] == list(range(2, len(made.to)))


def test_what_a_step_names():
    assert [target_of(step) for step in ("pager", "person:bob", "group:ops")] == [("agent", "pager"), ("person", "bob"), ("group", "ops")]


def test_a_document_says_chains():
    wants = parse_wants(
        {"escalate": {"obs": {"after": "2h", "to": ["pager", "person:bob"], "severity": "high", "until": "seen", "by_anybody": False}}}
    )
    assert wants.escalate["obs"] == Escalation(timedelta(hours=2), ("pager", "person:bob"), Severity.HIGH, Until.SEEN, by_anybody=False)


@pytest.mark.parametrize(
    "document, field",
    [
        ({"fallback": ["a", "a"]}, "fallback"),
        ({"fallback": "mail"}, "fallback"),
        ({"fallback": [""]}, "fallback"),
        ({"escalate": {"*": {"after": "10"}}}, "escalate.*.after"),
        ({"escalate": {"*": {"after": "10s"}}}, "escalate.*.after"),
        ({"escalate": {"*": {"after": "8d"}}}, "escalate.*.after"),
        ({"escalate": {"*": {"to": ["x:y"]}}}, "escalate.*.to"),
        ({"escalate": {"*": {"to": ["person:"]}}}, "escalate.*.to"),
        ({"escalate": {"*": {"until": "never"}}}, "escalate.*.until"),
        ({"escalate": {"*": {"unknown": 1}}}, "escalate.*.unknown"),
    ],
)
def test_slips_name_their_field(document, field):
    with pytest.raises(InvalidInput) as raised:
        parse_wants(document)
    assert raised.value.field == field
