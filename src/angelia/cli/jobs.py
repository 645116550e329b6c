"""job: what instruments compute; ask for it, follow it, end it."""

import json
import math
import time
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, nested_too_deeply, part


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
    reach.show(reach.call("GET", f"/api/v1/instruments/{part(instrument)}"))


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
    """Ask INSTRUMENT for PRODUCT. PARAMETERS are name=value; a value is JSON, or else a text, or @FILE for the file itself.

    Numbers are sent as they were typed.
    """
    given: dict[str, Any] = {}
    for name, value in (_parameter(text, reach) for text in parameters):
        if name in given:
            raise Failure(f"{name} is given twice", 2)
        given[name] = value
    asked: dict[str, Any] = {"instrument": instrument, "product": product, "parameters": given}
    reach.show(reach.call("POST", "/api/v1/jobs", json=asked | options))


def _parameter(text: str, reach: Reach) -> tuple[str, Any]:
    name, is_there, value = text.partition("=")
    if not is_there or not name:
        raise Failure(f"{text!r} is no parameter; it looks like name=value")
    if value.startswith("@"):
        return name, _uploaded(Path(value[1:]), reach)
    try:
        read = json.loads(value)
    except ValueError:
        return name, value
    except RecursionError:
        raise nested_too_deeply() from None
    # The hub reads numbers from texts as well, and for a text 1.10 is not 1.1.
    is_plain = isinstance(read, int) or (isinstance(read, float) and math.isfinite(read))
    return name, value if is_plain else read


def _uploaded(path: Path, reach: Reach) -> str:
    """What stands for a file in a request."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    value: str = reach.call("POST", "/api/v1/uploads", content=content, headers={"content-type": "application/octet-stream"})["value"]
    return value


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
    return f"/api/v1/jobs/{part(job_id)}"


@job.command("show")
@click.argument("job_id")
@click.pass_obj
def show(reach: Reach, job_id: str) -> None:
    """One job: its history, and what came of it."""
    reach.show(reach.call("GET", _place(job_id)))


@job.command("wait")
@click.argument("job_id")
@click.option("--seconds", type=float, default=3_600.0, show_default=True, help="Give up after so many.")
@click.pass_obj
def wait(reach: Reach, job_id: str, *, seconds: float) -> None:
    """Until a job has ended; the exit status is 0 only where it is done."""
    ends_at, pause = time.monotonic() + seconds, 0.2
    while not (found := reach.call("GET", _place(job_id)))["ended_at"]:
        if not time.monotonic() + pause <= ends_at:  # also where it is no number
            raise Failure(f"after {seconds:g} seconds it is {found['state']}")
        time.sleep(pause)
        pause = min(5.0, pause * 1.5)
    reach.show({name: found[name] for name in ("id", "state", "reason", "message")})
    if found["state"] != "done":
        raise Failure(f"the job is {found['state']}")


@job.command("download")
@click.argument("job_id")
@click.option("--product", "names", multiple=True, help="Only this one; may be given several times.")
@click.option("--to", "folder", default=".", show_default=True, help="The folder where they go.")
@click.pass_obj
def download(reach: Reach, job_id: str, names: tuple[str, ...], folder: str) -> None:
    """What came of a job, as files. One that is there is not written over."""
    listed = reach.call("GET", _place(job_id) + "/products")["items"]
    if unknown := sorted(set(names) - {one["name"] for one in listed}):
        raise Failure(f"it has no product {unknown[0]}; it has {', '.join(one['name'] for one in listed) or 'none'}")
    written = []
    for one in listed:
        if names and one["name"] not in names:
            continue
        headers, content = reach.fetch(one["url"])
        path = Path(folder) / _file_name(headers.get("content-disposition", ""), one["name"])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror or error}") from None
        written.append(str(path))
        if not reach.as_json:
            click.echo(str(path))
    if reach.as_json:
        reach.show({"files": written})


def _file_name(said: str, name: str) -> str:
    """As the hub calls the file, without anything that leads elsewhere."""
    plain = PurePosixPath(unquote(said.partition("filename*=UTF-8''")[2]) or name).name.replace("\\", "_").lstrip(".")
    return "".join(letter if letter.isprintable() else "_" for letter in plain) or "product"


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
