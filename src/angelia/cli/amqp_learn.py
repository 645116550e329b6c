"""amqp learn: what a binding would produce from live traffic."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import click

from angelia import telemetry
from angelia.cli.amqp_setup import Place
from angelia.cli.inside import must_be_there
from angelia.cli.outcome import Failure
from angelia.cli.reach import Reach
from angelia.inlets.learning import Learner, live_events, own_events
from angelia.inlets.mapping import load_mapping
from angelia.model.event import Event
from angelia.plugins import part
from angelia.settings import Settings, load


@click.command()
@click.argument("exchange")
@click.argument("key", default="#")
@click.option("--mapping", default="", help="amaretti, bonfire, fedora, obs, openqa, or a .toml file; else bodies are messages already.")
@click.option("--amqp", "url", envvar="ANGELIA_AMQP_URL", default="", help="amqp://user:password@host:5672/vhost; else broker.url, or the hub's own.")
@click.option("--count", type=click.IntRange(min=1), default=20, show_default=True, help="End after so many events.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="End after so long.")
@click.pass_obj
def learn(reach: Reach, exchange: str, key: str, mapping: str, url: str, count: int, seconds: float) -> None:
    """Show what events of EXCHANGE with KEY (a pattern) would become, one JSON object a line. Nothing is kept, and no queue is touched."""
    telemetry.configure_logs("text", "critical")  # what is wrong is said once, by us
    settings = load(reach.config, overrides=reach.overrides())
    url = url or settings.broker.url
    if url:
        Place.parse(url)
    else:
        must_be_there(settings)
    learner = Learner(load_mapping(mapping) if mapping else None)
    where = "of the broker" if url else "of the hub's own"
    click.echo(f"{exchange} {where}, with the key {key}: until {count} events came by, or for {seconds:g} s", err=True)
    seen = asyncio.run(_learn(settings, learner, url, exchange, key, count, seconds))
    if not seen:
        raise Failure(f"no event came within {seconds:g} s")


async def _learn(settings: Settings, learner: Learner, url: str, exchange: str, key: str, count: int, seconds: float) -> int:
    seen = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds), contextlib.AsyncExitStack() as stack:
            events: AsyncIterator[Event]
            if url:
                events = live_events(url, exchange, key)
            else:
                house = await stack.enter_async_context(part("angelia.house:House").open(settings))
                events = own_events(house.broker, exchange, key)
            async for event in events:
                click.echo(json.dumps(learner.learnt(event), ensure_ascii=False))
                seen += 1
                if seen >= count:
                    break
    return seen
