"""config: the settings in force."""

import asyncio
import importlib
import json

import click

from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.model.errors import AngeliaError, BadSettings
from angelia.settings import described, load


@click.group()
def config() -> None:
    """Settings."""


@config.command()
@click.pass_obj
def check(reach: Reach) -> None:
    """Are they good? What a hub would refuse at its start is told."""
    try:
        settings = load(reach.config, overrides=reach.overrides())
        # All of the house, which `show` need not wait for.
        asyncio.run(importlib.import_module("angelia.serving").check(settings))
    except (AngeliaError, OSError) as error:
        raise Failure(str(error)) from None
    click.echo("the settings are good")


@config.command()
@click.option("--secrets", is_flag=True, help="Show secrets, too.")
@click.pass_obj
def show(reach: Reach, secrets: bool) -> None:
    """Every setting in force."""
    try:
        settings = load(reach.config, overrides=reach.overrides())
    except BadSettings as error:
        raise Failure(str(error)) from None
    values = {name: value for name, value, _ in described(settings, is_redacted=not secrets)}
    if reach.as_json:
        click.echo(json.dumps(values))
        return
    for name, value in values.items():
        click.echo(f"{name} = {json.dumps(value)}")


commands = {"config": config}
