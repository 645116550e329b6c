"""Exchanges as operators see them: rules, faults, and who follows them live."""

from dataclasses import replace

import pytest

from angelia import telemetry
from angelia.broker import ExchangeSettings
from angelia.front import app_of
from angelia.model.errors import BrokerUnavailable
from angelia.model.event import Event
from angelia_testing.live import following, served
from angelia_testing.waiting import eventually


@pytest.fixture
def settings(settings):
    return replace(settings, exchanges={"open": ExchangeSettings(access="public"), "quiet": ExchangeSettings(kind="direct", keep_seconds=60)})


@pytest.fixture
async def port(house):
    async with served(app_of(house)) as port:
        yield port


def value(metric, exchange):
    return metric.labels(exchange)._value.get()


async def test_who_follows_is_seen_by_name_and_counted(bench, house, port):
    await bench.person("alice")
    token = await bench.call("POST", "/api/v1/people/alice/tokens", {"title": "t", "scopes": ["read"]}, 201)
    written = value(telemetry.stream_written, "open")
    async with following(port) as nobody, following(port, headers={"Authorization": f"Bearer {token['secret']}"}) as alice:
        await nobody.ask({"bind": {"exchange": "open", "key": "a.#"}})
        await alice.ask({"bind": [{"exchange": "open", "key": "a.*"}, {"exchange": "open", "key": "b"}, {"exchange": "me"}]})
        await house.broker.publish([Event("open", "a.b", b"1"), Event("open", "b", b"2")])
        await nobody.next()
        await alice.next()
        await alice.next()
        shown = await bench.call("GET", "/api/v1/exchanges/open")
        assert (shown["access"], shown["followers"], shown["position"].rpartition("-")[2]) == ("public", 2, "2")
        assert shown["items"] == [
            {"name": "", "keys": ["a.#"], "is_behind": False},
            {"name": "person:alice", "keys": ["a.*", "b"], "is_behind": False},
        ]
        found = (await bench.call("GET", "/api/v1/exchanges"))["items"]
        assert [(one["name"], one["kind"], one["keep_seconds"], one["followers"], one["fault"]) for one in found] == [
            ("open", "topic", 86_400, 2, ""),
            ("quiet", "direct", 60, 0, ""),
        ]
        assert value(telemetry.stream_written, "open") - written == 3
        house.streams.look()
        assert (value(telemetry.stream_followers, "open"), value(telemetry.stream_followers, "me")) == (2, 1)
    await eventually(lambda: house.streams.listeners == 0)
    house.streams.look()
    assert (value(telemetry.stream_followers, "open"), value(telemetry.stream_followers, "me")) == (0, 0)


async def test_a_broker_that_is_away_is_told(bench, house, monkeypatch):
    async def away(exchange):
        raise BrokerUnavailable("away")

    async def faults():
        return {"": "away", "quiet": "there is no such exchange"}

    monkeypatch.setattr(house.broker, "head", away)
    monkeypatch.setattr(house.broker, "faults", faults)
    assert (await bench.call("GET", "/api/v1/exchanges/open"))["position"] is None
    found = (await bench.call("GET", "/api/v1/exchanges"))["items"]
    assert [one["fault"] for one in found] == ["away", "there is no such exchange"]
    assert (await bench.call("GET", "/api/v1/exchanges/nowhere", status=404))["status"] == 404
