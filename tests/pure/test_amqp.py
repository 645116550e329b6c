"""What an AMQP broker's refusals mean."""

import pytest
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as spec

from angelia.agents.amqp import properties_of
from angelia.amqp import Down, Missing, asked
from angelia.model.errors import BrokerUnavailable


async def refusing(error):
    raise error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ChannelNotFoundEntity("NOT_FOUND - no queue 'runs' in vhost '/'"), Missing),
        (ChannelNotFoundEntity("NOT_FOUND - no exchange 'runs' in vhost '/'"), Missing),
        (ChannelNotFoundEntity("NOT_FOUND - home node 'a@b' of durable queue 'runs' in vhost '/' is down or inaccessible"), Down),
        (AMQPError("NOT_FOUND - no queue"), BrokerUnavailable),
    ],
)
async def test_only_what_the_broker_does_not_know_is_missing(error, kind):
    with pytest.raises(BrokerUnavailable) as found:
        await asked(refusing(error))
    assert type(found.value) is kind


@given(st.text(alphabet="abcdlv_0123456789", max_size=60), st.from_regex(r"[a-z0-9_:.-]{1,128}", fullmatch=True))
def test_the_properties_of_a_letter_are_written_as_the_library_writes_them(key, kind):
    theirs = spec.Basic.Properties(content_type="application/json", delivery_mode=2, message_id=key or "x", message_type=kind, app_id="angelia")
    assert properties_of(key or "x", kind) == theirs.marshal()
