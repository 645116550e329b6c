"""completion: what a shell needs to complete our commands."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_ANGELIA_COMPLETE"
"""How a shell asks us for the words that fit; click's own name for a program called angelia."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion for SHELL; put it where the shell reads it: eval "$(angelia completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "angelia", VARIABLE).source())


commands = {"completion": completion}
