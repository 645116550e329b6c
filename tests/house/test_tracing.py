"""Traces: a span for each stage with the ids of what it worked on, under the poster's trace; nothing of it where they are off."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from angelia import tracing
from angelia.front import app_of
from angelia.model.delivery import Refused
from angelia.model.errors import BadSettings
from angelia.settings import load
from angelia.wire.circles import NoCircles

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans():
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    yield exporter
    tracing.stop()


def told(exporter, name):
    return [dict(span.attributes) for span in exporter.get_finished_spans() if span.name == name]


@pytest.fixture
async def api(house, spans):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house, trusts_caller=True)), base_url="http://hub") as made:
        yield made


async def test_each_stage_says_what_it_worked_on(bench, spans, api):
    await bench.person("alice")
    await bench.person("bob", preferences={"preferences": {"*": {"mail": "daily"}}})
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    posted = (await api.post("/api/v1/messages", json={"type": "a.b", "to": ["alice", "bob"], "subject": "secret"}, headers=headers)).json()["id"]
    await bench.work()
    (accept,) = [span for span in spans.get_finished_spans() if span.name == "accept"]
    assert f"{accept.context.trace_id:032x}" == TRACE
    assert accept.parent.span_id == 0xB7AD6B7169203331
    assert dict(accept.attributes) == {"angelia.source": "operator", "angelia.messages": 1, "angelia.message_ids": (posted,)}
    assert told(spans, "plan") == [{"angelia.message_id": posted, "angelia.type": "a.b", "angelia.attempt": 1}]
    (deliver,) = told(spans, "deliver")
    mail = (await bench.why(posted, "alice"))["deliveries"]
    assert deliver["angelia.delivery_id"] in {delivery["id"] for delivery in mail}
    assert (deliver["angelia.message_id"], deliver["angelia.agent"], deliver["angelia.outcome"]) == (posted, "mail", "sent")
    spans.clear()
    bench.mail.answer = lambda _: Refused("550")
    await bench.work(NOW + timedelta(days=1))
    (digest,), (deliver,) = told(spans, "digest"), told(spans, "deliver")
    assert (digest["angelia.schedule"], digest["angelia.messages"]) == ("daily", 1)
    assert digest["angelia.digest_id"] == deliver["angelia.digest_id"]
    assert digest["angelia.delivery_id"] == deliver["angelia.delivery_id"]
    assert deliver["angelia.outcome"] == "refused"


async def test_traces_name_no_person_and_no_text(bench, spans, api):
    await bench.person("alice")
    for body in ({"type": "a.b", "to": ["alice"], "subject": "canary"}, [{"type": "a.b", "to": ["alice"], "body": "canary"}] * 3):
        assert (await api.post("/api/v1/messages", json=body)).status_code == 201
    await bench.work()
    text = " ".join(span.to_json() for span in spans.get_finished_spans())
    assert len(told(spans, "accept")) == 2 and len(told(spans, "plan")) == 4
    assert "alice" not in text and "canary" not in text and "example.org" not in text


async def test_a_plan_that_fails_is_marked(bench, spans):
    await bench.person("alice")

    async def boom(ref):
        raise AssertionError("not here")

    await bench.post(to=["alice"])
    bench.planner._candidates = boom
    await bench.work()
    (plan,) = [span for span in spans.get_finished_spans() if span.name == "plan"]
    assert not plan.status.is_ok


@pytest.mark.parametrize(
    "header", ["", "nonsense", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff-" + TRACE + "-b7ad6b7169203331-01"]
)
async def test_a_bad_traceparent_starts_a_trace_of_our_own(bench, spans, api, header):
    answer = await api.post("/api/v1/messages", json={"type": "a.b"}, headers={"traceparent": header})
    assert answer.status_code == 201
    (accept,) = [span for span in spans.get_finished_spans() if span.name == "accept"]
    assert accept.parent is None


async def test_off_costs_nothing(house):
    assert not tracing.is_on()
    assert type(app_of(house)) is NoCircles
    assert tracing.span("plan", message_id="x") is tracing.span("deliver")
    tracing.note(outcome="sent")
    with tracing.under([(b"traceparent", b"x")]):
        pass
    code = "import sys, angelia.house; print([name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout.strip() == "[]"


def test_settings_that_would_fail_at_night(monkeypatch):
    with pytest.raises(BadSettings, match="otlp_endpoint"):
        load(environment={"ANGELIA__TELEMETRY__OTLP_ENDPOINT": "127.0.0.1:4318"})
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(BadSettings, match=r"angelia\[otel\]"):
        tracing.start("http://127.0.0.1:4318/v1/traces")
