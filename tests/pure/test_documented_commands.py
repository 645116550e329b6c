"""Every command line in the documentation is one that there is: its words are commands, and its options theirs."""

import re
import shlex
from pathlib import Path

import click
import pytest

from angelia.cli.main import program

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
INLINE = re.compile(r"`(?:\.venv/bin/)?angelia ([^`]+)`")
LINE = re.compile(r"^\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?angelia (.+)$", re.MULTILINE)


def lines_of(text):
    """The words after `angelia`, up to whatever a shell would take for the next command."""
    for said in INLINE.findall(text) + LINE.findall(text):
        try:
            words = shlex.split(re.split(r"[|>#&;]", said)[0])
        except ValueError:
            continue  # a quotation mark that is prose
        if words and re.match(r"--|[a-z]", words[0]):
            yield words


def fault_of(words):
    """What there is not, or "" where all is."""
    command, name, words = program, "angelia", list(words)
    while words:
        word = words.pop(0)
        if word == "--":
            return ""  # what follows is another program's
        if word.startswith("-"):
            known = {text: option for option in command.params for text in (*option.opts, *option.secondary_opts)}
            option, sign, _ = word.partition("=")
            if option not in known and option not in ("-h", "--help"):
                return f"{name} has no option {option}"
            if option in known and not sign and not known[option].is_flag:
                words = words[1:]
        elif isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
            if command is None:
                return f"{name} has no command {word}"
            name = f"{name} {word}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines(page):
    assert [fault for words in lines_of(page.read_text()) if (fault := fault_of(words))] == []


def test_what_there_is_not_is_found():
    assert fault_of(["people", "frobnicate"]) == "angelia people has no command frobnicate"
    assert fault_of(["send", "a.b", "--tu", "alice"]) == "angelia send has no option --tu"
    assert fault_of(["--data-dir", "var", "prefs", "plan", "alice", "alice.toml"]) == ""
    assert list(lines_of("Say `angelia type set a --public`, or\n\n    ANGELIA_URL=http://x angelia check | less\n")) == [
        ["type", "set", "a", "--public"], ["check"],
    ]  # fmt: skip
