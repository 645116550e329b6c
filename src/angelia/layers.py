"""Tables of settings from TOML, environment and secret files, one layer over the other; and what becomes of a table: unknown names are errors."""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from angelia.model.errors import BadSettings

PREFIX = "ANGELIA__"
PLACES = ("angelia.toml", "/etc/angelia/angelia.toml")


def from_file(config: str) -> Mapping[str, Any]:
    """The tables of this file, or of the first of PLACES that is there."""
    paths = [Path(config)] if config else [Path(place) for place in PLACES]
    for path in paths:
        if path.is_file():
            try:
                return tomllib.loads(path.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeError, OSError) as error:
                raise BadSettings(f"{path} can't be read: {error}") from None
    if config:
        raise BadSettings(f"there is no file {config}")
    return {}


def from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """`ANGELIA__WEB__PORT=8080`; with `_FILE` at the end the value is in that file; systemd credentials are files of the same names."""
    values = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
    folder = environment.get("CREDENTIALS_DIRECTORY")
    if folder:
        values |= {f"{path.name}_FILE": str(path) for path in Path(folder).iterdir() if path.name.startswith(PREFIX)}
    tables: dict[str, Any] = {}
    for name, value in sorted(values.items()):
        parts = name[len(PREFIX) :].lower().split("__")
        if parts[-1].endswith("_file") and parts[-1] != "ca_file":
            parts[-1] = parts[-1].removesuffix("_file")
            try:
                value = Path(value).read_text(encoding="utf-8").strip()
            except OSError as error:
                raise BadSettings(f"{name}: {error.strerror}") from None
        if len(parts) < 2 or not all(parts):
            raise BadSettings(f"{name} is no setting; it looks like {PREFIX}WEB__PORT")
        table = tables
        for part in parts[:-1]:
            table = table.setdefault(part, {})
        table[parts[-1]] = value
    return tables


def merged(*layers: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """One layer of tables over the other: what stands in a later one counts."""
    tables: dict[str, dict[str, Any]] = {}
    for layer in layers:
        _merge(tables, layer)
    return tables


def _merge(tables: dict[str, dict[str, Any]], layer: Mapping[str, Any]) -> None:
    for name, table in layer.items():
        if not isinstance(table, Mapping):
            raise BadSettings(f"{name} is no section; settings stand in sections such as [house]")
        target = tables.setdefault(name, {})
        for key, value in table.items():
            if isinstance(value, Mapping) and isinstance(target.get(key), dict):
                target[key] = target[key] | dict(value)
            else:
                target[key] = dict(value) if isinstance(value, Mapping) else value


def section(kind: type, path: str, table: Mapping[str, Any]) -> Any:
    """A frozen dataclass from a table: unknown names and wrong kinds are BadSettings; text from the environment is converted."""
    if not isinstance(table, Mapping):
        raise BadSettings(f"[{path}] is a table of settings")
    hints = get_type_hints(kind)
    known = {item.name for item in fields(kind)}
    for name in table:
        if name not in known:
            raise BadSettings(f"there is no setting {path}.{name}; there are {', '.join(sorted(known))}")
    return kind(**{name: _converted(value, hints[name], f"{path}.{name}") for name, value in table.items()})


def _converted(value: Any, kind: Any, path: str) -> Any:
    if isinstance(kind, UnionType):
        kind = next(inner for inner in get_args(kind) if inner is not type(None))
    if isinstance(value, str) and kind is bool:
        if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise BadSettings(f"{path} is true or false")
        return value.lower() in ("true", "1", "yes")
    if isinstance(value, str) and kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise BadSettings(f"{path} is a number") from None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kind = get_origin(kind) or kind
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BadSettings(f"{path} is of kind {kind.__name__}")
    return value
