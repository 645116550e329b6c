"""db: the database itself; needs no running hub."""

import asyncio
import tempfile
from pathlib import Path

import click
from click.core import ParameterSource

from angelia.cli.inside import must_be_there
from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.model.errors import AngeliaError
from angelia.settings import Settings, load
from angelia.stores.sql import open_store, upgrade


def _settings(reach: Reach) -> Settings:
    return load(reach.config, overrides=reach.overrides())


def _made(reach: Reach) -> str:
    settings = _settings(reach)
    must_be_there(settings)
    return settings.database


@click.group()
@click.pass_context
def db(context: click.Context) -> None:
    """The database."""
    if context.find_root().get_parameter_source("url") is ParameterSource.COMMANDLINE:
        raise Failure("db works on the database itself, that of --data-dir or --config: it takes no --url", 2)


@db.command("upgrade")
@click.pass_obj
def upgrade_command(reach: Reach) -> None:
    """Bring the schema to this version; creates it in an empty database."""
    try:
        upgrade(_settings(reach).database)
    except (AngeliaError, OSError) as error:
        raise Failure(str(error)) from None
    click.echo("the schema is up to date")


async def _check(database: str) -> list[str]:
    store = await open_store(database)
    try:
        return await store.check()
    finally:
        await store.close()


@db.command("check")
@click.pass_obj
def check_command(reach: Reach) -> None:
    """Schema, integrity, conservation."""
    try:
        faults = asyncio.run(_check(_made(reach)))
    except (AngeliaError, OSError) as error:
        raise Failure(str(error)) from None
    for fault in faults:
        click.echo(fault, err=True)
    if faults:
        raise Failure(f"{len(faults)} faults")
    click.echo("all is well")


async def _backup(database: str, path: str) -> None:
    store = await open_store(database)
    try:
        await store.backup(path)
    finally:
        await store.close()


@db.command("backup")
@click.argument("path")
@click.pass_obj
def backup_command(reach: Reach, path: str) -> None:
    """A consistent copy into the new file PATH, also while the hub runs."""
    if not path:
        raise Failure("say the file for the backup", 2)
    database = _made(reach)
    try:
        with tempfile.TemporaryFile(dir=Path(path).parent):  # what the database itself says of a folder names no reason
            pass
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}") from None
    try:
        asyncio.run(_backup(database, path))
    except (AngeliaError, OSError) as error:
        raise Failure(str(error)) from None
    click.echo(f"written to {path}")


commands = {"db": db}
