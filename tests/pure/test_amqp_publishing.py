"""Frames that we write are those that the library writes."""

import pamqp.commands as spec
import pytest
from aiormq.abc import ChannelFrame
from hypothesis import given
from hypothesis import strategies as st
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from angelia.amqp_publishing import frames, short
from angelia_testing.suites.agent import HOSTILE

names = st.text("abcXYZ0189_.:-", max_size=200)


def by_the_library(number, exchange, key, properties, body, most):
    publish = spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=True)
    bodies = [ContentBody(body[start : start + most]) for start in range(0, len(body), most)]
    written = [publish, ContentHeader(properties=properties, body_size=len(body)), *bodies]
    return ChannelFrame.marshall(channel_number=number, frames=written).payload


@given(st.integers(1, 65_535), names, names, names, st.binary(max_size=300), st.integers(1, 100))
def test_they_are_the_same_byte_for_byte(number, exchange, key, message_id, body, most):
    properties = spec.Basic.Properties(delivery_mode=2, message_id=message_id or None)
    flags = (1 << 12 | (1 << 7 if message_id else 0)).to_bytes(2, "big")
    written = flags + b"\x02" + (short(message_id) if message_id else b"")
    assert frames(number, exchange, key, written, body, most) == by_the_library(number, exchange, key, properties, body, most)


@pytest.mark.parametrize("text", [*HOSTILE, "", "ы" * 300])
def test_a_short_string_is_as_long_as_it_says(text):
    written = short(text)
    assert written[0] == len(written) - 1 <= 255 and text.encode().startswith(written[1:])
