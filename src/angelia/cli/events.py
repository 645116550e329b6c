"""event: publish on an exchange. exchange: which there are, and who follows them."""

import json
from typing import Any

import click

from angelia.cli.reach import Reach, nested_too_deeply, part, text_of


@click.command()
@click.argument("exchange")
@click.argument("key")
@click.argument("body", default="null")
@click.pass_obj
def event(reach: Reach, exchange: str, key: str, body: str) -> None:
    """Publish an event on EXCHANGE with the routing KEY. BODY is JSON, or else a plain text; - reads standard input."""
    text = text_of("-") if body == "-" else body
    form: dict[str, Any] = {"key": key}
    try:
        form["body"] = json.loads(text)
    except ValueError:
        form["text"] = text
    except RecursionError:
        raise nested_too_deeply() from None
    reach.show(reach.call("POST", f"/api/v1/events/{part(exchange)}", json=form))


@click.group()
def exchange() -> None:
    """Exchanges, and who follows them live."""


@exchange.command(name="list")
@click.pass_obj
def list_(reach: Reach) -> None:
    """All, with how many follow each in the process that answers, and what is wrong with it."""
    reach.show(reach.call("GET", "/api/v1/exchanges"), "name", "kind", "access", "followers", "fault")


@exchange.command()
@click.argument("name")
@click.pass_obj
def show(reach: Reach, name: str) -> None:
    """One, with its newest position and who follows it: name, keys, and whether it lags behind."""
    found = reach.call("GET", f"/api/v1/exchanges/{part(name)}")
    if not reach.as_json:
        reach.show({name: value for name, value in found.items() if name != "items"})
        click.echo("")
    reach.show(found, "name", "keys", "is_behind")


commands = {"event": event, "exchange": exchange}
