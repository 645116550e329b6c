"""try: scenarios of preferences, without a hub or a database."""

import json
import sys
from typing import Any

import click

from angelia.cli.reach import Failure, Reach, text_of
from angelia.model.errors import InvalidInput
from angelia.planning.trial import differences, run


@click.command("try")
@click.argument("files", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def try_command(reach: Reach, files: tuple[str, ...], as_json: bool) -> None:
    """Run scenarios (one JSON object a line) from FILES or standard input, and compare with what they expect."""
    as_json = as_json or reach.as_json or not sys.stdout.isatty()
    differing = 0
    for path in files or ("-",):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            if line.strip():
                differing += _one(line, f"{path}:{number}", as_json=as_json)
    if differing:
        raise Failure(f"{differing} differ from what was expected")


def _one(line: str, place: str, *, as_json: bool) -> bool:
    try:
        entry = json.loads(line)
        case: dict[str, Any] = entry if isinstance(entry, dict) and "scenario" in entry else {"scenario": entry}
        answer = run(case["scenario"])
    except (ValueError, RecursionError, InvalidInput) as error:
        field = getattr(error, "field", "")
        raise Failure(f"{place}: {field + ': ' if field else ''}{error}") from None
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        _print(str(case.get("id", place)), answer)
    found = differences(case["expect"], answer) if "expect" in case else []
    for difference in found:
        click.echo(f"{case.get('id', place)}: {difference}", err=True)
    return bool(found)


def _print(name: str, answer: dict[str, Any]) -> None:
    for login, outcome in answer.items():
        if login == "explain":
            continue
        if outcome is None:
            click.echo(f"{name}  {login}  not a candidate")
        for agent, said in (outcome or {}).items():
            rest = "  ".join(f"{key}={value}" for key, value in said.items() if key != "outcome")
            click.echo(f"{name}  {login}  {agent:8} {said['outcome']:9} {rest}".rstrip())
        if outcome == {}:
            click.echo(f"{name}  {login}  nothing is delivered")


commands = {"try": try_command}
