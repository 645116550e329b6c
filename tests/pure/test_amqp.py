"""What an AMQP broker's refusals mean."""

import pytest
from aiormq.exceptions import AMQPError, ChannelNotFoundEntity

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
