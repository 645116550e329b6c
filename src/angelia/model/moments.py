"""Times as they are stored (whole microseconds since 1970, UTC) and as RFC 3339 text; ids that sort by time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_ID_EPOCH = 1_704_067_200_000_000  # 2024-01-01: 51 bits of microseconds above 12 bits of node last until 2095
ID_STEP = 1 << 12
"""From one id to the next of the same node: a microsecond."""
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 of an aware time."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(stamp: int) -> datetime:
    """The aware UTC time of microseconds since 1970."""
    return _EPOCH + timedelta(0, 0, stamp)


def to_text(moment: datetime) -> str:
    """RFC 3339 in UTC, with as many digits as needed: `2026-11-24T08:00:00Z`."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def next_id(now_us: int, last_id: int, node: int) -> int:
    """A new id, above `last_id`: 51 bits of time, 12 of the node, so processes with different nodes never meet.

    Where several fall into one microsecond, or the clock went back, the time part counts on from the last id.
    """
    stamp = max(now_us - _ID_EPOCH, (last_id >> 12) + 1)
    return stamp << 12 | node


def ids_from(now_us: int, last_id: int, node: int) -> Iterator[int]:
    """An endless run of ids, each above the one before."""
    while True:
        last_id = next_id(now_us, last_id, node)
        yield last_id


def first_id(moment: datetime) -> int:
    """Below every id that was made from then on: what arrived later has no smaller one."""
    return max(0, to_us(moment) - _ID_EPOCH) << 12


def ids_of(length: timedelta) -> int:
    """By how much ids grow in so long."""
    return length // timedelta(microseconds=1) << 12


def made_at(number: int) -> datetime:
    """When an id was made."""
    return from_us((number >> 12) + _ID_EPOCH)


def public_id(prefix: str, number: int) -> str:
    """`msg_1h2x...`: an opaque, sortable text of 13 letters (Crockford's base 32)."""
    pairs = _PAIRS  # ten bits at a time: an answer to a batch has thousands of these
    head = pairs[number >> 50 & 1023] + pairs[number >> 40 & 1023] + pairs[number >> 30 & 1023]
    return f"{prefix}_{_ALPHABET[number >> 60]}{head}{pairs[number >> 20 & 1023]}{pairs[number >> 10 & 1023]}{pairs[number & 1023]}"


def number_of(prefix: str, text: str) -> int | None:
    """The number behind a public id, or None if the text is none of that kind."""
    head, _, letters = text.partition("_")
    if head != prefix or len(letters) != 13 or any(letter not in _VALUES for letter in letters):
        return None
    number = 0
    for letter in letters:
        number = number << 5 | _VALUES[letter]
    return number if number < 1 << 63 else None
