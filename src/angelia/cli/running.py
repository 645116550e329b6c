"""serve, web, work: run the hub."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

import click
import uvloop

from angelia import telemetry
from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.house import House
from angelia.model.errors import AngeliaError, SchemaMismatch
from angelia.sample import KEPT, fill, hello, with_analyses
from angelia.serving import serve
from angelia.settings import HouseSettings, Settings, load
from angelia.stores.sql import upgrade


def settings_of(reach: Reach, data_dir: str, host: str, port: int | None) -> Settings:
    """The settings of a hub that is started with these options."""
    settings = load(reach.config, overrides=reach.overrides(house={"data_dir": data_dir}, web={"host": host, "port": port}))
    if not port or settings.house.base_url != HouseSettings().base_url:
        return settings
    # Nobody has said how people reach it: then by the port that it is given here.
    return replace(settings, house=replace(settings.house, base_url=f"http://127.0.0.1:{port}"))


def _run(settings: Settings, roles: tuple[str, ...], *, is_sample: bool = False) -> None:
    telemetry.configure_logs(settings.log.form, settings.log.level)
    try:
        if is_sample:
            _check_sample(settings.data_dir)
        if not settings.house.database:
            # One process on its own file may bring it up to date; a shared database is upgraded by `angelia db upgrade`.
            _make_folder(settings.data_dir)
            upgrade(settings.database)
        if is_sample:
            settings = with_analyses(settings)
            asyncio.run(fill(settings))
        uvloop.run(serve(settings, roles=roles, ready=_greet if is_sample else None))
    except SchemaMismatch as error:
        raise Failure(str(error)) from None
    except (AngeliaError, OSError) as error:
        raise Failure(str(error)) from None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise Failure(f"{folder} can't be the data folder: {error.strerror}") from None


def _check_sample(folder: Path) -> None:
    """The sample leaves tokens, mails and a database: not among other things. Settings may lie there, and what begins with a dot."""
    if (folder / KEPT).exists() or not folder.exists():
        return
    others = [path.name for path in folder.iterdir() if path.suffix != ".toml" and not path.name.startswith(".")]
    if others:
        raise Failure(f"--sample makes a site in an empty folder, and {folder} holds {min(others)}: say another with --data-dir", 2)


def _greet(house: House) -> None:
    click.echo(hello(house), err=True)
    sys.stderr.flush()


_data_dir = click.option("--data-dir", default="", help="Folder for everything that the hub writes.")
_host = click.option("--host", default="", help="Address to listen on.")
_port = click.option("--port", type=int, default=None, help="Port to listen on.")


@click.command("serve")
@_data_dir
@_host
@_port
@click.option("--sample", is_flag=True, help="In an empty folder, make a site with alice, bob, carol and a source to play with.")
@click.pass_obj
def serve_command(reach: Reach, data_dir: str, host: str, port: int | None, sample: bool) -> None:
    """Run everything in one process: HTTP and all stages."""
    _run(settings_of(reach, data_dir, host, port), ("web", "work"), is_sample=sample)


@click.command("web")
@_data_dir
@_host
@_port
@click.pass_obj
def web_command(reach: Reach, data_dir: str, host: str, port: int | None) -> None:
    """Run the HTTP side; stages run elsewhere on the same database."""
    _run(settings_of(reach, data_dir, host, port), ("web",))


@click.command("work")
@_data_dir
@click.pass_obj
def work_command(reach: Reach, data_dir: str) -> None:
    """Run the stages; as many of these as you like share one PostgreSQL database."""
    _run(settings_of(reach, data_dir, "", None), ("work",))


commands = {"serve": serve_command, "web": web_command, "work": work_command}
