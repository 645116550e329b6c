"""Retry, breaker, flood, digest: pure decisions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from angelia.flow.attempt import put_off
from angelia.model.delivery import Delivery, Reason, State
from angelia.model.message import Severity
from angelia.planning.digest import DigestItem, assemble
from angelia.planning.flood import Caps, Fold, Overflow, Pass, judge
from angelia.planning.retry import Breaker, after_failure, after_success, may_try, next_attempt

NOW = datetime(2024, 3, 5, 13, tzinfo=UTC)
DAYS = timedelta(days=5)


@given(st.integers(1, 200), st.integers(0, 2**40), st.one_of(st.none(), st.timedeltas(timedelta(), timedelta(days=2))))
def test_the_next_try_is_later_and_within_the_lifetime(attempts, seed, retry_after):
    due = next_attempt(attempts, NOW, NOW, retry_after, DAYS, seed)
    assert due is None or NOW + timedelta(seconds=4) <= due <= NOW + timedelta(hours=6)
    assert next_attempt(attempts, NOW - DAYS, NOW, None, DAYS, seed) is None


def test_the_first_steps_and_the_word_of_the_peer():
    first = next_attempt(1, NOW, NOW, None, DAYS, 1)
    assert timedelta(seconds=4) <= first - NOW <= timedelta(seconds=6)
    assert next_attempt(1, NOW, NOW, timedelta(hours=1), DAYS, 1) == NOW + timedelta(hours=1)
    assert next_attempt(1, NOW, NOW, timedelta(days=30), DAYS, 1) == NOW + timedelta(hours=6)


def test_a_breaker_opens_after_five_failures_and_lets_one_probe_through():
    breaker = Breaker()
    for _ in range(4):
        breaker = after_failure(breaker, NOW)
        assert may_try(breaker, NOW)[0] is None
    breaker = after_failure(breaker, NOW)
    assert may_try(breaker, NOW)[0] == NOW + timedelta(seconds=10)
    later = NOW + timedelta(seconds=11)
    allowed, probing = may_try(breaker, later)
    assert allowed is None
    assert may_try(probing, later)[0] is not None
    assert may_try(after_success(probing), later) == (None, Breaker())


def test_what_was_under_way_when_the_rest_began_does_not_lengthen_it():  # fault F27: a server that restarts under many letters at once
    breaker = Breaker()
    for _ in range(20):
        breaker = after_failure(breaker, NOW)
    assert breaker.rests_until == NOW + timedelta(seconds=10)
    later = NOW + timedelta(seconds=11)
    _, probing = may_try(breaker, later)
    assert after_failure(probing, later).rests_until == later + timedelta(seconds=20)
    set_back = NOW - timedelta(days=1)
    assert after_failure(breaker, set_back).rests_until == set_back + timedelta(seconds=20)


def test_repeats_are_folded_within_fifteen_minutes():  # case B3
    caps = Caps()
    assert judge(NOW, "k", None, 0, None, caps) == Pass()
    assert judge(NOW + timedelta(minutes=5), "k", NOW, 1, NOW, caps) == Fold(NOW)
    assert judge(NOW + timedelta(minutes=20), "k", NOW, 1, NOW, caps) == Pass()
    assert judge(NOW + timedelta(minutes=5), None, NOW, 1, NOW, caps) == Pass()


def test_above_the_cap_all_goes_into_one_overflow_digest():  # case B4
    caps = Caps(per_hour=30)
    judged = [judge(NOW, None, None, sent, NOW, caps, is_told=sent > 30) for sent in range(60)]
    assert judged[:30] == [Pass()] * 30
    assert judged[30] == Overflow(NOW + timedelta(hours=1), is_first=True)
    assert judged[31:] == [Overflow(NOW + timedelta(hours=1), is_first=False)] * 29
    assert judge(NOW, None, None, 60, NOW, caps, exempt=True) == Pass()
    assert judge(NOW + timedelta(hours=1), None, None, 60, NOW, caps, is_told=True) == Pass()


def test_the_first_that_is_held_back_in_a_window_is_the_first_by_what_was_told():
    caps = Caps(per_hour=30)
    assert judge(NOW, None, None, 33, NOW, caps) == Overflow(NOW + timedelta(hours=1), is_first=True)  # exempt ones came in between
    assert judge(NOW, None, None, 30, NOW, caps, is_told=True) == Overflow(NOW + timedelta(hours=1), is_first=False)  # the cap was raised
    closed = Caps(per_hour=0)
    assert judge(NOW + timedelta(hours=1), None, None, 60, NOW, closed, is_told=True) == Overflow(NOW + timedelta(hours=2), is_first=True)


def item(number, **fields):
    defaults = {"type": "obs.build.fail", "subject": f"s{number}", "occurred_at": NOW + timedelta(seconds=number)}
    return DigestItem(delivery_id=number, message_id=number, **(defaults | fields))


def test_equal_collapse_keys_are_one_line():  # case B1
    items = [item(n, object="KDE/okular", collapse_key="okular") for n in range(3)] + [item(3, object="KDE/kate", collapse_key="kate")]
    digest = assemble(items, NOW).digest
    lines = {group.title: [(line.subject, line.count) for line in group.lines] for group in digest.groups}
    assert lines == {"KDE/kate": [("s3", 1)], "KDE/okular": [("s2", 3)]}


def test_what_expired_vanishes_and_an_empty_digest_is_none():  # case B2
    made = assemble([item(1, expires_at=NOW)], NOW)
    assert made.digest is None
    assert made.expired == (1,)


def test_a_failure_that_was_mended_is_one_line():
    items = [item(1, object="KDE/okular"), item(2, object="KDE/okular"), item(3, object="KDE/okular", type="obs.build.success")]
    made = assemble(items, NOW)
    assert made.superseded == (1, 2)
    (group,) = made.digest.groups
    assert [(line.type, line.mended) for line in group.lines] == [("obs.build.success", 2)]


def test_at_most_so_many_lines():
    made = assemble([item(n, object=str(n)) for n in range(310)], NOW)
    assert (made.digest.lines, made.digest.more, made.digest.messages) == (300, 10, 310)


items = st.lists(
    st.builds(
        lambda n, ref, key, mended, gone: (n, ref, key, mended, gone),
        st.integers(1, 10_000), st.sampled_from(["", "a", "b"]), st.sampled_from(["", "k"]), st.booleans(), st.booleans(),
    ),
    unique_by=lambda entry: entry[0],
    max_size=30,
)  # fmt: skip


@given(items, st.randoms())
def test_no_item_is_lost_or_told_twice_and_order_does_not_matter(entries, random):
    made_of = [
        item(n, object=ref, collapse_key=key, type="x.ok" if mended else "x.fail", expires_at=NOW if gone else None, severity=Severity.NORMAL)
        for n, ref, key, mended, gone in entries
    ]
    made = assemble(made_of, NOW)
    random.shuffle(made_of)
    assert assemble(made_of, NOW) == made
    told = sum(line.count for group in made.digest.groups for line in group.lines) if made.digest else 0
    assert told + len(made.expired) + len(made.superseded) == len(entries)
    assert not set(made.expired) & set(made.superseded)


def test_a_rest_begun_under_a_clock_that_went_back_is_over():  # promise P13
    tomorrow = NOW + timedelta(days=1)
    resting = Breaker(7, tomorrow + timedelta(minutes=10))
    assert may_try(resting, tomorrow) == (tomorrow + timedelta(minutes=10), resting)
    allowed_at, probing = may_try(resting, NOW)
    assert allowed_at is None
    assert probing.probe_until == NOW + timedelta(minutes=10)
    assert may_try(Breaker(7, NOW, tomorrow), NOW)[0] is None


def test_a_delivery_that_waits_for_a_resting_destination_grows_old():  # promise P8
    waiting = Delivery(delivery_id=1, person_id=1, agent="mail", address_id=1, state=State.SENDING, due_at=NOW, message_id=1, first_tried_at=NOW)
    within = put_off(waiting, NOW + DAYS, DAYS)
    assert (within.state, within.due_at, within.is_attempt) == (State.DUE, NOW + DAYS, False)
    over = put_off(waiting, NOW + DAYS + timedelta(seconds=1), DAYS)
    assert (over.state, over.reason) == (State.EXPIRED, Reason.LIFETIME_OVER)
    unknown = put_off(waiting, NOW + DAYS + timedelta(seconds=1), DAYS, is_down=False)
    assert (unknown.state, unknown.due_at) == (State.DUE, NOW + DAYS + timedelta(seconds=1))
    told = put_off(replace(waiting, last_error="451 not now"), NOW + DAYS, DAYS)
    assert (told.error, within.error) == ("451 not now", "the destination rests")
