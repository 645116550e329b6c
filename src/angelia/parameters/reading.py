"""Declarations from files: TOML or YAML to a Declaration; every fault of a file at once, each by its key."""

import importlib
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from angelia.model.declaration import DEFAULT_UNITS, NUMBERS, Declaration, DeclaredProduct, Limits, Parameter, ParameterKind, ProductKind, RoleRange
from angelia.model.errors import BadSettings
from angelia.parameters.checking import judged
from angelia.parameters.values import BadValue, schema_text, units, validator

SUFFIXES = (".toml", ".yaml", ".yml")
MOST_BYTES = 1_048_576
_INSTRUMENT = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
"""It becomes a segment of message types and of paths."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_NOT_FREE = frozenset({"instrument", "product", "product_type", "query_type", "query_status", "job_id", "session_id", "token"})
"""Dialects need these for themselves."""
_T = TypeVar("_T")


def read_declaration(path: Path) -> Declaration:
    """The declaration in a file. BadSettings names the file, and all keys that are wrong, with what is wrong with each."""
    try:
        content = path.read_bytes()
        if len(content) > MOST_BYTES:
            raise BadSettings(f"{path}: it has more than {MOST_BYTES} bytes")
        text = content.decode()
        fields = tomllib.loads(text) if path.suffix == ".toml" else _yaml(path, text)
    except OSError as error:
        raise BadSettings(f"{path}: it can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise BadSettings(f"{path}: {error}") from None
    return declaration_of(fields, str(path))


def read_folder(folder: Path) -> list[Declaration]:
    """All declarations of a folder, by file name. BadSettings for one that can't be used, or for two of one name."""
    found: dict[str, Path] = {}
    declarations = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES):
        declaration = read_declaration(path)
        if declaration.name in found:
            raise BadSettings(f"{path}: name: {found[declaration.name]} has an instrument {declaration.name} already")
        found[declaration.name] = path
        declarations.append(declaration)
    return declarations


def _yaml(path: Path, text: str) -> Any:
    try:
        library = importlib.import_module("yaml")
    except ImportError:
        raise BadSettings(f"{path}: YAML can't be read here; install angelia[science], or write it as TOML") from None
    try:
        return library.safe_load(text)
    except library.YAMLError as error:
        raise ValueError(str(error).replace("\n", " ")) from None


def declaration_of(fields: Any, origin: str) -> Declaration:
    """The declaration that a table of keys means; `origin` is what an error calls it."""
    faults: list[str] = []
    declaration = _declaration(_Table(fields, "", faults))
    _check_names(declaration, faults)
    if not faults:
        for product in declaration.products:
            for parameter in product.parameters:
                _check_parameter(parameter, f"products.{product.name}.parameters.{parameter.name}", faults)
        for parameter in declaration.parameters:
            _check_parameter(parameter, f"parameters.{parameter.name}", faults)
    if faults:
        raise BadSettings("\n".join(f"{origin}: {fault}" for fault in faults))
    return declaration


