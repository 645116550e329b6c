"""What is read before anybody waits for it leaves the interpreter to those who work."""

import importlib
import sys
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

from angelia.web import late

SLOW = "import leisurely_clock\nleisurely_clock.now += 0.003\n"
"""A module that takes three milliseconds to read, by a clock of its own: on a busy machine the true one goes on between two of them, too."""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of modules that were not read yet."""
    names = [f"leisurely_{number}" for number in range(4)]
    for name in names:
        (tmp_path / f"{name}.py").write_text(SLOW)
    clock = ModuleType("leisurely_clock")
    clock.now = 0.0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, clock.__name__, clock)
    monkeypatch.setattr(late, "monotonic", lambda: clock.now)
    monkeypatch.syspath_prepend(tmp_path)
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return names


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each rest would have been, in seconds."""
    found: list[float] = []
    monkeypatch.setattr(late, "sleep", found.append)
    return found


def test_between_modules_it_rests_longer_than_it_worked(modules: list[str], rests: list[float]) -> None:
    with late.at_leisure(lambda: False):
        for name in modules:
            importlib.import_module(name)
    assert len(rests) == len(modules) - 1  # before the first there was no work
    assert rests == pytest.approx([min(0.003 * late.REST, late.LONGEST_REST)] * 3)


def test_once_somebody_waits_it_does_not_rest(modules: list[str], rests: list[float]) -> None:
    awaited = iter((False, True, True, True))
    with late.at_leisure(lambda: next(awaited, True)):
        for name in modules:
            importlib.import_module(name)
    assert len(rests) == 1


def test_a_rest_that_the_system_refuses_fails_nothing(modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(seconds: float) -> None:
        raise OSError(22, f"no rest of {seconds} s while the clock jumps")

    monkeypatch.setattr(late, "sleep", refused)
    with late.at_leisure(lambda: False):
        for name in modules:
            importlib.import_module(name)
    assert set(modules) <= sys.modules.keys()


def test_other_threads_do_not_rest(modules: list[str], rests: list[float]) -> None:
    def read() -> None:
        for name in modules:
            importlib.import_module(name)

    with late.at_leisure(lambda: False):
        reading = Thread(target=read)
        reading.start()
        reading.join()
    assert rests == []


def test_whoever_wants_the_interpreter_gets_it_soon_and_all_is_as_before_afterwards() -> None:
    finders, interval = list(sys.meta_path), sys.getswitchinterval()
    with late.at_leisure(lambda: False):
        assert sys.getswitchinterval() <= late.QUICK_SWITCH + 1e-6
    assert sys.meta_path == finders
    assert sys.getswitchinterval() == pytest.approx(interval)
