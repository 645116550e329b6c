"""prefs: preferences as code."""

import importlib
import json
import re
from collections.abc import Mapping
from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, part, plain, text_of
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


def _keys(document: dict[str, Any], path: str) -> list[str]:
    """The keys that a dotted path is made of, which may hold dots themselves; none where the document has no such place."""
    for key, value in document.items():
        if key == path:
            return [key]
        if path.startswith(f"{key}.") and isinstance(value, dict) and (rest := _keys(value, path[len(key) + 1 :])):
            return [key, *rest]
    return []


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def _said(value: Any) -> str:
    """A value as TOML has it, in one line."""
    match value:
        case None:
            return "nothing"
        case dict():
            return "{" + ", ".join(f"{_key(key)} = {_said(inner)}" for key, inner in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_said, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


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
    document = read_toml(file)
    answer = reach.call("POST", f"{_path(login)}/plan", json=document, params={"days": days})
    if reach.as_json:
        reach.show(answer)
        return
    show_changes(answer["changes"], document, reach.call("GET", _path(login)) if answer["changes"] else {})
    show_history(f"of the last {answer['history']['days']} days", answer["history"])


def show_changes(changes: list[dict[str, Any]], *documents: dict[str, Any]) -> None:
    """A line for each, with the keys as the documents (the new one, the old one) have them."""
    for change in changes:
        keys = next(filter(None, (_keys(one, change["path"]) for one in documents)), [change["path"]])
        click.echo(plain(f"{'.'.join(map(_key, keys))}: {_said(change['before'])} -> {_said(change['after'])}"))
    if not changes:
        click.echo("no changes")


def counted(number: int, one: str, many: str) -> str:
    """A number with what it counts."""
    return f"{number} {one if number == 1 else many}"


def show_history(of_what: str, history: Mapping[str, Any]) -> None:
    """How many deliveries would have differed, and how."""
    click.echo(f"{of_what}, {counted(history['deliveries_that_differ'], 'delivery', 'deliveries')} would differ")
    for name in sorted(history["before"] | history["after"]):
        before, after = history["before"].get(name, 0), history["after"].get(name, 0)
        if before != after:
            click.echo(f"  {name}: {before} -> {after}")


@prefs.command()
def schema() -> None:
    """Print the JSON Schema of such a document: editors complete and check with it."""
    show_schema("Preferences")


def show_schema(name: str) -> None:
    """The schema of a document."""
    click.echo(json.dumps(importlib.import_module("angelia.planning.schema").schema_of(name), ensure_ascii=False, indent=2))


@prefs.command()
@click.argument("login")
@click.argument("file")
@click.pass_obj
def apply(reach: Reach, login: str, file: str) -> None:
    """Replace LOGIN's document by FILE."""
    reach.call("PUT", _path(login), json=read_toml(file))
    click.echo("applied")


commands = {"prefs": prefs}
