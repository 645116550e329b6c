"""Ids, payloads, states, words: small values and their round trips."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.flow.explain import REASONS
from angelia.model.delivery import STEPS, Reason, State, step
from angelia.model.errors import BadSettings, IllegalStep
from angelia.model.message import Message, Recipient, RecipientKind, Sender, Severity, Wish, ancestry
from angelia.model.moments import ids_from, number_of, public_id
from angelia.model.payload import message_of, payload_of
from angelia.rendering.words import LANGUAGES
from angelia.settings import load

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
    assert STEPS[State.DELIVERED] == {State.BOUNCED}  # by a report that comes later


def test_every_reason_has_words_and_every_language_the_same_words():
    assert set(REASONS) == set(Reason)
    assert all(words.keys() == LANGUAGES["en"].keys() for words in LANGUAGES.values())


def test_ancestry():
    assert ancestry("a.b.c") == ("a.b.c", "a.b", "a")


@pytest.mark.parametrize(
    ("base_url", "host", "hosts", "named"),
    [
        ("https://Hub.example.org", "127.0.0.1", "", {"hub.example.org"}),
        ("https://hub.example.org:8443/angelia", "10.0.0.7", "a.example, B.example", {"hub.example.org", "10.0.0.7", "a.example", "b.example"}),
        ("http://[2001:db8::1]:80", "::1", "*", {"[2001:db8::1]", "*"}),
    ],
)
def test_whom_a_host_may_name(base_url, host, hosts, named):
    loaded = load(environment={}, overrides={"house": {"base_url": base_url}, "web": {"host": host, "hosts": hosts}})
    assert loaded.hosts == named | {"127.0.0.1", "localhost", "[::1]"}


@pytest.mark.parametrize(
    ("room", "name", "value"),
    [
        ("house", "base_url", "https://hub example.org"),
        ("house", "base_url", "https://hub.example.org:99999"),
        ("house", "base_url", "https://:8080"),
        ("web", "max_body", 0),
        ("web", "post_rate", float("nan")),
        ("web", "proxies", "127.0.0.1, 10.0.0.0/8"),
        ("web", "proxies", "nginx"),
        ("delivery", "lifetime", 10**15),
        ("delivery", "chat_lifetime", 0),
        ("delivery", "retention_days", 10**8),
    ],
)
def test_a_setting_that_can_not_work_is_named(room, name, value):
    with pytest.raises(BadSettings, match=f"{room}.{name}|{room}.* and {room}.{name}"):
        load(environment={}, overrides={room: {name: value}})


def test_no_client_may_wait_for_more_than_20_seconds():  # E1.12
    web = load(environment={}).web
    assert max(web.head_timeout, web.body_timeout) <= 18  # and a look a second, and what is under way
    for name in ("head_timeout", "body_timeout", "answer_timeout"):
        with pytest.raises(BadSettings):
            load(environment={}, overrides={"web": {name: 0}})


@pytest.mark.parametrize(
    "url", ["localhost", "http://127.0.0.1/x", "amqp://127.0.0.1:abc/x", "amqp://angelia:pass#word@127.0.0.1/x", "amqp://[::1/x"]
)
def test_the_url_of_a_broker_is_one_that_can_be_used(url):
    for overrides in ({"broker": {"url": url}}, {"inlets": {"amqp": {"tasks": {"exchange": "wf.task", "url": url}}}}):
        with pytest.raises(BadSettings, match="url is amqp://user:password@host:5672/vhost"):
            load(environment={}, overrides=overrides)
