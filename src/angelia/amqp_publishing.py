"""One message to an AMQP broker, confirmed, put into bytes without the library, which makes objects of frames first and a timer for each."""

from collections.abc import Iterator

from aiormq.abc import ChannelFrame
from aiormq.channel import Channel

METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"
_PUBLISH = b"\x00\x3c\x00\x28\x00\x00"  # basic.publish, and two bytes of no meaning
_BASIC = b"\x00\x3c\x00\x00"
_MANDATORY = b"\x01"


def short(text: str) -> bytes:
    """A short string: its length in one byte, so at most 255."""
    raw = text.encode()[:255]
    return bytes((len(raw),)) + raw


def frames(number: int, exchange: str, key: str, properties: bytes, body: bytes, most: int) -> bytes:
    """The frames of one mandatory message on channel `number` (AMQP 0-9-1, 2.3.5, 4.2.6). `properties` are their flags and then themselves;
    no frame holds more than `most` bytes of the body.
    """
    channel = number.to_bytes(2, "big")

    def pieces() -> Iterator[bytes]:
        yield _frame(METHOD, channel, b"".join((_PUBLISH, short(exchange), short(key), _MANDATORY)))
        yield _frame(HEADER, channel, b"".join((_BASIC, len(body).to_bytes(8, "big"), properties)))
        for start in range(0, len(body), most):
            yield _frame(BODY, channel, body if len(body) <= most else body[start : start + most])

    return b"".join(pieces())


def _frame(kind: int, channel: bytes, payload: bytes) -> bytes:
    return b"".join((bytes((kind,)), channel, len(payload).to_bytes(4, "big"), payload, END))


async def publish(channel: Channel, exchange: str, key: str, message_id: str, properties: bytes, body: bytes) -> None:
    """Until the broker has confirmed it; nobody waits for the wire. What it raises is what `Channel.basic_publish` raises, and what came back is
    known by its `message_id`, which must be one of the properties. The caller brings the limit of time.
    """
    payload = frames(channel.number, exchange, key, properties, body, channel.max_content_size)
    async with channel.lock:
        # The broker counts in the order in which it gets them.
        channel.delivery_tag += 1
        tag, confirmation = channel.delivery_tag, channel.create_future()
        channel.confirmations[tag] = confirmation
        channel.message_id_delivery_tag[message_id] = tag
        try:
            await channel.write_queue.put(ChannelFrame(payload, should_close=False))
        except BaseException:
            # It has not seen this one.
            channel.delivery_tag -= 1
            channel.confirmations.pop(tag, None)
            confirmation.cancel()
            _forget(channel, message_id, tag)
            raise
    try:
        await confirmation
    finally:
        _forget(channel, message_id, tag)


def _forget(channel: Channel, message_id: str, tag: int) -> None:
    if channel.message_id_delivery_tag.get(message_id) == tag:
        del channel.message_id_delivery_tag[message_id]
