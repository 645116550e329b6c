"""How long does it take from the answer "accepted" until an agent has the message? A whole `serve` process on SQLite, idle and under load.

The agent is one of the site's own, registered by an entry point like any other; it writes down when a letter reaches it. Client and
server read one monotonic clock. The reference is the client's own request: one message accepted, as the client sees it.
"""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from angelia_testing.peers.process import Server, free_port

IDLE, LOADED_SECONDS, RATE, PER_REQUEST = 300, 20, 1_000, 5
PEOPLE = 50
AGENT = '''
"""An agent that writes down when each letter reached it."""

import time

from angelia.model.delivery import Sent


class StampingAgent:
    name = "stamp"
    is_pull = False
    is_interruptive = False
    concurrency = 20
    Settings = None

    def __init__(self):
        self._file = open({path!r}, "w", buffering=1)

    def check_address(self, value):
        return value

    def destination(self, letter):
        return "here"

    async def deliver(self, letter):
        self._file.write(f"{{letter.message.subject}} {{time.monotonic_ns()}}\\n")
        return Sent()

    async def close(self):
        self._file.close()
'''


def install(folder: Path) -> dict[str, str]:
    """The agent as an installed distribution, found on PYTHONPATH; the environment to run with."""
    (folder / "stamping.py").write_text(AGENT.format(path=str(folder / "stamps")))
    about = folder / "stamping-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stamping\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[angelia.agents]\nstamp = stamping:StampingAgent\n")
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
    return os.environ | {"PYTHONPATH": path, "ANGELIA__WEB__OPEN_POSTING": "true"}


class Connection:
    """One HTTP connection that is kept."""

    @classmethod
    async def open(cls, port: int) -> "Connection":
        made = cls()
        made.reader, made.writer = await asyncio.open_connection("127.0.0.1", port)
        return made

    async def post(self, messages: list[dict[str, object]]) -> int:
        """Send; when the answer was there, in monotonic nanoseconds."""
        body = json.dumps(messages[0] if len(messages) == 1 else messages).encode()
        head = b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.writer.write(head + body)
        answer = await self.reader.readuntil(b"\r\n\r\n")
        assert b" 201 " in answer[:20], answer
        await self.reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        return time.monotonic_ns()


def message(number: int) -> dict[str, object]:
    """About 500 bytes for one person."""
    return {"type": "obs.build.fail", "to": [f"p{number % PEOPLE}"], "subject": str(number), "body": "x" * 330, "object": "KDE/okular"}


async def idle(port: int) -> tuple[dict[int, int], list[float]]:
    """One message at a time, with a rest between: when each was accepted, and how long each request took."""
    connection, accepted, took = await Connection.open(port), {}, []
    for number in range(IDLE):
        began = time.monotonic_ns()
        accepted[number] = await connection.post([message(number)])
        took.append((accepted[number] - began) / 1e6)
        await asyncio.sleep(0.03)
    return accepted, took


async def loaded(port: int) -> tuple[dict[int, int], list[float]]:
    """A steady thousand a second, in requests of five that don't wait for each other."""
    free: asyncio.Queue[Connection] = asyncio.Queue()  # in turns: one that rests for 20 s is closed
    for _ in range(64):
        free.put_nowait(await Connection.open(port))
    accepted: dict[int, int] = {}
    took: list[float] = []
    tasks = set()

    async def one(numbers: range) -> None:
        began = time.monotonic_ns()
        connection = await free.get()
        at = await connection.post([message(number) for number in numbers])
        free.put_nowait(connection)
        accepted.update(dict.fromkeys(numbers, at))
        took.append((at - began) / 1e6)

    began = time.monotonic()
    for start in range(IDLE, IDLE + RATE * LOADED_SECONDS, PER_REQUEST):
        await asyncio.sleep(max(0.0, began + (start - IDLE) / RATE - time.monotonic()))
        task = asyncio.create_task(one(range(start, start + PER_REQUEST)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return accepted, took


def arrived(path: Path, accepted: dict[int, int]) -> list[float]:
    """Milliseconds from the answer to the agent, once all have come. What was there before its answer counts as 0."""
    deadline = time.monotonic() + 30
    while True:
        stamps = {int(line.split()[0]): int(line.split()[1]) for line in path.read_text().splitlines() if line.count(" ") == 1}
        if accepted.keys() <= stamps.keys():
            return [max(0, stamps[number] - at) / 1e6 for number, at in accepted.items()]
        assert time.monotonic() < deadline, f"{len(accepted.keys() - stamps.keys())} never came"
        time.sleep(0.1)


def prepare(folder: Path, env: dict[str, str]) -> None:
    """People with an address each, and a site that sends at once."""
    (folder / "setup.py").write_text(SETUP)
    subprocess.run([sys.executable, str(folder / "setup.py"), str(folder / "hub"), str(PEOPLE)], check=True, env=env)


SETUP = """
import asyncio, sys
from pathlib import Path
from angelia import telemetry
from angelia.house import House
from angelia.model.person import Address, AddressState, Person
from angelia.settings import load
from angelia.stores.sql import upgrade

async def main():
    telemetry.configure_logs("json", "error")
    Path(sys.argv[1]).mkdir()
    settings = load(overrides={"house": {"data_dir": sys.argv[1]}})
    await asyncio.to_thread(upgrade, settings.database)
    async with House.open(settings) as house:
        await house.store.put_site({"preferences": {"*": {"stamp": "now", "web": "now"}}, "hourly_cap": 100_000})
        for number in range(int(sys.argv[2])):
            person = await house.store.put_person(Person(person_id=0, login=f"p{number}"))
            await house.store.add_address(
                Address(address_id=0, person_id=person.person_id, agent="stamp", value=f"p{number}", state=AddressState.OK, is_default=True)
            )

asyncio.run(main())
"""


def main() -> None:
    print("| what | p50 ms | p99 ms | largest ms | the request itself, p50 ms |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        env = install(folder)
        prepare(folder, env)
        argv = [sys.executable, "-m", "angelia", "serve", "--data-dir", str(folder / "hub"), "--port", str(port)]
        server = Server("angelia", argv, [port], folder, env=env)
        try:
            for what, scene in (("one at a time", idle), (f"{RATE:,} messages/s for {LOADED_SECONDS} s", loaded)):
                accepted, took = uvloop.run(scene(port))
                times = arrived(folder / "stamps", accepted)
                cuts = statistics.quantiles(times, n=100)
                print(
                    f"| accepted -> agent, {what} | {cuts[49]:.1f} | {cuts[98]:.1f} | {max(times):.0f} | {statistics.median(took):.1f} |", flush=True
                )
        finally:
            server.kill(signal.SIGTERM)
            server.stop()


if __name__ == "__main__":
    main()
