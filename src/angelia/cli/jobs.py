"""job: what instruments compute; ask for it, follow it, end it."""

import json
from typing import Any
from urllib.parse import quote

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach


@click.group()
def job() -> None:
    """Jobs of instruments."""


@job.command("instruments")
@click.pass_obj
def instruments(reach: Reach) -> None:
    """The instruments that you may use."""
    reach.show(reach.call("GET", "/api/v1/instruments"), "name", "version", "title")


@job.command("describe")
@click.argument("instrument")
@click.pass_obj
def describe(reach: Reach, instrument: str) -> None:
    """INSTRUMENT with its products, and what each asks for."""
    reach.show(reach.call("GET", f"/api/v1/instruments/{quote(instrument, safe='')}"))


@job.command("submit")
@click.argument("instrument")
@click.argument("product")
@click.argument("parameters", nargs=-1)
@click.option("--private", is_flag=True, help="Share the run with nobody.")
@click.option("--fresh", is_flag=True, help="Compute again, also where there is a result.")
@click.option("--seconds", type=float, default=None, help="It must have ended so many seconds from now.")
@click.option("--campaign", default="", help="Name of a set of jobs: you are told of all at once, when the last has ended.")
@click.pass_obj
def submit(reach: Reach, /, instrument: str, product: str, parameters: tuple[str, ...], **options: Any) -> None:
    """Ask INSTRUMENT for PRODUCT. PARAMETERS are name=value; a value is JSON, or else a text."""
    asked: dict[str, Any] = {"instrument": instrument, "product": product, "parameters": dict(map(_parameter, parameters))}
    reach.show(reach.call("POST", "/api/v1/jobs", json=asked | options))


def _parameter(text: str) -> tuple[str, Any]:
    name, is_there, value = text.partition("=")
    if not is_there or not name:
        raise Failure(f"{text!r} is no parameter; it looks like name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@job.command("list")
@click.option("--state", default="", help="Only those in this state.")
@click.option("--instrument", default="", help="Only those of this instrument.")
@click.option("--campaign", default="", help="Only those of this campaign.")
@click.option("--everybody", is_flag=True, help="Those of all; for administrators.")
@click.option("--limit", default=20, show_default=True, help="At most so many.")
@click.pass_obj
def list_jobs(reach: Reach, state: str, instrument: str, campaign: str, everybody: bool, limit: int) -> None:
    """Your jobs, newest first."""
    asked = {"state": state, "instrument": instrument, "campaign": campaign, "everybody": str(everybody).lower(), "limit": limit}
    reach.show(reach.call("GET", "/api/v1/jobs", params=asked), "id", "created_at", "instrument", "product", "state", "progress", "message")


def _place(job_id: str) -> str:
    return f"/api/v1/jobs/{quote(job_id, safe='')}"


@job.command("show")
@click.argument("job_id")
@click.pass_obj
def show(reach: Reach, job_id: str) -> None:
    """One job: its history, and what came of it."""
    reach.show(reach.call("GET", _place(job_id)))


@job.command("cancel")
@click.argument("job_id")
@click.pass_obj
def cancel(reach: Reach, job_id: str) -> None:
    """End a job."""
    reach.show(reach.call("POST", _place(job_id) + "/cancel"))


@job.command("retry")
@click.argument("job_id")
@click.pass_obj
def retry(reach: Reach, job_id: str) -> None:
    """Try one again that came to no result."""
    reach.show(reach.call("POST", _place(job_id) + "/retry"))


commands = {"job": job}
