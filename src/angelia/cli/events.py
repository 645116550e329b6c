"""event: publish on an exchange."""

import json
from typing import Any
from urllib.parse import quote

import click

from angelia.cli.reach import Reach, text_of


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
    reach.show(reach.call("POST", f"/api/v1/events/{quote(exchange, safe='')}", json=form))


commands = {"event": event}
