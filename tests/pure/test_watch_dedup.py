"""How often one is told: nothing is lost in windows, buckets and digests, and nobody is told too often."""

import json

from hypothesis import given
from hypothesis import strategies as st

from angelia.watch.dedup import MOST_KEYS, MOST_SHOWN, Bucket, Dedup, Overflow, Rates, key_of, normalised


def test_what_varies_makes_no_difference():
    assert normalised("motor 12 at 3.5, see C:\\data\\run17.dat") == normalised("Motor 7 at 19.25, see D:\\x.dat")
    assert normalised("fault 0xdeadBEEF in 'a b'\nline 2") == normalised("fault 0x00 in 'c'\nother")
    assert normalised("motor stuck") != normalised("motor lost")
    assert key_of({"a": "x", "b": "y"}, ("a", "b")) != key_of({"a": "xy", "b": ""}, ("a", "b"))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2000)), max_size=60))
def test_every_repeat_is_counted(events):
    """What was told at once and what summaries count is all that happened."""
    dedup, now, told, counted = Dedup(900, 7200), 1e9, 0, 0
    for number, (key, pause) in enumerate(events):
        now += pause
        counted += sum(repeats.count for repeats in dedup.ended(now))
        told += dedup.is_first(key, f"e{number}", key, now)
        dedup.restore(json.loads(json.dumps(dedup.state())))
    counted += sum(repeats.count for repeats in dedup.ended(now + 100_000))
    assert told + counted == len(events)


def test_a_window_ends_with_a_line_and_then_reminds():
    dedup, now = Dedup(900, 7200), 1e9
    assert dedup.is_first("k", "e0", "t", now) and dedup.is_first("k", "e0", "t", now)  # the same one, read again
    numbers = []
    for minute in range(1, 300):
        assert not dedup.is_first("k", f"e{minute}", "t", now + minute * 60)
        numbers += [(minute, repeats.count, repeats.number) for repeats in dedup.ended(now + minute * 60)]
    assert numbers == [(15, 15, 1), (135, 120, 2), (255, 120, 3)]
    last = dedup.ended(now + 316 * 60)  # quiet for a window
    assert [(repeats.count, repeats.event_id) for repeats in last] == [(44, "e0")] and not dedup.windows
    assert dedup.is_first("k", "e400", "t", now + 400 * 60)


def test_windows_survive_a_clock_that_jumps_back_and_have_an_end():
    dedup = Dedup(900, 7200)
    dedup.is_first("k", "e0", "t", 1e9)
    dedup.ended(1e9 - 1e6)
    dedup.ended(1e9 - 1e6 + 901)
    assert not dedup.windows
    for number in range(MOST_KEYS + 5):
        dedup.is_first(str(number), str(number), "", 1e9)
    assert len(dedup.windows) == MOST_KEYS
    assert Dedup(0).is_first("k", "a", "", 1.0)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=80))
def test_a_bucket_keeps_its_rate(pauses):
    bucket, now, gone = Bucket(6, 600, 3), 1e9, []
    for pause in pauses:
        now += pause
        if bucket.takes(now):
            gone.append(now)
    for at in gone:
        assert sum(at <= other < at + 600 for other in gone) <= 6 + 3
    assert gone


def test_what_is_too_much_goes_as_one_message():
    rates, now = Rates(6, 600, 3), 1e9
    told = [rates.who_hears(("alice", "bob"), f"e{n}", f"text {n}", now, passes=n == 50) for n in range(100)]
    assert [n for n, who in enumerate(told) if who] == [0, 1, 2, 50] and told[50] == ("alice", "bob")
    restored = Rates(6, 600, 3)
    restored.restore(json.loads(json.dumps(rates.state())))
    assert not restored.due(now + 599)
    due = dict(restored.due(now + 600))
    assert set(due) == {"alice", "bob"} and due["alice"].count == 96
    assert due["alice"].body().endswith(f"and {96 - MOST_SHOWN} more") and due["alice"].first_id == "e3"
    assert not restored.due(now + 9999)


def test_an_overflow_is_due_when_the_clock_jumps_back():
    overflow = Overflow()
    overflow.add("e", "t", 1e9)
    assert overflow.is_due(1e9 - 1, 600) and not overflow.is_due(1e9, 600)
