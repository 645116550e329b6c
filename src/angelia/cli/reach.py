"""How a command reaches the hub: over HTTP, through the door of one that runs on the data folder, or in process. The same API each way."""

import importlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from angelia.cli.outcome import Answer, Failure

WIDEST = 60
"""Letters of a cell at a terminal, where it is not the last."""


@dataclass(slots=True)
class Reach:
    """The options that stand before the command."""

    config: str
    data_dir: str
    url: str
    as_json: bool

    def overrides(self, **sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Settings from the command line, as `settings.load` takes them; what was not given is left out."""
        tables = {name: {key: value for key, value in table.items() if value not in (None, "")} for name, table in sections.items()}
        if self.data_dir:
            tables.setdefault("house", {})["data_dir"] = self.data_dir
        return tables

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        """One call of the API; what it answers as JSON (None for nothing), or Failure with its own words."""
        status, headers, body = self._answer(method, path, arguments)
        return _said(status, headers, body)

    def known(self, path: str) -> dict[str, Any]:
        """What is there already; nothing where it is new."""
        status, headers, body = self._answer("GET", path, {})
        found: dict[str, Any] = {} if status == 404 else _said(status, headers, body)
        return found

    def raw(self, method: str, path: str, **arguments: Any) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and text of one call."""
        status, headers, body = self._answer(method, path, arguments)
        return status, headers, body.decode(errors="replace")

    def fetch(self, path: str) -> tuple[Mapping[str, str], bytes]:
        """Headers and bytes of a file; Failure with the hub's own words where there is none."""
        status, headers, body = self._answer("GET", path, {})
        if status >= 300:
            _said(status, headers, body)
        return headers, body

    def _answer(self, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
        try:
            _must_be_json(arguments.get("json"))
            return self._asked(method, path, arguments)
        except UnicodeEncodeError:
            # What the shell gave is bytes, and not always text.
            raise Failure("an argument, or the token, can't be sent: it is not plain text", 2) from None
        except RecursionError:
            raise nested_too_deeply() from None

    def _asked(self, method: str, path: str, arguments: Mapping[str, Any]) -> Answer:
        calling = importlib.import_module("angelia.cli.calling")
        answer: Answer | None
        if self.url:
            answer = calling.over_http(self.url, self.token(), method, path, arguments)
        else:
            settings = calling.settings_of(self.config, self.overrides())
            answer = calling.through_door(settings.local_socket, method, path, arguments)
            if answer is None:
                answer = importlib.import_module("angelia.cli.inside").in_process(settings, method, path, arguments)
        assert answer is not None
        return answer

    def show(self, answer: Any, *columns: str) -> None:
        """Print an answer: JSON with --json, else rows of the named columns, or names and values."""
        if self.as_json or not (isinstance(answer, dict)):
            click.echo(answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False, indent=None if self.as_json else 2))
            return
        items = answer.get("items")
        if isinstance(items, list):
            show_rows([[cell(item, column) for column in columns] for item in items], columns)
            return
        for name, value in answer.items():
            click.echo(f"{name}: {plain(value)}")

    def token(self) -> str:
        """The caller's, from ANGELIA_TOKEN or the file ANGELIA_TOKEN_FILE."""
        return _token()


def _token() -> str:
    path = os.environ.get("ANGELIA_TOKEN_FILE", "")
    if path:
        try:
            return Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Failure(f"ANGELIA_TOKEN_FILE: {error.strerror}", 2) from None
        except UnicodeError:
            raise Failure("ANGELIA_TOKEN_FILE is not text in UTF-8", 2) from None
    return os.environ.get("ANGELIA_TOKEN", "")


def _must_be_json(body: Any) -> None:
    """Python reads and writes numbers that JSON has not."""
    try:
        json.dumps(body, allow_nan=False)
    except ValueError:
        raise Failure("NaN and Infinity can't be sent: they are no numbers of JSON", 2) from None


def nested_too_deeply() -> Failure:
    """Of a value that was given."""
    return Failure("what is to be sent is nested too deeply", 2)


def _said(status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """What the hub answers: an object in JSON, or with 204 nothing. Whatever else answers in its place did nothing of what was asked."""
    if status == 204:
        return None
    if 300 <= status < 400:
        raise Failure(f"what answered {status} is not the hub; it leads elsewhere: check the address, and whether it begins with https://")
    try:
        answer = json.loads(body) if "json" in headers.get("content-type", "") else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Failure(f"the hub answered {status}" if status >= 500 else f"what answered {status} is not the hub")
    if status >= 400:
        raise _failure(status, answer)
    return answer


def _failure(status: int, answer: Mapping[str, Any]) -> Failure:
    text = str(answer.get("detail", answer.get("title", status)))
    fields = [error.get("field", "") for error in answer.get("errors", [])]
    named = f"{fields[0]}: " if fields and fields[0] else ""
    hint = "; commands take it from ANGELIA_TOKEN, or from the file ANGELIA_TOKEN_FILE" if status == 401 else ""
    return Failure(f"{named}{text}{hint}", 3 if status in (401, 403, 404, 409, 412, 429) else 1)


def part(word: str) -> str:
    """A word as one part of a path, whatever stands in it."""
    if word in ("", ".", ".."):
        raise Failure(f"{word!r} is no name of anything", 2)
    return quote(word, safe="")


def cell(item: Any, column: str) -> str:
    """A value of an answer, `message.type` for one within another, as text."""
    for part in column.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return plain(item)


def headed(message: Any) -> Any:
    """A message with a subject; its first line where it came without, as a mail has it."""
    if message.get("subject") or message.get("body_format") == "html":
        return message
    lines = str(message.get("body", "")).split("\n")
    return message | {"subject": next((line.strip() for line in lines if line.strip()), "")}


def plain(value: Any) -> str:
    """A value as one line that no terminal takes for a command."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else " " for letter in value)
    return json.dumps(value, ensure_ascii=False)


def show_rows(rows: list[list[str]], columns: tuple[str, ...]) -> None:
    """Print rows, whole; to a person at a terminal with a head, and cut so that they stay in lines."""
    if not rows:
        click.echo("nothing")
        return
    is_terminal = sys.stdout.isatty()
    table = [list(columns)] * is_terminal + [[plain(cell) for cell in row] for row in rows]
    if is_terminal:
        table = [[*map(_cut, row[:-1]), *row[-1:]] for row in table]
    widths = [max(len(row[index]) for row in [*table, list(columns)]) for index in range(len(columns))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cut(cell: str) -> str:
    return cell if len(cell) <= WIDEST else cell[: WIDEST - 1] + "…"


def text_of(path: str) -> str:
    """A file's text; `-` is standard input."""
    try:
        return sys.stdin.buffer.read().decode() if path == "-" else Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except UnicodeError:
        raise Failure(f"{'standard input' if path == '-' else path} is not text in UTF-8") from None
