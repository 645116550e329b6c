"""What clients of brainlife/event rely on, over a real RabbitMQ: its transcripts are answered as by the original."""

from dataclasses import replace

import aiormq
import pytest
from aiormq.abc import ChannelFrame
from tests.house.test_brainlife import _FAULTS, SPOKEN, auth, port, publish, retold, speaking  # noqa: F401 - three are fixtures

from angelia.amqp import properties_of
from angelia.amqp_publishing import frames
from angelia.settings import BrokerSettings

TABLES = ("'nest': ", "'l': ")
"""Headers that are no plain values: the broker's streams keep none."""
LOST = ("reserved",)
"""AMQP's `cluster-id`, which nobody may use any more."""


@pytest.fixture
def settings(settings, tmp_path, auth, vhost):  # noqa: F811 - the fixture
    return replace(speaking(settings, tmp_path, auth), broker=BrokerSettings(url=vhost.url))


@pytest.mark.parametrize("name", SPOKEN)
async def test_a_transcript_is_answered_as_by_the_original(port, house, publish, vhost, name):  # noqa: F811 - fixtures
    connection = await aiormq.connect(vhost.url)
    channel = await connection.channel(publisher_confirms=False)

    async def put(event):
        """As a foreign publisher does: the library would add an id, and the hub that it is durable."""
        properties = properties_of(event)
        properties.delivery_mode = event.properties.get("delivery_mode")
        payload = frames(channel.number, event.exchange, event.routing_key, properties.marshal(), event.body, channel.max_content_size)
        await channel.write_queue.put(ChannelFrame(payload, should_close=False))

    try:
        assert await retold(port, house, publish, name, put, (*_FAULTS, *TABLES), LOST) == SPOKEN[name]
    finally:
        await connection.close()
