"""amqp: exchanges and accounts on a broker."""

import click

from angelia.cli.amqp_learn import learn


@click.group()
def amqp() -> None:
    """Exchanges and accounts on a broker."""


amqp.add_command(learn)

commands = {"amqp": amqp}
