"""Whom a message concerns since she follows its object, or what that is a part of. Pure."""

from collections.abc import Collection
from functools import lru_cache


@lru_cache(maxsize=4_096)
def places_of(ref: str) -> tuple[str, ...]:
    """What one may follow to hear of an object: itself, and with a slash at the end it and whatever it lies below.

    `instrument/yumo/run-17` is heard of by `instrument/yumo/run-17`, `instrument/yumo/run-17/`, `instrument/yumo/` and `instrument/`.
    """
    if not ref:
        return ()
    cuts = [place for place, letter in enumerate(ref) if letter == "/" and place]
    return (ref, f"{ref}/", *(ref[: place + 1] for place in reversed(cuts)))


def is_followed(ref: str, follows: Collection[str]) -> bool:
    """Does somebody who follows these hear of the object?"""
    return bool(follows) and any(place in follows for place in places_of(ref))
