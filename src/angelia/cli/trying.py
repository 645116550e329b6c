"""try: scenarios of preferences, without a hub or a database."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach, show_rows
from angelia.model.errors import InvalidInput
from angelia.planning.trial import checked_expectation, differences, run

_COLUMNS = ("case", "person", "agent", "outcome", "when", "why")
_BOM = b"\xef\xbb\xbf"


@click.command("try")
@click.argument("files", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def try_command(reach: Reach, files: tuple[str, ...], as_json: bool) -> None:
    """Run scenarios (one JSON object a line) from FILES or standard input, and compare with what they expect.

    A line that can't be read is named on standard error, and the others are answered.
    """
    as_json = as_json or reach.as_json or not sys.stdout.isatty()
    rows: list[list[str]] = []
    complaints: list[str] = []
    unread = differing = 0
    for place, line in _lines(files or ("-",)):
        try:
            case = _case(line)
            answer = run(case["scenario"])
            found = differences(checked_expectation(case["expect"]), answer) if "expect" in case else []
        except (ValueError, OverflowError, RecursionError, InvalidInput) as error:
            unread += 1
            said = f"{place}: {_told(error)}"
            complaints.append(f"angelia: {said}")
            text = json.dumps({"explain": {"error": said}})  # keeps its place, so that the n-th answer is that of the n-th scenario
        else:
            text = json.dumps(answer, ensure_ascii=False)
            name = str(case.get("id", place))
            rows += _rows(name, answer)
            complaints += [f"{name}: {difference}" for difference in found]
            differing += bool(found)
        if as_json:
            click.echo(text)
            _complain(complaints)
    if rows and not as_json:
        show_rows(rows, _COLUMNS)
    _complain(complaints)
    if unread or differing:
        numbers = [f"{unread} can't be read"] * bool(unread) + [f"{differing} differ from what was expected"] * bool(differing)
        raise Failure(", ".join(numbers))


def _complain(complaints: list[str]) -> None:
    for complaint in complaints:
        click.echo(complaint, err=True)
    complaints.clear()


def _lines(files: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Where it stands, and the line. Only a line feed ends one: JSON may hold the other line ends of Unicode."""
    for path in files:
        try:
            with nullcontext(sys.stdin.buffer) if path == "-" else open(path, "rb") as file:
                for number, line in enumerate(file, 1):
                    text = line.removeprefix(_BOM) if number == 1 else line
                    if text.strip():
                        yield f"{path}:{number}", text
        except OSError as error:
            raise Failure(f"{path}: {error.strerror or error}") from None


def _case(line: bytes) -> Mapping[str, Any]:
    entry = json.loads(line.decode().rstrip())
    return entry if isinstance(entry, dict) and "scenario" in entry else {"scenario": entry}


def _told(error: Exception) -> str:
    match error:
        case InvalidInput():
            return f"{error.field}: {error}" if error.field else str(error)
        case json.JSONDecodeError():
            return f"not JSON: {error.msg} at column {error.colno}"
        case UnicodeDecodeError():
            return f"not UTF-8: byte {error.start + 1} is {error.object[error.start]:#04x}"
        case RecursionError():
            return "not JSON that can be read: nested too deeply"
    return str(error)


def _rows(name: str, answer: Mapping[str, Any]) -> Iterator[list[str]]:
    for login, outcome in answer.items():
        if login == "explain":
            continue
        explained = answer["explain"][login]
        if outcome is None:
            yield [name, login, "-", "not a candidate", "-", ""]
        elif not outcome:
            told = {f"{agent} {said['reason']}" for agent, said in explained["agents"].items()}
            yield [name, login, "-", "nothing is delivered", "-", ", ".join(sorted(told))]
        else:
            for agent, said in outcome.items():
                reason = explained["agents"][agent]
                times = " ".join(str(said[key]) for key in ("schedule", "due") if key in said)
                yield [name, login, agent, said["outcome"], times or "-", f"{reason['reason']} ({reason['decided_by']})"]


commands = {"try": try_command}
