"""The repository itself: what must stand in every module, and what in none."""

import ast
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from angelia.cli.main import COMMANDS
from angelia.model.delivery import Reason
from angelia.plugins import agent_classes
from angelia.settings import all_settings
from angelia.telemetry import registry
from angelia.watch.settings import all_settings as watcher_settings

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "src").rglob("*.py"))


def tracked():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT / "src")))
def test_each_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_no_imports_inside_functions():
    for path in MODULES:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function)), path


def test_no_sql_is_made_of_values():
    """An f-string that looks like SQL may hold constants only: names in capitals, or numbers formatted with `:d`."""
    for path in (ROOT / "src/angelia/stores").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b", ast.unparse(node)):
                for part in node.values:
                    if isinstance(part, ast.FormattedValue):
                        assert part.format_spec is not None and ast.unparse(part.format_spec) == "f'd'", f"{path}: {ast.unparse(node)}"


_SECRETS = re.compile(r"(?:^|_)(?:secret|token|signature|password|passphrase|code|otp|nonce|state_hash|code_hash|cookie|again)$")
# By the hash of a secret of full entropy a row is looked up in SQL: there is nothing to learn from the time that takes.
_NO_SECRETS = frozenset({"status_code", "exit_code", "returncode"})


def compared_plainly(tree):
    """Comparisons with == and != of what is called like a secret; with nothing ("" or None) or with a number it may be."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)):
            continue
        parts = [node.left, *node.comparators]
        if any(isinstance(part, ast.Constant) and (not part.value or isinstance(part.value, int)) for part in parts):
            continue
        names = {part.attr if isinstance(part, ast.Attribute) else getattr(part, "id", "") for part in parts} - _NO_SECRETS
        if any(_SECRETS.search(name) for name in names):
            yield ast.unparse(node)


def test_secrets_are_compared_in_constant_time():  # checklist S27
    found = list(compared_plainly(ast.parse("a.code == b; token != given; x == row.code_hash; r.status_code == 2; code == ''; kind == other")))
    assert found == ["a.code == b", "token != given", "x == row.code_hash"]
    for path in (ROOT / "src/angelia").rglob("*.py"):
        assert not list(compared_plainly(ast.parse(path.read_text()))), path


def test_no_addresses_of_registries_and_no_paths_of_a_machine():
    registries = re.compile("pypi" + r"\.org|registry\." + r"npmjs|files\.python" + r"hosted|--index" + "-url|--find" + "-links")
    paths = re.compile(r"(^|[^A-Za-z0-9_.])/(wo" + r"rk|ro" + r"ot|fa" + r"rm)/")
    for path in tracked():
        if path.suffix in {".eml"}:
            continue
        text = path.read_text(errors="replace")
        assert not registries.search(text), path
        assert not paths.search(text), path


def test_every_locked_requirement_has_hashes():
    for lock in (ROOT / "requirements").glob("*.txt"):
        entries = re.findall(r"^([a-z0-9].*?==.*?)(?=^[a-z0-9]|\Z)", lock.read_text(), re.MULTILINE | re.DOTALL)
        assert len(entries) > (0 if lock.stem in {"node", "uv"} else 10)
        assert all("--hash=sha256:" in entry for entry in entries)


def reference(name):
    return (ROOT / "docs" / "reference" / name).read_text()


def test_the_reference_is_complete():
    assert all(f"`{name}`" in reference("settings.md") for name, *_ in all_settings())
    assert all(f"`{reason.value}`" in reference("reasons.md") for reason in Reason)
    assert all(f"`angelia {name}`" in reference("commands.md") for name in COMMANDS)
    assert all(f"`{name}`" in reference("watcher.md") for name, *_ in watcher_settings())
    metrics = {metric.name for metric in registry.collect()}
    assert all(f"`{name}" in reference("metrics.md") for name in metrics)


def test_the_reference_has_the_settings_of_every_agent():
    for name, kind in agent_classes().items():
        names = [item.name for item in fields(kind.Settings)] if kind.Settings is not None else []
        assert all(f"`agents.{name}.{field}`" in reference("settings.md") for field in names), name


def test_no_two_rooms_style_one_class():
    """All styles go into one file: of two rooms with one name for different things, the last would win on the pages of both."""
    frame = set(re.findall(r"\.([a-z][\w-]*)", (ROOT / "assets" / "angelia.scss").read_text())) | {"table", "card-body", "form-check"}
    seen: dict[str, str] = {}
    for path in sorted((ROOT / "assets").glob("_*.scss")):
        if path.stem == "_access":
            continue  # mends what axe found, wherever it stands
        for name in set(re.findall(r"^\.([a-z][\w-]*)", path.read_text(), re.MULTILINE)) - frame:
            assert seen.setdefault(name, path.stem) == path.stem, name
