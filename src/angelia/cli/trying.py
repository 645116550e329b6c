"""`angelia try`: scenarios through the rules of precedence, compared with what they expect."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import click

from angelia.cli.output import Session, plain, read_text, show_table, warn
from angelia.model.errors import InvalidInput
from angelia.planning.trial import differences, run


@click.command("try")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def attempt(session: Session, files: tuple[str, ...], is_json: bool) -> int:
    """Say what would become of messages, for whom and why: one scenario (JSON) a line, from FILEs or standard input.

    A line is a scenario, or an object that has one under `scenario`; then its `expect` is compared too, and a difference makes the exit
    status 1. It needs neither a server nor a database.
    """
    is_json = is_json or session.is_json or not click.get_text_stream("stdout").isatty()
    count = differing = 0
    for where, line in _lines(files or ("-",)):
        case = _case(line, where)
        scenario, expected = (case["scenario"], case.get("expect")) if "scenario" in case else (case, None)
        title = str(case.get("id", where)) if "scenario" in case else where
        try:
            answer = run(scenario)
        except InvalidInput as error:
            raise InvalidInput(f"{title}: {error}", error.field) from None
        found = [] if expected is None else differences(_expected(expected, where), answer)
        count += 1
        differing += bool(found)
        _print(title, answer, is_json)
        for difference in found:
            warn(f"{title}: {difference}")
    if differing:
        warn(f"{differing} of {count} scenarios differ from what they expect")
    return 1 if differing else 0


def _lines(files: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for path in files:
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if line.strip():
                yield f"{path}:{number}", line


def _case(line: str, where: str) -> dict[str, Any]:
    try:
        case = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{where}: not JSON: {error}") from None
    if not isinstance(case, dict):
        raise InvalidInput(f"{where}: a scenario is an object")
    return case


def _expected(expected: object, where: str) -> Mapping[str, Any]:
    if not isinstance(expected, Mapping):
        raise InvalidInput(f"{where}: expect is an object with an entry for each login")
    return expected


def _print(title: str, answer: dict[str, Any], is_json: bool) -> None:
    if is_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    click.echo(plain(title))
    show_table([row for login in answer if login != "explain" for row in _rows(login, answer)])
    click.echo()


def _rows(login: str, answer: dict[str, Any]) -> Iterator[dict[str, str]]:
    explained = answer["explain"][login]
    because = ", ".join(explained["because"])
    if not explained["agents"]:
        said = "nobody asked for anything" if explained["candidate"] else "not a candidate"
        yield {"login": login, "agent": "", "outcome": said, "due": "", "decided by": "", "because": because}
    for agent, why in explained["agents"].items():
        entry = (answer[login] or {}).get(agent, {})
        yield {
            "login": login,
            "agent": agent,
            "outcome": entry.get("outcome", "-") + ("" if why["reason"] == "chosen" else f" ({why['reason']})"),
            "due": entry.get("due", ""),
            "decided by": why["decided_by"],
            "because": because,
        }
