"""Events with the real program: published from a shell, followed by a running hub's inlet, learnt from live traffic."""

import asyncio
import json

import pytest

from angelia.cli.amqp_setup import Place
from angelia_testing import warm
from angelia_testing.peers.process import ENVIRONMENT
from angelia_testing.peers.rabbitmq import Wire

BUILD = {"project": "P", "package": "hello", "repository": "r", "arch": "x86_64"}


def angelia(folder, *arguments):
    return warm.run(["--data-dir", str(folder), *arguments], ENVIRONMENT)


@pytest.fixture
def folder(tmp_path):
    assert angelia(tmp_path, "db", "upgrade").returncode == 0
    return tmp_path


def learning(folder, *arguments):
    return asyncio.create_task(asyncio.to_thread(angelia, folder, "amqp", "learn", "--seconds", "40", *arguments))


async def fed(ending, publish):
    """Publish until it has seen enough: from outside nobody sees when it begins."""
    while not ending.done():
        await publish()
        await asyncio.wait([ending], timeout=0.3)
    done = ending.result()
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_learning_from_the_hubs_own_exchange(folder):
    learner = learning(folder, "events", "*.obs.#", "--mapping", "obs", "--count", "1")

    async def publish():
        made = await asyncio.to_thread(angelia, folder, "event", "events", "opensuse.obs.package.build_fail", json.dumps(BUILD))
        assert made.returncode == 0, made.stderr

    (shown,) = await fed(learner, publish)
    assert shown["key"] == "opensuse.obs.package.build_fail"
    assert shown["message"]["object"] == "obs:P/hello"


async def test_learning_from_a_broker_keeps_nothing(folder, vhost):
    wire = await Wire.open(vhost.url)
    await wire.exchange("pubsub")
    learner = learning(folder, "pubsub", "#", "--mapping", "obs", "--count", "3", "--amqp", vhost.url)

    async def publish():
        for key, body in (("opensuse.obs.package.build_fail", json.dumps(BUILD)), ("a.b", "{}"), ("opensuse.obs.project.create", "{")):
            await wire.publish("pubsub", key, body.encode())

    shown = await fed(learner, publish)
    kinds = {entry["key"]: next(kind for kind in ("message", "nothing", "poison") if kind in entry) for entry in shown}
    assert kinds == {"opensuse.obs.package.build_fail": "message", "a.b": "nothing", "opensuse.obs.project.create": "poison"}

    async def are_gone():
        return await asyncio.to_thread(vhost.queues) == []

    async with asyncio.timeout(60):
        while not await are_gone():
            await asyncio.sleep(0.2)
    await wire.close()


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "no hub has run in"),
        (("--amqp", "http://broker.example/x"), "amqp://user:password@host"),
        (("--amqp", "amqp://user:pass#word@broker.example/x"), "amqp://user:password@host"),
        (("--amqp", "amqp://[::1/x"), "amqp://user:password@host"),
        (("--amqp", "amqp://u:secret@127.0.0.1:1/x"), "away: Connect call failed"),
        (("--count", "0"), "is not in the range"),
    ],
)
def test_learning_says_once_what_is_in_its_way(tmp_path, arguments, said):
    done = angelia(tmp_path / "new", "amqp", "learn", "events", *arguments)
    assert done.returncode and said in done.stderr and "secret" not in done.stderr
    assert "level=error" not in done.stderr and not done.stdout


def test_the_management_api_is_on_the_host_of_the_broker():
    assert Place.parse("amqp://u@broker.example/x").management == "http://broker.example:15672"
    assert Place.parse("amqps://u@[::1]/x").management == "https://[::1]:15671"
    assert Place.parse("amqp://u@broker.example/x", "https://other:1/").management == "https://other:1"


def test_an_event_for_an_exchange_that_is_not_there(folder):
    refused = angelia(folder, "event", "nowhere", "k")
    assert refused.returncode == 3 and "exchanges" in refused.stderr


def test_an_operator_looks_at_exchanges(folder):
    listed = angelia(folder, "exchange", "list")
    assert [line.split() for line in listed.stdout.splitlines()] == [
        ["events", "topic", "signed-in", "0"],
        ["experiments", "direct", "admin", "0"],
        ["resourceUsage", "topic", "admin", "0"],
    ], listed.stderr
    shown = angelia(folder, "exchange", "show", "events")
    assert "access: signed-in" in shown.stdout and "followers: 0" in shown.stdout, shown.stderr
    assert json.loads(angelia(folder, "--json", "exchange", "show", "events").stdout)["items"] == []
    assert angelia(folder, "exchange", "show", "nowhere").returncode == 3


def test_settings_that_can_not_work(folder):
    for text, word in (
        ('[exchanges.x]\nkind = "fanout"', "topic or direct"),
        ('[exchanges.x]\ncolour = "red"', "colour"),
        ('[broker]\nurl = "http://x"', "amqp://"),
        ('[broker]\noutgoing = "x"', "outgoing"),
        ('[inlets.amqp.a]\nkeys = "#"', "exchange"),
        ('[inlets.amqp.a]\nexchange = "x"', "exchanges"),
        ("[inlets.http.a]", "inlets.amqp"),
        ('[inlets.amqp.a]\nexchange = "events"\nprefetch = 0', "prefetch"),
        ('[inlets.amqp.a]\nexchange = "resourceUsage"\ntransitions = true', "take them from another"),
    ):
        (folder / "angelia.toml").write_text(text + "\n")
        refused = angelia(folder, "--config", str(folder / "angelia.toml"), "config", "check")
        assert refused.returncode and word in refused.stderr, (text, refused.stderr)
