"""send, messages, explain, spool."""

import os
from typing import Any
from urllib.parse import quote

import click

from angelia.cli.reach import Failure, Reach, text_of
from angelia.client import Client, Refused


@click.command()
@click.argument("type")
@click.argument("body", default="-")
@click.option("--to", multiple=True, help="Login or group:<name>; may be given several times.")
@click.option("--cc", multiple=True, help="In copy.")
@click.option("--subject", default="", help="Subject; else the first line of the body serves.")
@click.option("--severity", type=click.Choice(["low", "normal", "high", "urgent"]), default="", help="Else what its type says, or normal.")
@click.option("--object", "ref", default="", help="What it is about.")
@click.option("--tag", multiple=True, help="name=value; may be given several times.")
@click.option("--param", multiple=True, help="name=value; may be given several times.")
@click.option("--key", default="", help="Idempotency key; else one is made.")
@click.option("--spool", default=lambda: os.environ.get("ANGELIA_SPOOL", ""), help="Folder that keeps messages while the hub is down.")
@click.pass_obj
def send(reach: Reach, type: str, body: str, to: tuple[str, ...], cc: tuple[str, ...], subject: str, severity: str, ref: str,
         tag: tuple[str, ...], param: tuple[str, ...], key: str, spool: str) -> None:  # fmt: skip
    """Send a message of TYPE. BODY is its text; - or nothing reads standard input."""
    fields: dict[str, Any] = {"type": type, "body": text_of("-") if body == "-" else body}
    fields |= {name: value for name, value in (("severity", severity), ("subject", subject), ("object", ref), ("idempotency_key", key)) if value}
    fields |= {name: list(value) for name, value in (("to", to), ("cc", cc)) if value}
    fields |= {name: dict(_pair(text) for text in texts) for name, texts in (("tags", tag), ("params", param)) if texts}
    if not reach.url:
        reach.show(reach.call("POST", "/api/v1/messages", json=fields))
        return
    try:
        with Client(reach.url, token=os.environ.get("ANGELIA_TOKEN", ""), spool=spool or None) as client:
            receipt = client.send(**fields)
    except Refused as error:
        raise Failure(str(error), 3) from None
    except OSError as error:
        raise Failure(f"the hub at {reach.url} does not answer, and there is no spool: {error}") from None
    reach.show({"id": receipt.message_id, "status": receipt.status})


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        raise Failure(f"{text!r} is not name=value", 2)
    return name, value


@click.command()
@click.option("--type", "subtree", default="", help="A type with all below it.")
@click.option("--limit", default=20, show_default=True)
@click.pass_obj
def messages(reach: Reach, subtree: str, limit: int) -> None:
    """Show messages, newest first."""
    answer = reach.call("GET", "/api/v1/messages", params={"type": subtree, "limit": limit})
    reach.show(answer, "id", "received_at", "type", "source", "subject")


@click.command()
@click.argument("message")
@click.argument("login")
@click.pass_obj
def explain(reach: Reach, message: str, login: str) -> None:
    """Why LOGIN got MESSAGE (an id), or why not."""
    answer = reach.call("GET", f"/api/v1/messages/{quote(message)}/why", params={"login": login})
    if reach.as_json:
        reach.show(answer)
        return
    click.echo(answer["summary"])
    for because in answer["because"]:
        click.echo(f"  because {because}")
    for agent, decision in answer["agents"].items():
        due = f", due {decision['due_at']}" if decision["due_at"] else ""
        click.echo(f"  {agent}: {decision['outcome']} ({decision['text']}; {decision['decided_by_text']}{due})")
    for delivery in answer["deliveries"]:
        error = f": {delivery['last_error']}" if delivery["last_error"] else ""
        click.echo(f"  {delivery['id']} by {delivery['agent']} is {delivery['state']}, {delivery['attempts']} tries{error}")


@click.group()
def spool() -> None:
    """Messages that wait in a folder because the hub was down."""


@spool.command("flush")
@click.argument("folder")
@click.pass_obj
def flush(reach: Reach, folder: str) -> None:
    """Send what waits in FOLDER."""
    if not reach.url:
        raise Failure("say where the hub is: --url or ANGELIA_URL", 2)
    with Client(reach.url, token=os.environ.get("ANGELIA_TOKEN", ""), spool=folder) as client:
        sent, left = client.flush()
    reach.show({"sent": sent, "left": left})
    if left:
        raise Failure(f"{left} still wait: the hub does not answer")


commands = {"send": send, "messages": messages, "explain": explain, "spool": spool}
