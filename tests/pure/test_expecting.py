"""Expectations: when they are due, what a sign makes of them, which messages are signs, and what is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from angelia.model.errors import IllegalStep
from angelia.model.expectation import IN_TROUBLE, STEPS, Expectation, ExpectationState, Listening, Moment, Sign, SignKind
from angelia.model.message import HOUSE, Message, Recipient, Severity
from angelia.planning.expecting import (
    Listeners,
    after_sign,
    alarm_at,
    begun_anew,
    due_at,
    exact_text,
    fallen_silent,
    is_news,
    length_code,
    length_text,
    news_of,
    shown_state,
)

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
ONE = Expectation(expectation_id=7, person_id=1, title="Backup of x", every=DAY, grace=2 * HOUR, created_at=NOW, since=NOW)
WAITING, WELL, SILENT, FAILED = ExpectationState


def sign(kind, after, **more):
    return Sign(SignKind(kind), NOW + after, **more)


def heard(one, *signs):
    for each in signs:
        one = after_sign(one, each)
    return one


def test_it_is_due_a_rhythm_after_the_last_good_sign():
    assert (due_at(ONE), alarm_at(ONE)) == (NOW + DAY, NOW + DAY + 2 * HOUR)
    well = heard(ONE, sign("success", 3 * HOUR))
    assert (well.state, due_at(well), alarm_at(well)) == (WELL, NOW + 27 * HOUR, NOW + 29 * HOUR)
    by_cron = replace(ONE, every=None, cron="30 3 * * *", zone="Europe/Berlin")
    assert due_at(by_cron) == datetime(2026, 11, 25, 2, 30, tzinfo=UTC)
    assert due_at(replace(by_cron, zone="Nowhere/Here")) == datetime(2026, 11, 25, 3, 30, tzinfo=UTC)


def test_a_run_lasts_no_longer_than_the_grace():
    running = heard(ONE, sign("success", HOUR), sign("start", 2 * HOUR))
    assert running.started_at == NOW + 2 * HOUR and alarm_at(running) == NOW + 4 * HOUR
    assert alarm_at(heard(running, sign("success", 3 * HOUR))) == NOW + 3 * HOUR + DAY + 2 * HOUR
    # A start says nothing of the day before: what is due stays due.
    late = heard(ONE, sign("start", DAY + HOUR))
    assert alarm_at(late) == NOW + DAY + 2 * HOUR
    # A message does not end a run.
    assert heard(running, sign("message", 3 * HOUR)).started_at == NOW + 2 * HOUR


def test_what_is_told():
    silent = fallen_silent(ONE)
    assert silent.state is SILENT and alarm_at(silent) is None
    failed = heard(ONE, sign("fail", HOUR))
    assert failed.state is FAILED and alarm_at(failed) is None and failed.since == NOW
    assert heard(failed, sign("fail", 2 * HOUR)).state is FAILED
    assert heard(silent, sign("start", HOUR)).state is SILENT
    assert heard(silent, sign("fail", HOUR)).state is FAILED
    assert heard(silent, sign("message", HOUR)).state is WELL
    told = {(before, after) for before in ExpectationState for after in ExpectationState if is_news(before, after)}
    assert told == {
        (WAITING, SILENT),
        (WAITING, FAILED),
        (WELL, SILENT),
        (WELL, FAILED),
        (SILENT, WELL),
        (SILENT, FAILED),
        (FAILED, WELL),
        (FAILED, SILENT),
    }
    with pytest.raises(IllegalStep):
        fallen_silent(failed)


def test_what_came_before_changes_nothing():
    well = heard(ONE, sign("success", 5 * HOUR))
    for kind in SignKind:
        assert after_sign(well, sign(kind, 4 * HOUR)) == well
        assert after_sign(ONE, sign(kind, -HOUR)) == ONE


def test_a_paused_one_notes_signs_and_tells_nothing():
    paused = replace(ONE, is_paused=True)
    assert alarm_at(paused) is None and shown_state(paused, NOW + 9 * DAY) == "paused"
    noted = heard(paused, sign("fail", HOUR), sign("success", 2 * HOUR))
    assert (noted.state, noted.seen_at) == (WAITING, NOW + 2 * HOUR)
    anew = begun_anew(replace(fallen_silent(ONE), is_paused=True), NOW + 3 * DAY)
    assert (anew.state, anew.since, anew.is_paused) == (WAITING, NOW + 3 * DAY, False)
    assert alarm_at(anew) == NOW + 4 * DAY + 2 * HOUR


@pytest.mark.parametrize(("after", "state"), [(HOUR, "waiting"), (DAY, "waiting"), (DAY + HOUR, "late"), (3 * DAY, "late")])
def test_the_word_for_it(after, state):
    assert shown_state(ONE, NOW + after) == state
    assert shown_state(fallen_silent(ONE), NOW + after) == "silent"


KINDS = st.sampled_from([*SignKind, "silence", "anew"])


@given(st.lists(st.tuples(KINDS, st.integers(0, 90)), max_size=30))
def test_states_follow_the_table_and_an_alarm_is_there_or_told(happened):
    one, at = ONE, NOW
    for kind, minutes in happened:
        at += minutes * MINUTE
        if kind == "silence":
            new = fallen_silent(one) if alarm_at(one) is not None else one
        else:
            new = begun_anew(one, at) if kind == "anew" else after_sign(one, Sign(kind, at))
        assert new.state is one.state or new.state in STEPS[one.state]
        assert (alarm_at(new) is None) is (new.state in IN_TROUBLE)
        one = new


def message(source="ci", kind="backup.done", **more):
    return Message(message_id=1, source=source, type=kind, received_at=NOW, occurred_at=NOW, **more)


def test_which_messages_are_signs():
    rows = [
        Listening(1, "ci", "", "", frozenset({"alice"})),
        Listening(2, "", "backup", "", frozenset({"alice"})),
        Listening(3, "", "", "host/x", frozenset({"alice"})),
        Listening(4, "ci", "backup.done", "host/x", frozenset({"bob", "group:qa"})),
    ]
    listeners = Listeners(rows)
    assert set(listeners.hearing(message())) == {1, 2}
    assert set(listeners.hearing(message(object="host/x"))) == {1, 2, 3, 4}
    assert set(listeners.hearing(message("other", "backups", object="host/x"))) == {3}
    assert set(listeners.hearing(message("other", "backup"))) == {2}
    assert set(listeners.hearing(message(is_restricted=True, access=("group:qa",), object="host/x"))) == {4}
    assert set(listeners.hearing(message(is_restricted=True, recipients=(Recipient("alice"),), object="host/x"))) == {1, 2, 3}
    # What the house says of silences is no sign of life.
    assert not listeners.hearing(message(HOUSE, "backup.done", object="host/x"))
    assert not Listeners().hearing(message())


def moment(before, after, at, **more):
    return Moment(1, 7, NOW + at, "x", before, after, NOW, **more)


def test_words():
    seen = replace(ONE, seen_at=NOW)
    said = news_of(seen, moment(WELL, SILENT, 26 * HOUR), "alice", "http://hub")
    assert said.subject == "Backup of x has been silent for 26 hours"
    assert "expected every 24 hours, and may be 2 hours late" in said.body and "2026-11-24T09:00:00Z" in said.body
    assert (said.type, said.severity, said.is_restricted) == ("angelia.expectation.silent", Severity.HIGH, True)
    assert said.object_url == "http://hub/expectations/7" and said.supersedes == said.thread
    assert news_of(ONE, moment(WAITING, SILENT, 26 * HOUR), "alice", "").subject == "Backup of x has not spoken yet, for 26 hours"
    failed = news_of(seen, moment(WELL, FAILED, HOUR, exit_code=3, took=90 * MINUTE, text="x" * 5_000 + "no space left"), "alice", "")
    assert failed.subject == "Backup of x failed" and "exit code 3" in failed.body and "90 minutes" in failed.body
    assert failed.body.endswith("no space left") and len(failed.body) < 2_500
    well = news_of(replace(seen, to=("bob", "alice")), moment(SILENT, WELL, 30 * HOUR), "alice", "")
    assert well.subject == "Backup of x is well again" and "silent" in well.body and well.severity is Severity.NORMAL
    assert [one.principal for one in well.recipients] == ["alice", "bob"]
    assert news_of(replace(ONE, title="y" * 255), moment(SILENT, WELL, HOUR), "alice", "").subject[:3] == "yyy"


@pytest.mark.parametrize(
    ("length", "text", "code"),
    [
        (MINUTE, "1 minute", "1m"), (90 * MINUTE, "90 minutes", "90m"), (HOUR, "1 hour", "1h"), (DAY, "24 hours", "1d"), (26 * HOUR, "26 hours", "26h"),
        (3 * DAY + 4 * HOUR, "3 days 4 hours", "76h"), (2 * DAY, "2 days", "2d"), (timedelta(seconds=45), "45 seconds", "45s"),
    ],
)  # fmt: skip
def test_lengths(length, text, code):
    assert length_text(length) == text and length_code(length) == code


@pytest.mark.parametrize(("minutes", "text"), [
    (0, "0 seconds"), (0.5, "30 seconds"), (1, "1 minute"), (60, "1 hour"), (90, "90 minutes"), (150, "150 minutes"), (24 * 60, "24 hours"),
    (26 * 60, "26 hours"), (7 * 24 * 60, "7 days"), (50 * 60, "50 hours"),
])  # fmt: skip
def test_a_length_that_was_chosen_is_said_exactly(minutes, text):
    assert exact_text(timedelta(minutes=minutes)) == text
