"""How many webhooks a second go from due to settled in one process, at what cost; and what one dead receiver among 100 does to the others.

`python benchmarks/webhooks.py [backlog] [dead] [profile]`. SQLite with flushing on; the receivers are another process, 127.0.0.1 to 127.0.0.100.
"""

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop

from angelia import telemetry
from angelia.house import House
from angelia.inlet import Draft
from angelia.model.delivery import State
from angelia.model.person import Address, AddressState, Person
from angelia.serving import sweep_seldom
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.peers.process import Server, free_port, scratch

COUNT, PEOPLE, RATE, SECONDS = 6_000, 100, 100, 20
ENDED = {"channel": "webhook", "result": "delivered", "reason": "chosen"}
YES = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Receiver(asyncio.Protocol):
    """Reads whole requests and says yes; never, on 127.0.0.100 while `is_mute`."""

    is_mute = False

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""
        self.is_dead = self.is_mute and transport.get_extra_info("sockname")[0] == "127.0.0.100"

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while not self.is_dead and (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = int(self.buffer[:end].lower().split(b"content-length:")[1].split(b"\r\n")[0])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(YES)


async def receive(port: int, *, is_mute: bool) -> None:
    Receiver.is_mute = is_mute
    server = await asyncio.get_running_loop().create_server(Receiver, "0.0.0.0", port)  # all of 127.0.0.0/8
    await server.serve_forever()


@asynccontextmanager
async def filled(*, is_mute: bool) -> Any:
    """A house with 100 people, each with a receiver of her own."""
    telemetry.configure_logs("json", "error")
    port = free_port()
    kind = "--receive-but-one" if is_mute else "--receive"
    receiver = Server("receiver", [sys.executable, str(Path(__file__).resolve()), kind, str(port)], [port], scratch("receiver"))
    with tempfile.TemporaryDirectory() as folder:
        overrides = {"house": {"data_dir": folder}, "agents": {"webhook": {"allow_http": True}}, "outbound": {"allow": "127.0.0.0/8"}}
        settings = load(environment={}, overrides=overrides)
        await asyncio.to_thread(upgrade, settings.database)
        try:
            async with House.open(settings) as house:
                sweep_seldom()  # as where it serves
                await house.store.put_site({"preferences": {"*": {"webhook": "now"}}, "hourly_cap": 100_000})
                for number in range(1, PEOPLE + 1):
                    person = await house.store.put_person(Person(person_id=0, login=f"p{number}", time_zone="Europe/Berlin"))
                    await house.store.add_address(
                        Address(
                            address_id=0,
                            person_id=person.person_id,
                            agent="webhook",
                            value=f"http://127.0.0.{number}:{port}/hook",
                            state=AddressState.OK,
                            is_default=True,
                        )
                    )
                await house.refresh()
                yield house
        finally:
            receiver.stop()


def draft(number: int) -> Draft:
    text = (
        f'{{"type": "obs.build.fail", "to": [{{"id": "p{number % PEOPLE + 1}"}}], "subject": "okular {number} failed", "object": "KDE/okular",'
        f' "body": "{"ld: cannot find -lpoppler " * 10}", "params": {{"arch": "x86_64"}}}}'
    )
    return Draft("obs.build.fail", text)


async def backlog(*, is_profiled: bool) -> None:
    async with filled(is_mute=False) as house:
        await house.intake.accept("ci", [draft(number) for number in range(COUNT)])
        while await house.stages[0].turn(datetime.now(UTC)):
            pass
        assert (await house.store.conservation())[State.DUE] == COUNT
        profile = cProfile.Profile()
        began, used = time.perf_counter(), time.process_time()
        if is_profiled:
            profile.enable()
        working = asyncio.create_task(house.work())
        # The metric, not the store: to count its rows all the time took a tenth of the processor that was measured.
        while (telemetry.registry.get_sample_value("angelia_deliveries_total", ENDED) or 0) < COUNT:
            await asyncio.sleep(0.05)
        while (await house.store.conservation()).get(State.DELIVERED, 0) < COUNT:
            await asyncio.sleep(0.01)
        profile.disable()
        took, used = time.perf_counter() - began, time.process_time() - used
        house.stop()
        await working
        print("| from due to settled | webhooks/s | aim | us of processor each |\n|---|---|---|---|")
        print(f"| {COUNT:,} to {PEOPLE} receivers | {COUNT / took:,.0f} | 3,000 | {used / COUNT * 1e6:.0f} |\n", flush=True)
        if is_profiled:
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)


async def steady(*, is_mute: bool) -> float:
    """Milliseconds from due to settled that 99 of 100 letters to the others need at most."""
    async with filled(is_mute=is_mute) as house:
        working = asyncio.create_task(house.work())
        for second in range(SECONDS * 10):
            began = time.perf_counter()
            await house.intake.accept("ci", [draft(second * RATE // 10 + number) for number in range(RATE // 10)])
            await asyncio.sleep(max(0.0, 0.1 - (time.perf_counter() - began)))
        others = RATE * SECONDS * (PEOPLE - 1) // PEOPLE
        while (await house.store.conservation()).get(State.DELIVERED, 0) < others:
            await asyncio.sleep(0.05)
        found = await house.store.list_deliveries(states=[State.DELIVERED], agent="webhook", limit=COUNT)
        house.stop()
        await working
        took = sorted((one.ended_at - one.due_at).total_seconds() * 1e3 for one in found)
        what = "one of them is dead" if is_mute else "all answer"
        print(f"| {what} | {median(took):.0f} | {quantiles(took, n=100)[98]:.0f} | {len(took)} |", flush=True)
        return quantiles(took, n=100)[98]


async def dead() -> None:
    print(f"| {PEOPLE} receivers, {RATE}/s for {SECONDS} s | p50 ms | p99 ms | letters |\n|---|---|---|---|", flush=True)
    alive, one_dead = await steady(is_mute=False), await steady(is_mute=True)
    print(f"\nWith a dead one the p99 of the others is {one_dead / alive:.1f} x; aim: 2 x or less.", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] in (["--receive"], ["--receive-but-one"]):
        uvloop.run(receive(int(sys.argv[2]), is_mute=sys.argv[1] == "--receive-but-one"))
    else:
        if "dead" not in sys.argv:
            uvloop.run(backlog(is_profiled="profile" in sys.argv))
        if "backlog" not in sys.argv and "profile" not in sys.argv:
            uvloop.run(dead())
