"""Ids, payloads, states, words: small values and their round trips."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.flow.explain import REASONS
from angelia.model.delivery import STEPS, Reason, State, step
from angelia.model.errors import IllegalStep
from angelia.model.message import Message, Recipient, RecipientKind, Sender, Severity, Wish, ancestry
from angelia.model.moments import ids_from, number_of, public_id
from angelia.model.payload import message_of, payload_of
from angelia.rendering.words import LANGUAGES

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
messages = st.builds(
    Message,
    message_id=st.integers(1, 2**62),
    source=texts,
    type=st.just("a.b"),
    received_at=moments,
    occurred_at=moments,
    subject=texts,
    body=texts,
    sender=st.builds(Sender, texts, texts),
    recipients=st.lists(st.builds(Recipient, texts, st.just(RecipientKind.TO), texts), max_size=3).map(tuple),
    severity=st.sampled_from(Severity),
    tags=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    params=st.dictionaries(texts, st.one_of(texts, st.lists(texts, max_size=2).map(tuple)), max_size=3),
    expires_at=st.one_of(st.none(), moments),
    wish=st.one_of(st.none(), st.sampled_from(Wish)),
    is_test=st.booleans(),
    access=st.lists(texts, max_size=2).map(tuple),
)


@given(messages)
def test_a_message_survives_the_store(message):
    stamp = round((message.received_at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1e6)
    again = message_of(message.message_id, message.source, stamp, payload_of(message))
    assert payload_of(again) == payload_of(message)
    assert (again.recipients, again.params, again.tags) == (message.recipients, message.params, message.tags)


@given(st.integers(0, 2**63 - 1))
def test_public_ids(number):
    assert number_of("msg", public_id("msg", number)) == number
    assert number_of("dlv", public_id("msg", number)) is None


@given(st.lists(st.integers(0, 2**50), min_size=1, max_size=20))
def test_ids_grow_whatever_the_clock_does(clock):
    last = 0
    for now in clock:
        new = next(ids_from(now + 1_704_067_200_000_000, last, 7))
        assert new > last
        assert new & 4095 == 7
        last = new


def test_the_state_table():
    assert step(State.SENDING, State.DELIVERED) is State.DELIVERED
    for old in State:
        for new in set(State) - STEPS[old]:
            with pytest.raises(IllegalStep):
                step(old, new)
    assert not STEPS[State.DELIVERED]


def test_every_reason_has_words_and_every_language_the_same_words():
    assert set(REASONS) == set(Reason)
    assert all(words.keys() == LANGUAGES["en"].keys() for words in LANGUAGES.values())


def test_ancestry():
    assert ancestry("a.b.c") == ("a.b.c", "a.b", "a")
