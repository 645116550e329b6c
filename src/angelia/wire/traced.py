"""Wraps that trace what comes in; put around the inlets only where there are traces, so that without them nothing is slower."""

from collections.abc import Sequence

from angelia import tracing
from angelia.inlet import Accept, Draft, Receipt
from angelia.wire.asgi import App, Receive, Scope, Send

MOST_NAMED = 100


def traced_app(app: App) -> App:
    """Requests belong to the trace of whoever sends them."""

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        with tracing.under(scope.get("headers", ())):
            await app(scope, receive, send)

    return traced


def traced_accept(accept: Accept) -> Accept:
    """A span from the checked drafts to the durable messages, with their ids."""

    async def traced(source: str, drafts: Sequence[Draft]) -> list[Receipt]:
        with tracing.span("accept", source=source, messages=len(drafts)):
            receipts = await accept(source, drafts)
            tracing.note(message_ids=[receipt.message_id for receipt in receipts[:MOST_NAMED]])
            return receipts

    return traced
