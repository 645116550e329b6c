"""amqp learn: what a binding would produce from live traffic."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import click

from angelia import telemetry
from angelia.cli.reach import Failure, Reach
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
@click.option("--count", default=20, show_default=True, help="End after so many events.")
@click.option("--seconds", default=60.0, show_default=True, help="End after so long.")
@click.pass_obj
def learn(reach: Reach, exchange: str, key: str, mapping: str, url: str, count: int, seconds: float) -> None:
    """Show what events of EXCHANGE with KEY (a pattern) would become, one JSON object a line. Nothing is kept, and no queue is touched."""
    telemetry.configure_logs("text", "error")
    settings = load(reach.config, overrides=reach.overrides())
    learner = Learner(load_mapping(mapping) if mapping else None)
    seen = asyncio.run(_learn(settings, learner, url or settings.broker.url, exchange, key, count, seconds))
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
