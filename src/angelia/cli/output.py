"""What commands share: the options before the command, reading documents, and printing tables, JSON and one-line errors."""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from angelia.model.errors import AngeliaError, InvalidInput


class Refused(AngeliaError):
    """The hub understood and said no; exit status 3."""


@dataclass(frozen=True, slots=True)
class Session:
    """The options that stand before the command, plus `overrides`: settings given on the command line."""

    config: Path | None = None
    data_dir: Path | None = None
    url: str | None = None
    login: str | None = None
    is_json: bool = False
    overrides: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, dict[str, object]]:
        """The command line as the last layer of the settings."""
        layer = {section: dict(keys) for section, keys in self.overrides.items()}
        if self.data_dir is not None:
            layer.setdefault("house", {})["data_dir"] = str(self.data_dir)
        return layer


def plain(text: object) -> str:
    """Foreign text on a terminal: control characters are shown, never obeyed."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def warn(text: str) -> None:
    """One line on standard error."""
    click.echo(f"angelia: {plain(text)}", err=True)


def show(session: Session, value: Any, columns: Sequence[str] = ()) -> None:
    """JSON with --json; else a table of a list of objects (`columns`, or all), names and values of one object, or the value itself."""
    if session.is_json:
        click.echo(json.dumps(value, ensure_ascii=False, default=str))
    elif isinstance(value, Mapping) and isinstance(value.get("items"), list):
        show_table(value["items"], columns)
        if value.get("next"):
            warn(f"there is more: --after {value['next']}")
    elif isinstance(value, list):
        show_table(value, columns)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            click.echo(f"{plain(name)}: {_cell(entry)}")
    elif value is not None:
        click.echo(plain(value))


def show_table(rows: Iterable[Any], columns: Sequence[str] = ()) -> None:
    """Columns as wide as their widest cell; the last one takes what the terminal has left."""
    entries = [row if isinstance(row, Mapping) else {"": row} for row in rows]
    names = list(columns) or list(dict.fromkeys(name for row in entries for name in row))
    if not entries:
        warn("nothing found")
        return
    cells = [[name.replace("_", " ").upper() for name in names], *([_cell(row.get(name, "")) for name in names] for row in entries)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in cells:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(text[:limit])


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_cell, value))
        case Mapping():
            return ", ".join(f"{plain(name)}={_cell(entry)}" for name, entry in value.items())
    return plain(value)


def read_text(path: str) -> str:
    """The text of a file, or of standard input for `-`."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"can't read {path}: {error}") from None
