"""The readers of docs/how-to/transitions.md, each as it stands there, with the account that `angelia amqp setup` makes on a real RabbitMQ."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import aio_pika
import httpx2
import pytest

from angelia.cli.amqp_setup import Management, Place, Wanted, set_up
from angelia.flow.clock import now
from angelia.front import app_of
from angelia.house import House
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.peers.process import ENVIRONMENT, Server, missing
from angelia_testing.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "transitions.md"
BLOCKS = {kind: code for kind, code in re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL) if "EXPERIMENT_KEY" in code}
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("amqp-client", "slf4j-api", "slf4j-nop"))
PATH = "/experiments/2946"
LIFE = [
    {"timestamp": 1_370_860_773 + number, "objectType": "experiment", "eventType": "state", "objectId": PATH, "source": "res-mng", "state": state}
    for number, state in enumerate(("running", "stopped", "terminated"))
]


def command(kind, folder):
    match kind:
        case "sh":
            return ["sh", "-c", BLOCKS[kind]], shutil.which("amqp-consume")
        case "python":
            return [sys.executable, "-c", BLOCKS[kind]], True
        case "ruby":
            has_bunny = shutil.which("ruby") and not subprocess.run(["ruby", "-e", "require 'bunny'"], check=False, capture_output=True).returncode
            return ["ruby", "-e", BLOCKS[kind]], has_bunny
        case "java":
            (folder / "Watch.java").write_text(BLOCKS[kind])
            return ["java", "-cp", JARS, "Watch.java"], shutil.which("javac") and Path(JARS.split(":", maxsplit=1)[0]).exists()
    raise ValueError(kind)


def test_the_page_has_a_reader_in_each_language():
    assert set(BLOCKS) == {"sh", "python", "ruby", "java"}


@pytest.fixture
async def hub(vhost, tmp_path):
    """A hub that publishes on the real broker, and the URL of readers."""
    place = Place.parse(vhost.url, f"http://127.0.0.1:{vhost.node.management}")
    wanted = Wanted({"experiments": "direct", "resourceUsage": "topic"}, "experiments", f"reader-{vhost.name}", "secret word")
    with Management(place) as management:
        list(set_up(management, place, wanted))
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "broker": {"url": vhost.url}})
    await asyncio.to_thread(upgrade, settings.database)
    async with House.open(settings) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:
            yield house, api, place.url(wanted.reader, wanted.password)
    vhost.node.api("DELETE", f"/users/{quote(wanted.reader)}")


async def test_only_its_key_opens_an_experiment(hub):
    """Nothing that a reader could guess, the hub's own way to its memory included, brings events of others."""
    house, api, url = hub
    head = await house.broker.head("experiments")
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("", exclusive=True)
        for guess in ("#", "*", "angelia.experiments", "experiments", PATH):
            await queue.bind("experiments", guess)
        (await api.post("/api/v1/transitions", json=LIFE[0])).raise_for_status()
        assert await _crier(house).turn(now()) == 1
        assert [event.properties["message_type"] for event in (await house.broker.replay("experiments", head)).events] == [
            "transition.simple", "transition.detailed"
        ]  # fmt: skip
        assert await queue.get(fail=False, no_ack=True) is None


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["sh", "python", "ruby", "java"])
async def test_a_reader_sees_the_life_of_its_experiment(hub, vhost, tmp_path, kind):
    house, api, url = hub
    argv, is_there = command(kind, tmp_path)
    if not is_there:
        missing(f"the client for {kind}")
    create = LIFE[0] | {"eventType": "create", "state": "ready", "timestamp": 1_370_860_700}
    key = (await api.post("/api/v1/transitions", json=create)).json()["key"]
    other = await api.post("/api/v1/transitions", json=create | {"objectId": "/experiments/1"})
    assert other.status_code == 201
    crier = _crier(house)
    assert await crier.turn(now()) == 2
    reader = Server(f"reader-{kind}", argv, [], tmp_path, ENVIRONMENT | {"AMQP_URL": url, "EXPERIMENT_KEY": key})
    try:
        await asyncio.to_thread(wait_until, lambda: _has_reader(vhost), 60, what=reader.log)
        (await api.post("/api/v1/transitions", json=[*LIFE, LIFE[0] | {"objectId": "/experiments/1"}])).raise_for_status()
        assert await crier.turn(now()) == 4
        await asyncio.to_thread(wait_until, lambda: "terminated" in reader.log(), 30, what=reader.log)
    except AssertionError as error:
        raise AssertionError(f"{error}: {reader.log()}") from None
    finally:
        reader.stop(2)
    said = reader.log()
    assert [said.index(state) for state in ("running", "stopped", "terminated")] == sorted(
        said.index(state) for state in ("running", "stopped", "terminated")
    )
    assert PATH in said
    assert "/experiments/1" not in said.replace(PATH, "")


def _crier(house):
    return next(stage for stage in house.stages if stage.name == "crier")


def _has_reader(vhost):
    found = vhost.node.api("GET", f"/bindings/{vhost.name}")
    consumed = vhost.node.api("GET", f"/consumers/{vhost.name}")
    mine = {entry["queue"]["name"] for entry in consumed}
    return any(entry["source"] == "experiments" and entry["destination"] in mine and entry["destination"].startswith("amq.gen") for entry in found)