class _Table:
    """A table of a file. Taking a key checks its kind; `end` complains of keys that nobody took."""

    def __init__(self, fields: Any, at: str, faults: list[str]) -> None:
        self.at = at
        self.faults = faults
        self._taken: set[str] = set()
        self._fields: Mapping[str, Any] = fields if isinstance(fields, Mapping) else {}
        if not isinstance(fields, Mapping):
            self.fault("", "is no table")

    def fault(self, key: str, text: str) -> None:
        where = f"{self.at}.{key}" if self.at and key else self.at or key
        self.faults.append(f"{where}: {text}" if where else text)

    def take(self, key: str, default: _T, check: Callable[[Any], str]) -> _T:
        """The value of a key; `check` says what it should be where it isn't, "" where it is."""
        self._taken.add(key)
        if key not in self._fields:
            return default
        if wanted := check(self._fields[key]):
            self.fault(key, f"should be {wanted}")
            return default
        value: _T = self._fields[key]
        return value

    def text(self, key: str, default: str = "", *, is_needed: bool = False) -> str:
        value = self.take(key, default, lambda item: "" if isinstance(item, str) else "a text")
        if is_needed and not value:
            self.fault(key, "is needed")
        return value

    def number(self, key: str, default: _T) -> _T:
        return self.take(key, default, lambda item: "" if _is_number(item) else "a finite number")

    def flag(self, key: str) -> bool:
        return self.take(key, False, lambda item: "" if isinstance(item, bool) else "true or false")

    def free(self, key: str) -> Any:
        return self.take(key, None, lambda item: "")

    def table(self, key: str) -> Mapping[str, Any]:
        return self.take(key, {}, lambda item: "" if isinstance(item, Mapping) else "a table")

    def values(self, key: str) -> tuple[Any, ...]:
        return tuple(self.take(key, [], lambda item: "" if isinstance(item, list) else "a list"))

    def texts(self, key: str) -> tuple[str, ...]:
        return tuple(
            self.take(key, [], lambda item: "" if isinstance(item, list) and all(isinstance(one, str) for one in item) else "a list of texts")
        )

    def tables(self, key: str) -> list["_Table"]:
        at = f"{self.at}.{key}" if self.at else key
        return [_Table(item, f"{at}.{_label(item, index)}", self.faults) for index, item in enumerate(self.values(key))]

    def choice(self, key: str, kinds: Callable[[str], _T], names: list[str], default: _T, *, is_needed: bool) -> _T:
        text = self.text(key, is_needed=is_needed)
        if not text or text in names:
            return kinds(text) if text else default
        self.fault(key, f"should be one of {', '.join(names)}{_meant(text, names)}")
        return default

    def end(self) -> None:
        for key in self._fields:
            if key not in self._taken:
                self.fault(str(key), f"there is no such key{_meant(str(key), sorted(self._taken))}")


def _is_number(item: Any) -> bool:
    return isinstance(item, (int, float)) and not isinstance(item, bool) and math.isfinite(item)


def _label(item: Any, index: int) -> str:
    name = item.get("name") if isinstance(item, Mapping) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else str(index)


def _meant(text: str, names: list[str]) -> str:
    close = get_close_matches(text, names, 1)
    return f"; is {close[0]} meant?" if close else ""


def _declaration(table: _Table) -> Declaration:
    declaration = Declaration(
        name=table.text("name", is_needed=True),
        version=table.text("version", "1"),
        title=table.text("title"),
        help=table.text("help"),
        parameters=tuple(_parameter(item) for item in table.tables("parameters")),
        products=tuple(_product(item) for item in table.tables("products")),
        roles=table.texts("roles"),
        adapter=table.text("adapter"),
        settings=dict(table.table("settings")),
        limits=_limits(_Table(table.table("limits"), "limits", table.faults)),
        is_repeatable=table.flag("is_repeatable"),
    )
    table.end()
    return declaration


def _product(table: _Table) -> DeclaredProduct:
    product = DeclaredProduct(
        name=table.text("name", is_needed=True),
        title=table.text("title"),
        help=table.text("help"),
        parameters=tuple(_parameter(item) for item in table.tables("parameters")),
        roles=table.texts("roles"),
        kind=table.choice("kind", ProductKind, [kind.value for kind in ProductKind], None, is_needed=False),
    )
    table.end()
    return product


def _parameter(table: _Table) -> Parameter:
    schema = table.table("schema")
    parameter = Parameter(
        name=table.text("name", is_needed=True),
        kind=table.choice("kind", ParameterKind, [kind.value for kind in ParameterKind], ParameterKind.STRING, is_needed=True),
        unit=table.text("unit"),
        default=table.free("default"),
        is_optional=table.flag("is_optional"),
        minimum=table.number("minimum", None),
        maximum=table.number("maximum", None),
        allowed=table.values("allowed"),
        label=table.text("label"),
        help=table.text("help"),
        schema=dict(schema) if schema else None,
        roles=tuple(_range(item) for item in table.tables("roles")),
        canonical_unit=table.text("canonical_unit"),
        unit_name=table.text("unit_name"),
        group=table.text("group"),
        meanings=table.texts("meanings"),
    )
    table.end()
    return parameter


def _range(table: _Table) -> RoleRange:
    limit = RoleRange(
        table.text("role", is_needed=True), table.number("minimum", None), table.number("maximum", None), table.values("allowed"), table.text("why")
    )
    table.end()
    return limit


