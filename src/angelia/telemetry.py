"""Logs, metrics, traces: what operators see of the house while it runs."""

import logging
import sys
from typing import Any, TextIO, cast

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

import angelia

registry = CollectorRegistry()
"""Our own registry: the library's global one would add what other code registers."""

received = Counter("angelia_events_received_total", "Messages that came in.", ["result"], registry=registry)
planned = Counter("angelia_messages_planned_total", "Messages planned, parked or postponed.", ["result"], registry=registry)
deliveries = Counter("angelia_deliveries_total", "Ended tries and decisions.", ["channel", "result", "reason"], registry=registry)
latency = Histogram(
    "angelia_delivery_latency_seconds",
    "From acceptance to the medium's word.",
    ["channel"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 3600),
    registry=registry,
)
digest_runs = Counter("angelia_digest_runs_total", "Digest slots that were worked off.", ["result"], registry=registry)
escalations = Counter("angelia_escalations_total", "Steps of escalations, and how they ended.", ["result"], registry=registry)
expectation_signs = Counter("angelia_expectation_signs_total", "Pings of expectations, by what they said.", ["kind"], registry=registry)
expectation_news = Counter(
    "angelia_expectation_news_total", "Changes of expectations that were told, by what they became.", ["state"], registry=registry
)
answers = Counter("angelia_answers_total", "Messages that people saw or acknowledged, by means.", ["answer", "means"], registry=registry)
delivery_states = Gauge("angelia_deliveries_in_state", "Deliveries by state; their sum is all that were planned.", ["state"], registry=registry)
queue_depth = Gauge("angelia_queue_depth", "Deliveries that wait.", ["channel", "state"], registry=registry)
queue_age = Gauge("angelia_queue_oldest_age_seconds", "Age of the oldest due delivery.", ["channel"], registry=registry)
mail_back = Counter("angelia_mail_back_total", "Mail that came back, by what it was.", ["kind"], registry=registry)
open_breakers = Gauge("angelia_open_breakers", "Destinations that are left alone for a while.", registry=registry)
csp_reports = Counter("angelia_csp_reports_total", "Reports of browsers that a page broke the content security policy.", registry=registry)
broker_published = Counter(
    "angelia_broker_published_total", "Events that were published, by what came of it.", ["exchange", "result"], registry=registry
)
announcements_waiting = Gauge("angelia_announcements_waiting", "Events of the hub's own doings that its broker does not have yet.", registry=registry)
broker_followed = Counter("angelia_broker_followed_total", "Events that came from an exchange.", ["exchange"], registry=registry)
broker_gaps = Counter("angelia_broker_gaps_total", "Times that events were lost to a follower, and it was told.", ["exchange"], registry=registry)
stream_clients = Gauge("angelia_stream_clients", "Clients that follow live streams.", ["way"], registry=registry)
stream_followers = Gauge("angelia_stream_followers", "Clients that follow an exchange.", ["exchange"], registry=registry)
stream_written = Counter("angelia_stream_events_total", "Events that were written to live clients.", ["exchange"], registry=registry)
stream_cut = Counter("angelia_stream_cut_total", "Live clients that were cut because they were too slow.", registry=registry)
inlet_events = Counter("angelia_inlet_events_total", "Events that an inlet took, by what became of them.", ["inlet", "result"], registry=registry)
stage_failures = Counter("angelia_stage_failures_total", "Turns of a stage that raised.", ["stage"], registry=registry)
jobs_submitted = Counter(
    "angelia_jobs_submitted_total", "Jobs that were asked for, by how they came to be.", ["instrument", "result"], registry=registry
)
jobs_ended = Counter("angelia_jobs_ended_total", "Jobs that ended, by how and why.", ["instrument", "state", "reason"], registry=registry)
jobs_in_state = Gauge("angelia_jobs_in_state", "Jobs that have not ended.", ["instrument", "state"], registry=registry)
job_seconds = Histogram(
    "angelia_job_seconds",
    "From the request for a job to its end.",
    ["instrument"],
    buckets=(0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400),
    registry=registry,
)
build_info = Gauge("angelia_build_info", "The version that runs.", ["version"], registry=registry)
build_info.labels(angelia.__version__).set(1)

lost_lines = Counter("angelia_log_lines_lost_total", "Log lines that could not be written.", registry=registry)


class _Lossy:
    """stderr, but a full disk or a closed pipe behind it loses lines and never stops the hub (fault F9)."""

    def write(self, text: str) -> None:
        """Write, or count."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            lost_lines.inc()

    def flush(self) -> None:
        """Each write is flushed."""


log: Any = structlog.get_logger("angelia")


class _Bridge(logging.Handler):
    """What libraries log becomes a record of ours: by themselves they write tracebacks of many lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        log.log(record.levelno, "library", logger=record.name, text=record.getMessage(), exc_info=record.exc_info or None)


def configure_logs(form: str = "json", level: str = "info") -> None:
    """Lines on stderr, one record a line in `json` or `text`; control characters in values are escaped, so no text can fake a record."""
    renderer: Any = structlog.processors.JSONRenderer(sort_keys=False)
    if form == "text":
        renderer = structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escaped if form == "text" else _as_is,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lossy())),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)


def _as_is(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return event


def _escaped(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: value.encode("unicode_escape").decode() if isinstance(value, str) else value for key, value in event.items()}
