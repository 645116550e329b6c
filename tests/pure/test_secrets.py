"""Secrets are compared in a time that tells nothing of them (checklist S27): nowhere does `==` stand beside one."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src/angelia"
SECRET = re.compile(r"(^|_)(token|secret|sig|signature|password|mac|code|hash|hashed|verifier|nonce)s?$")
# Code of a reply of SMTP; rows are looked up by the hash of a secret, never by the secret.
NO_SECRETS = {"answer.code", "_s.secret_hash", "tokens.c.secret_hash", "feeds.c.secret_hash"}


def name_of(node):
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=str() as name)):
            return name
    return ""


def compared(source):
    """Comparisons by equality in which a side has the name of a secret."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            sides = [node.left, *node.comparators]
            if any(SECRET.search(name_of(side)) for side in sides) and not any(ast.unparse(side) in NO_SECRETS for side in sides):
                yield ast.unparse(node)


def test_no_secret_is_compared_by_equality():
    found = [f"{path.relative_to(ROOT)}: {text}" for path in sorted(ROOT.rglob("*.py")) for text in compared(path.read_text())]
    assert found == [], "use hmac.compare_digest"


@pytest.mark.parametrize("source", ["given == token", "row.code_hash != hashed", "claims['nonce'] == x", "x == self.secret"])
def test_one_would_be_seen(source):
    assert list(compared(source))
