"""Traces: spans for OpenTelemetry. Off unless the operator names an endpoint: then nothing of it is loaded, and a span costs one look.

Names are the stages' own: accept, plan, digest, deliver. Attributes are ids, types and outcomes; never a person, an address, or a text.
"""

import importlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import angelia
from angelia.model.errors import BadSettings
from angelia.model.moments import public_id

PREFIX = "angelia."
LONGEST_FLUSH = 3.0  # seconds at the end: a collector that is away must not hold up a stop (promise P18)
_IDS = {"message_id": "msg", "message_ids": "msg", "delivery_id": "dlv", "digest_id": "dig"}
_OFF: AbstractContextManager[None] = nullcontext()


class _Tracing:
    """What is in use: one for the process."""

    provider: Any = None
    tracer: Any = None
    trace: Any = None
    context: Any = None
    traceparent: Any = None


def start(endpoint: str) -> None:
    """Send spans to a collector (OTLP over HTTP, `http://127.0.0.1:4318/v1/traces`). BadSettings where the extra `otel` is not installed."""
    try:
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise BadSettings("telemetry.otlp_endpoint needs OpenTelemetry: install angelia[otel]") from None
    provider = sdk.TracerProvider(resource=resources.Resource.create({"service.name": "angelia", "service.version": angelia.__version__}))
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    use(provider)


def use(provider: Any) -> None:
    """Give spans to this tracer provider; None for off."""
    _Tracing.provider = provider
    if provider is None:
        _Tracing.tracer = None
        return
    _Tracing.trace = importlib.import_module("opentelemetry.trace")
    _Tracing.context = importlib.import_module("opentelemetry.context")
    _Tracing.traceparent = importlib.import_module("opentelemetry.trace.propagation.tracecontext").TraceContextTextMapPropagator()
    _Tracing.tracer = provider.get_tracer("angelia", angelia.__version__)


def stop() -> None:
    """Send what waits, for a few seconds; off from now on."""
    provider = _Tracing.provider
    use(None)
    if provider is not None:
        flushing = threading.Thread(target=provider.shutdown, daemon=True)
        flushing.start()
        flushing.join(LONGEST_FLUSH)


def is_on() -> bool:
    """Are there traces?"""
    return _Tracing.tracer is not None


def span(name: str, **attributes: str | int | None) -> AbstractContextManager[Any]:
    """A span around what follows; an exception that passes through marks it as failed. Ids are given as numbers, and shown as people see them."""
    if _Tracing.tracer is None:
        return _OFF
    spanned: AbstractContextManager[Any] = _Tracing.tracer.start_as_current_span(name, attributes=_named(attributes))
    return spanned


def note(**attributes: str | int | list[int] | None) -> None:
    """Say more about the span that we are in."""
    if _Tracing.tracer is not None:
        _Tracing.trace.get_current_span().set_attributes(_named(attributes))


@contextmanager
def under(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[None]:
    """What follows belongs to the poster's trace, if the headers name one (W3C traceparent and tracestate)."""
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in (b"traceparent", b"tracestate")}
    if _Tracing.tracer is None or not carrier:
        yield
        return
    token = _Tracing.context.attach(_Tracing.traceparent.extract(carrier))
    try:
        yield
    finally:
        _Tracing.context.detach(token)


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {PREFIX + name: _shown(name, value) for name, value in attributes.items() if value is not None}


def _shown(name: str, value: Any) -> Any:
    prefix = _IDS.get(name)
    if prefix is None:
        return value
    return [public_id(prefix, number) for number in value] if isinstance(value, list) else public_id(prefix, value)
