"""The program: a table of commands, each loaded when it is asked for, so that `--help` costs nothing."""

import gc
import importlib
import sys

import click
from click.shell_completion import CompletionItem

import angelia
from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.model.errors import AngeliaError

COMMANDS = {
    "serve": ("running", "Run everything in one process."),
    "web": ("running", "Run only the HTTP side."),
    "work": ("running", "Run only the stages."),
    "send": ("messages", "Send a message."),
    "event": ("events", "Publish an event on an exchange."),
    "exchange": ("events", "Exchanges: list, and who follows one."),
    "job": ("jobs", "Jobs of instruments: submit, list, show, wait, download, cancel, retry."),
    "amqp": ("amqp", "Exchanges and accounts on a broker."),
    "hook": ("hooks", "What a webhook would become."),
    "messages": ("messages", "Show messages."),
    "explain": ("messages", "Why somebody got a message, or not."),
    "try": ("trying", "Try scenarios of preferences without a hub."),
    "inbox": ("person", "Read an inbox."),
    "prefs": ("preferences", "Preferences as code: export, plan, apply."),
    "people": ("people", "People."),
    "address": ("people", "Addresses of a person."),
    "group": ("people", "Groups."),
    "relation": ("people", "Roles on objects."),
    "token": ("person", "Tokens of a person."),
    "feed": ("person", "Feeds of a person."),
    "expect": ("expecting", "What a person expects of sources, and whether they spoke."),
    "ping": ("pinging", "Say that all is well, or run a command and say what came of it."),
    "type": ("site", "Message types."),
    "source": ("site", "Sources and their tokens."),
    "site": ("site", "The site's defaults as code."),
    "template": ("site", "The site's own templates."),
    "delivery": ("operations", "Deliveries and dead letters."),
    "agent": ("operations", "Agents: list, pause, resume."),
    "parked": ("operations", "Messages that planning can't get past."),
    "check": ("operations", "Integrity and the conservation sum."),
    "audit": ("operations", "The audit log."),
    "db": ("database", "The database: upgrade, check, backup."),
    "config": ("configuration", "Settings: check, show."),
    "spool": ("messages", "Messages that wait because the hub was down."),
    "watch": ("watching", "Follow logs of instruments and report what rules find."),
    "completion": ("completion", "Completion for bash, zsh or fish."),
}


_NOT_ON_WINDOWS = frozenset({"fcntl", "grp", "pwd", "resource", "uvloop"})


class LazyGroup(click.Group):
    """Loads a command's module when it is named; lists all of them without loading any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """From its module."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"angelia.cli.{COMMANDS[cmd_name][0]}")
        except ModuleNotFoundError as error:
            if error.name not in _NOT_ON_WINDOWS:
                raise
            raise Failure(f"angelia {cmd_name} needs Linux or a system like it ({error.name}): on Windows there is angelia watch") from error
        command: click.Command = module.commands[cmd_name]
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names from the table: a shell waits for this at each press of Tab, so no module is loaded for it."""
        names = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(angelia.__version__, prog_name="angelia")
@click.option("--config", default="", help="Settings file (TOML).")
@click.option("--data-dir", default="", help="Folder for everything that the hub writes.")
@click.option("--url", envvar="ANGELIA_URL", default="", help="Talk to the hub there; else to the one in the data folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object.")
@click.pass_context
def program(context: click.Context, config: str, data_dir: str, url: str, as_json: bool) -> None:
    """Angelia: each person hears what concerns her, by the means, at the time and in the form she chose."""
    context.obj = Reach(config=config, data_dir=data_dir, url=url, as_json=as_json)


def main() -> None:
    """Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused."""
    # What is read at a start stays: to look for garbage in it again and again takes a tenth of the time.
    gc.set_threshold(50_000, 20, 100)
    try:
        program.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.exceptions.Abort:
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Failure as failure:
        click.echo(f"angelia: {failure}", err=True)
        sys.exit(failure.exit_code)
    except UnicodeError as error:
        # Words, files and variables are bytes, and not always text.
        click.echo(f"angelia: this is no text: {error}", err=True)
        sys.exit(2)
    except AngeliaError as error:
        click.echo(f"angelia: {error}", err=True)
        sys.exit(1)
