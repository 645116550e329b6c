"""hook: what a webhook would become."""

import json
import sys
from pathlib import Path

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import plain
from angelia.inlets.hooks import events_of
from angelia.inlets.learning import Learner
from angelia.inlets.mapping import load_mapping
from angelia.model.errors import AngeliaError


@click.group()
def hook() -> None:
    """Webhooks of other systems."""


@hook.command("try")
@click.argument("mapping")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--header", "given", multiple=True, help="A header that comes with it, X-GitHub-Event=workflow_run; may be given several times.")
def try_hook(mapping: str, file: Path, given: tuple[str, ...]) -> None:
    """Show what the body in FILE (- is standard input) becomes by MAPPING, one JSON object a line. Nothing is sent or kept."""
    if bad := [one for one in given if "=" not in one]:
        raise Failure(f"{bad[0]!r} is not name=value", 2)
    headers = {name.strip().lower().encode(): value.strip().encode() for name, _, value in (one.partition("=") for one in given)}
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        known = load_mapping(mapping)
        events = events_of("try", known, headers, body)
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from None
    except AngeliaError as error:
        raise Failure(str(error)) from None
    learner = Learner(known)
    shown = [{name: said for name, said in learner.learnt(event).items() if name not in ("exchange", "key")} for event in events]
    for one in shown:
        click.echo(json.dumps(one, ensure_ascii=False))
    if unread := [one["poison"] for one in shown if "poison" in one]:
        raise Failure(f"{len(unread)} of {len(shown)} can't be read: {plain(unread[0])}")


commands = {"hook": hook}
