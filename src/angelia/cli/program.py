"""The program: which commands there are, what their errors exit with. Nothing heavy is imported before a command is called."""

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import angelia
from angelia.cli.output import Refused, Session, warn
from angelia.model.errors import AngeliaError

OK, FAILED, USAGE, REFUSED = 0, 1, 2, 3

COMMANDS = {
    "serve": ("serving:serve", "Run everything in one process."),
    "web": ("serving:web", "Run the API alone, beside `angelia work`."),
    "work": ("serving:work", "Run the stages alone, beside `angelia web`."),
    "send": ("sending:send", "Post a message; spool it where the hub is down."),
    "spool": ("sending:spool", "Messages that wait on this machine's disk."),
    "try": ("trying:attempt", "Run scenarios through the rules; no server, no database."),
    "explain": ("asking:explain", "Why somebody got a message, or did not."),
    "inbox": ("inbox:inbox", "Read and sort an inbox."),
    "prefs": ("prefs:prefs", "A person's wants as code."),
    "people": ("people:people", "Who can be told."),
    "address": ("people:address", "Where a person can be reached."),
    "group": ("people:group", "Named sets of people."),
    "relations": ("people:relations", "Who has which role on an object."),
    "type": ("site:type_", "Message types and what is said of them."),
    "source": ("site:source", "Systems that post, and their tokens."),
    "token": ("site:token", "A person's tokens for the API."),
    "feed": ("site:feed", "Feeds of an inbox."),
    "site": ("site:site", "The site's defaults, audiences, locks, schedules."),
    "template": ("site:template", "Texts per type, agent, form and language."),
    "deliveries": ("operations:deliveries", "What waits, went, or died; replay."),
    "agent": ("operations:agent", "Pause an agent, keep its backlog."),
    "parked": ("operations:parked", "Messages that planning could not get past."),
    "check": ("operations:check", "Integrity and the conservation sum."),
    "audit": ("operations:audit", "Who changed what."),
    "db": ("database:db", "The schema: upgrade, check, backup."),
    "config": ("config:config", "The settings: check, show."),
}
"""Command -> (`module:attribute` in this package, one line of help): so `--help` loads none of them."""


class LazyGroup(click.Group):
    """A click group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table: first what everybody needs."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"angelia.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(angelia.__version__, prog_name="angelia")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Settings file (TOML).")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), help="Where everything is kept.")
@click.option("--url", envvar="ANGELIA_URL", help="A hub to talk to; without it the local store is used.")
@click.option("--as", "login", help="Act as this person (local store, or an admin's token); default: the token's own.")
@click.option("--json", "is_json", is_flag=True, help="One JSON value on standard output.")
@click.pass_context
def program(ctx: click.Context, config: Path | None, data_dir: Path | None, url: str | None, login: str | None, is_json: bool) -> None:
    """A hub for personal messages: each person is told by the means, at the time and in the form she chose.

    Exit status: 0 done, 1 error, 2 wrong usage, 3 refused by the hub. ANGELIA_TOKEN or ANGELIA_TOKEN_FILE holds the token for --url.
    """
    ctx.obj = Session(config=config, data_dir=data_dir, url=url, login=login, is_json=is_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status. Errors are one line on standard error."""
    try:
        status = program.main(args=None if arguments is None else list(arguments), prog_name="angelia", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return USAGE
    except click.ClickException as error:
        warn(error.format_message())
        return FAILED
    except click.Abort:
        warn("stopped")
        return FAILED
    except Refused as error:
        warn(str(error))
        return REFUSED
    except AngeliaError as error:
        warn(f"{field}: {error}" if (field := getattr(error, "field", "")) else str(error))
        return FAILED
    except BrokenPipeError:
        # The reader has gone (`| head`); without this the interpreter would complain while it flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return _status(status)


def _status(result: Any) -> int:
    return result if isinstance(result, int) else OK
