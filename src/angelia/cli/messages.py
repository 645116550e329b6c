"""send, messages, explain, spool."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from angelia.cli.outcome import Failure, Unreachable
from angelia.cli.reach import Reach, headed, part, plain, text_of
from angelia.client import PATH, Receipt, Refused, Spool, Spooling, receipt_of


@click.command()
@click.argument("type")
@click.argument("body", default="-")
@click.option("--to", multiple=True, help="Login or group:<name>; may be given several times.")
@click.option("--cc", multiple=True, help="In copy.")
@click.option("--subject", default="", help="Subject; else the first line of the body serves.")
@click.option("--severity", type=click.Choice(["low", "normal", "high", "urgent"]), default=None, help="Else what its type says, or normal.")
@click.option("--object", default="", help="What it is about.")
@click.option("--link", "object_url", default="", help="The page of what it is about, https://...")
@click.option("--tag", multiple=True, help="name=value; may be given several times.")
@click.option("--param", multiple=True, help="name=value; may be given several times.")
@click.option("--actor", default="", help="Login of whose doing it is; she is not told of it.")
@click.option("--sender", "sender_id", default="", help="Who says it, where that is not the source itself.")
@click.option("--sender-name", default="", help="The name to it.")
@click.option("--thread", default="", help="What belongs together has the same.")
@click.option("--collapse-key", default="", help="Repeats have the same, and are told once.")
@click.option("--supersedes", default="", help="Makes those before it with the same out of date.")
@click.option("--wish", type=click.Choice(["now", "digest"]), default=None, help="For whom has no wish of her own.")
@click.option("--occurred-at", default="", help="When it happened, as 2026-03-20T08:00:00+01:00; else now.")
@click.option("--not-before", default="", help="Not told before then.")
@click.option("--expires-at", default="", help="Not told after then.")
@click.option("--language", default="", help="Of the text, as de.")
@click.option("--format", "body_format", type=click.Choice(["text", "markdown", "html"]), default=None, help="Of the body; else text.")
@click.option("--restricted", is_flag=True, help="For those whom it names only, or for those of --access.")
@click.option("--access", multiple=True, help="Who may see it, if restricted; login or group:<name>.")
@click.option("--test", is_flag=True, help="A test: for those only who want to see tests.")
@click.option("--key", "idempotency_key", default="", help="Idempotency key; else one is made.")
@click.option("--spool", default=lambda: os.environ.get("ANGELIA_SPOOL", ""), help="Folder that keeps messages while the hub is down.")
@click.pass_obj
def send(reach: Reach, /, type: str, body: str, tag: tuple[str, ...], param: tuple[str, ...], sender_id: str, sender_name: str, spool: str,
         **others: Any) -> None:  # fmt: skip
    """Send a message of TYPE. BODY is its text; - or nothing reads standard input."""
    fields: dict[str, Any] = {"type": type, "body": text_of("-") if body == "-" else body}
    fields |= {name: list(value) if isinstance(value, tuple) else value for name, value in others.items() if value}
    sender = {name: text for name, text in (("id", sender_id), ("name", sender_name)) if text}
    if sender:
        fields["sender"] = sender
    if tag:
        fields["tags"] = [list(_pair(text)) for text in tag]
    if param:
        fields["params"] = _params(param)
    if not type:
        raise Failure("a message needs a type, such as instrument.error", 2)
    sending = _sending(reach, _spool_of(spool))
    try:
        receipt = sending.send(fields)
    except Refused as error:
        raise Failure(str(error), 3) from None
    except OSError as error:
        raise Failure(f"{error}; with --spool FOLDER the message would wait there") from None
    reach.show({"id": receipt.message_id, "status": receipt.status})
    if receipt.status == "spooled":
        click.echo(f"angelia: it waits in {spool}: {plain(sending.fault or 'others wait before it')}", err=True)


def _spool_of(folder: str, refused: list[Path] | None = None) -> Spool | None:
    """A spool that says what it puts aside, and adds it to `refused`."""

    def told(path: Path, why: str) -> None:
        click.echo(f"angelia: refused, and put aside as {path}: {plain(why)}", err=True)
        if refused is not None:
            refused.append(path)

    return Spool(folder, told) if folder else None


def _sending(reach: Reach, spool: Spool | None) -> Spooling:
    """The same way for a hub behind a URL and for the store in the data folder: either may be down, and the spool helps with both."""

    def post(fields: Mapping[str, Any]) -> Receipt:
        try:
            status, _, text = reach.raw("POST", PATH, json=fields)
        except Unreachable as error:
            raise OSError(str(error)) from None
        return receipt_of(status, text)

    return Spooling(post, spool)


def _params(texts: tuple[str, ...]) -> dict[str, str | list[str]]:
    """One that is given several times has several values."""
    found: dict[str, list[str]] = {}
    for name, value in map(_pair, texts):
        found.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


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
    if not reach.as_json:
        answer["items"] = [headed(message) for message in answer["items"]]
    reach.show(answer, "id", "received_at", "type", "source", "subject")


@click.command()
@click.argument("message")
@click.argument("login")
@click.pass_obj
def explain(reach: Reach, message: str, login: str) -> None:
    """Why LOGIN got MESSAGE (an id), or why not."""
    answer = reach.call("GET", f"/api/v1/messages/{part(message)}/why", params={"login": login})
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
        tries = {0: "", 1: ", 1 try"}.get(delivery["attempts"], f", {delivery['attempts']} tries")
        error = f": {delivery['last_error']}" if delivery["last_error"] else ""
        error += f" (receipt {delivery['receipt']})" if delivery.get("receipt") else ""
        click.echo(f"  {delivery['id']} by {delivery['agent']} is {delivery['state']}{tries}{error}")
    for told in answer["answers"]:
        said = f"acknowledged it ({told['acknowledged_by']})" if told["acknowledged_at"] else f"saw it ({told['seen_by']})"
        click.echo(f"  {told['login']} {said} at {told['acknowledged_at'] or told['seen_at']}")
    if escalated := answer["escalation"]:
        rest = escalated["ending"] or f"the next is due {escalated['due_at']}"
        click.echo(f"  escalates along {', '.join(escalated['to'])}: {escalated['step']} done, {rest}")


@click.group()
def spool() -> None:
    """Messages that wait in a folder because the hub was down."""


@spool.command("flush")
@click.argument("folder")
@click.pass_obj
def flush(reach: Reach, folder: str) -> None:
    """Send what waits in FOLDER."""
    if not Path(folder).is_dir():
        raise Failure(f"{folder} is no folder")
    refused: list[Path] = []
    sending = _sending(reach, _spool_of(folder, refused))
    sent, left = sending.flush()
    reach.show({"sent": sent, "refused": len(refused), "left": left})
    if left:
        raise Failure(f"{left} still wait: {plain(sending.fault or 'others came meanwhile')}")
    if refused:
        raise Failure(f"{len(refused)} will never be sent")


commands = {"send": send, "messages": messages, "explain": explain, "spool": spool}
