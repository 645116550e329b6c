"""A house that runs until it is told to stop: its servers, its stages, and the signals."""

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Iterable

import uvicorn

from angelia import supervised, telemetry, tracing
from angelia.flow.first_site import begin_site
from angelia.front import Front
from angelia.house import House
from angelia.model.errors import BadSettings
from angelia.settings import Settings, WebSettings
from angelia.store import InboxQuery
from angelia.wire.asgi import App
from angelia.wire.connection import Limits, protocol
from angelia.wire.express import Express
from angelia.wire.server import Server
from angelia.wire.socket import Socket

FRAMEWORK_AFTER = 5.0
"""Seconds after the start in which what came meanwhile has gone first."""
MOST_INBOXES = 200
LONGEST_READ = 3.0
"""Seconds for which inboxes are read ahead after a start; the rest is read when somebody looks."""
SWEEPS = 10_000, 10, 10
"""Objects made until rubbish is looked for among the youngest, and how many such looks until one at the older. Python's own 700 was found to
take two fifths of the time of a batch: all that a batch makes is alive until it is stored, so each look finds nothing, and is paid for.
"""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


async def serve(settings: Settings, *, roles: Iterable[str] = ("web", "work"), ready: Callable[[House], None] | None = None) -> None:
    """Run until SIGTERM or SIGINT; exits within ten seconds, with nothing lost."""
    web = settings.web
    _check_host(web)
    if settings.telemetry.otlp_endpoint:
        tracing.start(settings.telemetry.otlp_endpoint)
    async with House.open(settings) as house:
        if await begin_site(house.store, house.now()):
            await house.refresh()
        loop = asyncio.get_running_loop()
        tasks: list[asyncio.Task[None]] = []
        later: list[asyncio.Task[None]] = []
        front = Front(house) if "web" in roles else None
        servers = _servers(front, settings) if front is not None else []

        def stop() -> None:
            house.stop()
            for server in servers:
                server.should_exit = True

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        for server in servers:
            tasks.append(await _opened(server))
        if "work" in roles:
            tasks.append(asyncio.create_task(house.work()))
        sweep_seldom()
        if ready is not None:
            ready(house)
        telemetry.log.info("started", roles=list(roles), port=web.port)
        supervised.tell(supervised.READY)
        alive = asyncio.create_task(supervised.keep_telling())
        soon = loop.call_later(FRAMEWORK_AFTER, lambda: later.append(asyncio.create_task(_make_ready(front, house))))
        try:
            await asyncio.gather(*tasks)
        finally:
            supervised.tell(supervised.STOPPING)
            soon.cancel()
            alive.cancel()
            stop()
            await _given_up(later)
            # Where one of them broke, the others end as on a signal: what is being answered is answered.
            await asyncio.gather(*tasks, return_exceptions=True)
            tracing.stop()
        telemetry.log.info("stopped")


async def check(settings: Settings) -> None:
    """BadSettings for what would stop a hub at its start. Makes all its parts; asks no server, and leaves no file."""
    _check_host(settings.web)
    async with House.unopened(settings) as house:
        Front(house).app()


def _check_host(web: WebSettings) -> None:
    if web.host not in _LOOPBACK and not web.allow_public_bind:
        raise BadSettings(f"refusing to listen on {web.host} without a proxy in front: set web.allow_public_bind to say that there is one")


async def _given_up(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _opened(server: Server) -> asyncio.Task[None]:
    """Once it listens; OSError where it can't, before anything else is begun."""
    task = asyncio.create_task(server.serve())
    while not server.started and not task.done():
        await asyncio.sleep(0.005)
    if task.done():
        await task
    return task


def sweep_seldom() -> None:
    """What is there now stays for good: it is not looked through for rubbish any more, and what comes later more seldom."""
    gc.freeze()
    gc.set_threshold(*SWEEPS)


async def _make_ready(front: Front | None, house: House) -> None:
    """What the first who comes would otherwise wait for."""
    if front is not None:
        await front.load()
        await read_inboxes(house)
    sweep_seldom()


async def read_inboxes(house: House) -> None:
    """Those of the people who were here last, one after the other, so that their first look after a start is as quick as the next."""
    began = time.monotonic()
    for person_id in await house.store.last_here(house.now(), MOST_INBOXES):
        await house.store.inbox_counts(person_id, InboxQuery())
        if time.monotonic() - began > LONGEST_READ:
            return


def _servers(front: Front, settings: Settings) -> list[Server]:
    """One for everything, with the operator's door, and one for the analysis service where it has a port of its own."""
    main = Server(_uvicorn(front.app(), settings.web.port, settings, front.express()), front.door)
    if not settings.oda.port:
        return [main]
    return [main, Server(_uvicorn(front.analyses(), settings.oda.port, settings))]


def _uvicorn(app: App, port: int, settings: Settings, express: Express | None = None) -> uvicorn.Config:
    web = settings.web
    limits = Limits(web.head_timeout, web.body_timeout, web.answer_timeout, settings.hosts)
    return uvicorn.Config(
        app,
        host=web.host,
        port=port,
        loop="uvloop",
        http=protocol(limits, express),
        ws=Socket,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=3,
        backlog=4096,
    )
