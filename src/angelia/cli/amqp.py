"""amqp: exchanges and accounts on a broker."""

import asyncio
import secrets

import click

from angelia.cli.amqp_learn import learn
from angelia.cli.amqp_setup import Management, Place, Wanted, set_up, verify
from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.settings import load

_LOCAL = "amqp://guest:guest@127.0.0.1:5672/bonfire"


@click.group()
def amqp() -> None:
    """Exchanges and accounts on a broker."""


@amqp.command()
@click.option(
    "--amqp", "url", envvar="ANGELIA_AMQP_URL", default="", help=f"amqp://administrator:password@host:5672/vhost; else broker.url, else {_LOCAL}."
)
@click.option("--management", default="", help="URL of its management API; else port 15672 of the same host, with amqps 15671.")
@click.option("--reader", default="eventReader", show_default=True, help="Account that all readers share.")
@click.option("--reader-password", envvar="ANGELIA_READER_PASSWORD", default="", help="Its password; one is made where none is given.")
@click.option("--verify-only", is_flag=True, help="Change nothing; only try what the account can do.")
@click.pass_obj
def setup(reach: Reach, url: str, management: str, reader: str, reader_password: str, verify_only: bool) -> None:
    """Declare the exchanges of transitions and the account that may only read, and try that it can't do more."""
    settings = load(reach.config, overrides=reach.overrides())
    names = settings.transitions
    if not names.experiments:
        raise Failure("transitions.experiments names no exchange", 2)
    if verify_only and not reader_password:
        raise Failure(f"to try what {reader} can do needs its password: --reader-password", 2)
    kinds = {name: settings.exchanges[name].kind for name in (names.experiments, names.usage) if name}
    wanted = Wanted(kinds, names.experiments, reader, reader_password or secrets.token_urlsafe(18))
    place = Place.parse(url or settings.broker.url or _LOCAL, management)
    with Management(place) as api:
        steps = [] if verify_only else list(set_up(api, place, wanted))
        checks = asyncio.run(verify(api, place, wanted))
    faults = [f"{check.what}: {check.fault}" for check in checks if check.fault]
    if reach.as_json:
        shown = {"steps": steps, "checks": [{"what": check.what, "fault": check.fault} for check in checks], "faults": faults}
        reach.show(shown if reader_password else shown | {"password": wanted.password})
    else:
        for line in (*steps, *(f"{'FAULT' if check.fault else 'ok'}: {check.what}" for check in checks)):
            click.echo(line)
        if not reader_password:
            click.echo(f"password of {reader}, shown this once: {wanted.password}")
    if faults:
        raise Failure("; ".join(faults))


amqp.add_command(learn)

commands = {"amqp": amqp}
