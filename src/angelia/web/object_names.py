"""What an object is called where people read of it: a job by what it computes, everything else by the name that its sender gave."""

from collections.abc import Mapping

from angelia.instrument import Instrument
from angelia.model.message import HOUSE, Message


def object_name(message: Message, instruments: Mapping[str, Instrument]) -> str:
    """The title of the object of a message; a job whose instrument is gone keeps its number."""
    is_job = message.source == HOUSE and bool(message.object) and message.params.get("job") == message.object
    found = instruments.get(str(message.params.get("instrument", ""))) if is_job else None
    if found is None:
        return message.object
    name = str(message.params.get("product", ""))
    product = found.declaration.product(name)
    return f"{found.declaration.title or found.declaration.name} · {(product.title if product else '') or name}"
