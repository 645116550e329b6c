"""Completion in shells: scripts that they take, and words that fit."""

import os
import shutil
import subprocess
import sys

import pytest

from angelia_testing.peers.process import ANGELIA

# As the installed program is called; a module's name would ask for another variable.
PROGRAM = [sys.executable, "-c", "import sys; sys.argv[0] = 'angelia'; from angelia.__main__ import main; main()"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_that_the_shell_takes(shell):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("there is no bash")
    done = subprocess.run([*ANGELIA, "completion", shell], capture_output=True, text=True, timeout=60, check=True)
    assert "_ANGELIA_COMPLETE" in done.stdout and "angelia" in done.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=done.stdout, text=True, check=True, timeout=60)


def completed(*words):
    environment = os.environ | {"_ANGELIA_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["angelia", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run(PROGRAM, capture_output=True, text=True, timeout=60, env=environment, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["gro"], ["group"]),
        (["sp"], ["spool"]),
        (["group", "p"], ["put"]),
        (["type", "set", "--col"], ["--collapse-key"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["--js"], ["--json"]),
    ],
)
def test_words_that_fit(words, expected):
    assert completed(*words) == expected


def test_commands_are_completed_without_loading_them():
    code = "import sys; from angelia.cli.main import program; import click; "
    code += "print([item.value for item in program.shell_complete(click.Context(program), 'ser')], 'sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[0] == "['serve'] False"


def test_help_reads_no_more_than_it_needs():
    code = "import sys; from angelia.cli.main import program; program.main(['--help'], standalone_mode=False); "
    code += "print([name for name in ('asyncio', 'ssl', 'sqlalchemy', 'pydantic', 'httpx2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.rstrip().rpartition("\n")[2] == "[]"
