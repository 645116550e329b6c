"""prefs: preferences as code."""

from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, part, text_of
from angelia.model.errors import InvalidInput
from angelia.wire.documents import from_toml, to_toml


def _path(login: str) -> str:
    return f"/api/v1/people/{part(login)}/preferences"


def read_toml(path: str) -> dict[str, Any]:
    """A document from a TOML file or standard input."""
    try:
        return from_toml(text_of(path))
    except InvalidInput as error:
        raise Failure(f"{path}: {error}") from None


@click.group()
def prefs() -> None:
    """A person's preferences as a TOML document."""


@prefs.command()
@click.argument("login")
@click.pass_obj
def export(reach: Reach, login: str) -> None:
    """Print LOGIN's document (`me` for your own)."""
    answer = reach.call("GET", _path(login))
    if reach.as_json:
        reach.show(answer)
    else:
        click.echo(to_toml(answer), nl=False)


@prefs.command()
@click.argument("login")
@click.argument("file")
@click.option("--days", default=30, show_default=True, help="How far back to try it.")
@click.pass_obj
def plan(reach: Reach, login: str, file: str, days: int) -> None:
    """What FILE would change for LOGIN, and how many deliveries of the last days would have differed. Saves nothing."""
    answer = reach.call("POST", f"{_path(login)}/plan", json=read_toml(file), params={"days": days})
    if reach.as_json:
        reach.show(answer)
        return
    for change in answer["changes"]:
        click.echo(f"{change['path']}: {change['before']} -> {change['after']}")
    if not answer["changes"]:
        click.echo("no changes")
    history = answer["history"]
    click.echo(f"of the last {history['days']} days, {history['deliveries_that_differ']} deliveries would differ")
    for name in sorted(history["before"] | history["after"]):
        before, after = history["before"].get(name, 0), history["after"].get(name, 0)
        if before != after:
            click.echo(f"  {name}: {before} -> {after}")


@prefs.command()
@click.argument("login")
@click.argument("file")
@click.pass_obj
def apply(reach: Reach, login: str, file: str) -> None:
    """Replace LOGIN's document by FILE."""
    reach.call("PUT", _path(login), json=read_toml(file))
    click.echo("applied")


commands = {"prefs": prefs}
