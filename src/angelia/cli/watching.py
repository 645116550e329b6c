"""watch: follow logs; how one would be read; what rules find in one."""

import logging
import sys
from pathlib import Path

import click

from angelia.cli.outcome import Failure
from angelia.watch import learning
from angelia.watch.checkpoint import claimed
from angelia.watch.opening import described, opened
from angelia.watch.settings import WatchSettings, load

FEW = 10


@click.group(invoke_without_command=True)
@click.option("--config", default="", help="Settings of the watcher (TOML), or the JSON of the Sonix+ bot.")
@click.option("--log", "logs", multiple=True, help="A log to follow, where the settings name none; may be given several times.")
@click.option("--check", is_flag=True, help="Only check the settings, and say what would be done.")
@click.pass_context
def watch(context: click.Context, config: str, logs: tuple[str, ...], check: bool) -> None:
    """Follow logs of instruments and report what rules find."""
    if context.invoked_subcommand is not None:
        return
    if not config:
        raise Failure("say --config FILE", 2)
    _ascii_safe()
    settings = load(Path(config), logs)
    if check:
        for line in described(settings):
            click.echo(line)
        return
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with claimed(settings.state):
        watcher = opened(settings)
        watcher.stop_on_signals()
        watcher.run()


@watch.command("learn")
@click.argument("file", type=click.Path(path_type=Path))
def learn(file: Path) -> None:
    """Show how FILE would be read, and propose settings."""
    _ascii_safe()
    try:
        with file.open("rb") as log:
            learned = learning.learn(log.read(learning.MOST_LOOKED_AT))
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from None
    for line in learning.shown(learned):
        click.echo(f"# {line}")
    text = learning.proposed(learned, file)
    click.echo(text)
    table = WatchSettings(name="learned", paths=(str(file),), record_start=learned.record_start)
    click.echo("# its first records: place, kind, level, device, text")
    for number, found in enumerate(learning.records(table, file, learning.MOST_LOOKED_AT, is_all=True)):
        if number >= FEW:
            break
        click.echo(f"# {learning.as_line(found)}")


@watch.command("test")
@click.argument("rules", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", default="", help="The watch whose rules are tried; else the first.")
def test(rules: Path, file: Path, name: str) -> None:
    """Run the rules of the settings RULES over the saved log FILE, and show what would be told."""
    _ascii_safe()
    table = next((one for one in load(rules, is_trial=True).watches if name in ("", one.name)), None)
    if table is None:
        raise Failure(f"{rules} has no watch {name}")
    count = 0
    try:
        for found in learning.records(table, file):
            count += 1
            mark = learning.measured(table, found)
            click.echo(f"{learning.as_line(found)}{f'  [{mark}]' if mark else ''}")
    except OSError as error:
        raise Failure(f"{file}: {error.strerror}") from None
    click.echo(f"{count} {'record' if count == 1 else 'records'} would be told, before repeats and rates")


def _ascii_safe() -> None:
    """A console that can't show a letter shows its number."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


commands = {"watch": watch}