def _limits(table: _Table) -> Limits:
    usual = Limits()
    limits = Limits(
        table.number("seconds", usual.seconds),
        table.number("memory_bytes", usual.memory_bytes),
        table.number("cpu_seconds", usual.cpu_seconds),
        table.number("output_bytes", usual.output_bytes),
        table.number("files", usual.files),
        table.flag("has_network"),
    )
    table.end()
    for key in ("seconds", "memory_bytes", "cpu_seconds", "output_bytes", "files"):
        if not 0 < getattr(limits, key) < 1 << 62:
            table.fault(key, "should be more than 0")
    return limits


def _check_names(declaration: Declaration, faults: list[str]) -> None:
    if declaration.name and not _INSTRUMENT.fullmatch(declaration.name):
        faults.append("name: should have 1 to 64 small letters, digits, - and _, and begin and end with a letter or digit")
    if not declaration.products:
        faults.append("products: at least one is needed")
    _check_once([product.name for product in declaration.products], "products", faults)
    _check_once([parameter.name for parameter in declaration.parameters], "parameters", faults)
    for product in declaration.products:
        _check_once([parameter.name for parameter in product.parameters], f"products.{product.name}.parameters", faults)
        selectors = [(parameter, parameter.unit_name) for parameter in declaration.parameters_of(product) if parameter.unit_name]
        names = {parameter.name for parameter in declaration.parameters_of(product)}
        for parameter, name in selectors:
            if name in names or not _is_free_name(name):
                faults.append(f"parameters.{parameter.name}.unit_name: {name} is the name of something else")
        out: dict[str, str] = {}
        for parameter, name in selectors:
            if out.setdefault(name, parameter.out_unit) != parameter.out_unit:
                faults.append(f"parameters.{parameter.name}.unit_name: {name} stands for two different units")


def _check_once(names: list[str], at: str, faults: list[str]) -> None:
    for name in dict.fromkeys(names):
        if names.count(name) > 1:
            faults.append(f"{at}.{name}: there are two of this name")
        if name and not _is_free_name(name):
            faults.append(f"{at}.{name}.name: should be letters, digits, '_', '.' and '-', and none of {', '.join(sorted(_NOT_FREE))}")


def _is_free_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and name not in _NOT_FREE


def _check_parameter(parameter: Parameter, at: str, faults: list[str]) -> None:
    """Units, bounds, the schema and the default fit together."""
    before = len(faults)
    faults.extend(f"{at}.{fault}" for fault in _wrong_rules(parameter))
    if len(faults) > before:
        return
    for key, values in (("allowed", parameter.allowed), ("default", () if parameter.default is None else (parameter.default,))):
        for value in values:
            try:
                judged(parameter, value)
            except BadValue as error:
                faults.append(f"{at}.{key}: {error}")


def _wrong_rules(parameter: Parameter) -> Iterator[str]:
    if wrong := _wrong_unit(parameter, parameter.in_unit):
        yield f"unit: {wrong}"
    elif wrong := _wrong_unit(parameter, parameter.out_unit):
        yield f"canonical_unit: {wrong}"
    if (parameter.minimum is not None or parameter.maximum is not None) and parameter.kind not in NUMBERS:
        yield "minimum: only numbers have bounds"
    elif parameter.minimum is not None and parameter.maximum is not None and parameter.minimum > parameter.maximum:
        yield "minimum: is above the maximum"
    if parameter.schema is not None:
        try:
            validator(schema_text(parameter.schema))
        except (ValueError, TypeError) as error:
            yield f"schema: {error}"


def _wrong_unit(parameter: Parameter, unit: str) -> str:
    if not unit:
        return ""
    if parameter.kind is ParameterKind.TIME:
        return "" if unit in units().FORMATS else f"{unit} is no format of a time; there are {', '.join(sorted(units().FORMATS))}"
    if parameter.kind not in NUMBERS:
        return f"a {parameter.kind.value} has no unit"
    if parameter.kind is ParameterKind.INTEGER and unit != parameter.in_unit:
        return "an integer is never converted"
    try:
        units().converter(parameter.in_unit, unit)
        units().converter(unit, DEFAULT_UNITS.get(parameter.kind, unit))
    except ValueError as error:
        return str(error)
    return "" if units().is_unit(unit) else f"{unit} is no unit"
