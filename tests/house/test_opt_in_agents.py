"""Agents that a site switches on: there only where their table stands, and then from the address to the letter by the ordinary way."""

import json
import re
from datetime import timedelta

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook
from tests.house.browsing import FROM_OWN_PAGE, WORDS, Browser

from angelia.flow.clock import now
from angelia.front import app_of
from angelia.house import House
from angelia.model.person import Address, AddressState, Person
from angelia.outbound import SENT_BY
from angelia.settings import load
from angelia_testing.databases import with_schema
from angelia_testing.live import served
from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.push_service import PushService


def settings_of(folder, **agents):
    return load(environment={}, overrides={"house": {"data_dir": str(folder)}, "outbound": {"allow": "127.0.0.1/32"}, "agents": agents})


@pytest.fixture
def receiver():
    made = ScriptedHttp()
    yield made
    made.stop()


async def turned(house):
    """Plan and send until nothing moves."""
    await house.refresh()
    planner, _, relay, _ = house.stages[:4]
    while await planner.turn(now()) + await relay.turn(now()):
        await relay.drain()


async def test_a_webhook_is_verified_and_told(tmp_path, receiver):
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with House.open(settings_of(tmp_path, webhook={"allow_http": True})) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:

            async def call(method, path, body, status):
                answer = await api.request(method, f"/api/v1{path}", json=body)
                assert answer.status_code == status, answer.text
                return answer.json() if answer.text else None

            await call("POST", "/people", {"login": "alice"}, 201)
            await call("PUT", "/people/alice/preferences", {"preferences": {"*": {"webhook": "now"}}}, 200)
            made = await call("POST", "/people/alice/addresses", {"agent": "webhook", "value": f"{receiver.url}/hook"}, 201)
            assert made["note"].startswith("whsec_")
            await call("POST", f"/people/alice/addresses/{made['id']}/code", None, 202)
            (asked,) = receiver.asked
            told = Webhook(made["note"]).verify(asked.body, asked.headers)
            code = re.search(r"is (\d{6})\.", told["data"]["text"])[1]
            await call("POST", f"/people/alice/addresses/{made['id']}/verify", {"code": code}, 200)
            await call("POST", "/messages", {"type": "a.b", "subject": "it works", "to": ["alice"]}, 201)
            await turned(house)
            assert json.loads(receiver.asked[-1].body)["data"]["subject"] == "it works"
            await call("POST", "/people/alice/addresses", {"agent": "webhook", "value": "http://169.254.169.254/latest"}, 422)


async def test_a_browser_subscribes_is_told_and_ends_it(tmp_path):
    """From the button on the page to the letter that the browser opens, the entry behind a click, and the end by 410."""
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    service = PushService()
    async with House.open(settings_of(tmp_path, webpush={"contact": "mailto:operator@example.org", "allow_http": True})) as house:
        app = app_of(house, trusts_caller=True)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://hub", headers=FROM_OWN_PAGE) as api:

            async def call(method, path, body=None):
                answer = await api.request(method, f"/api/v1{path}", json=body)
                assert answer.is_success, answer.text
                return answer.json() if answer.text else None

            await call("POST", "/people", {"login": "alice"})
            await call("PUT", "/people/alice/password", {"password": WORDS})
            await call("PUT", "/people/alice/preferences", {"preferences": {"*": {"webpush": "now", "web": "now"}}})
            browser = Browser(api)
            await browser.sign_in("alice")
            page = await browser.get("/addresses")
            service.server_key = re.search(r'data-key="([\w-]{87})" data-worker="/worker.js" hidden', page)[1]
            assert "<option>webpush" not in page and "subscribing" in page
            await browser.post("/addresses", agent="webpush", value=service.address)
            code = re.search(r"\d{6}", service.came[0].document["title"])[0]
            assert service.came[0].document["url"] == "/addresses"
            (address,) = (await call("GET", "/people/alice/addresses"))["items"]
            await browser.post(f"/addresses/{address['id']}/verify", code=code)
            await call("POST", "/messages", {"type": "a.b", "subject": "it works", "to": ["alice"]})
            await turned(house)
            told = service.came[1].document
            assert told["title"] == "it works" and service.faults == []
            place = await api.get(told["url"])
            assert place.status_code == 303 and place.headers["location"].startswith("/inbox/dlv_")
            assert "it works" in await browser.get(place.headers["location"])
            await browser.get("/inbox/msg_0000000000000", 404)
            service.reply = Reply(410)
            await call("POST", "/messages", {"type": "a.b", "subject": "nobody there", "to": ["alice"]})
            await turned(house)
            assert (await call("GET", "/people/alice/addresses"))["items"] == []
            assert "No address yet" in await browser.get("/addresses")
            inbox = [one["message"] for one in (await call("GET", "/people/alice/inbox"))["items"]]
            (notice,) = [message for message in inbox if message["type"] == "angelia.address.refused"]
            assert notice["subject"] == "Your webpush address has ended" and service.url not in str(inbox)
            assert [one["actor"] for one in (await call("GET", "/audit?action=address.delete"))["items"]] == ["agent:webpush"]
            again = await call("POST", "/messages", {"type": "a.b", "subject": "nowhere", "to": ["alice"]})
            await turned(house)
            assert (await call("GET", f"/messages/{again['id']}/why?login=alice"))["agents"]["webpush"]["reason"] == "no_verified_address"
    service.stop()


async def test_without_its_table_there_is_no_such_agent(tmp_path):
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with House.open(settings_of(tmp_path, mail={})) as house:
        assert set(house.agents) == {"feed", "mail", "web"}


@pytest.mark.parametrize("path", ["/api/v1/publish/a.b", "/api/v1/messages", "/a.b"])
async def test_a_letter_to_the_hub_itself_ends_its_address_and_goes_round_no_more(tmp_path, path):
    """Fault F56, bad input E9.111."""
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with House.open(settings_of(tmp_path, webhook={"allow_http": True})) as house, served(app_of(house, trusts_caller=True)) as port:
        await house.store.put_person(Person(person_id=0, login="alice"))
        alice = await house.store.person("alice")
        await house.store.put_wants("alice", {"preferences": {"*": {"webhook": "now"}}}, follows=[], rules=[], expected_version=None)
        value = f"http://127.0.0.1:{port}{path}"
        address = Address(address_id=0, person_id=alice.person_id, agent="webhook", value=value, state=AddressState.OK, is_default=True)
        address = await house.store.add_address(address)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
            assert (await api.post("/api/v1/messages", json={"type": "a.b", "subject": "hello", "to": ["alice"]})).status_code == 201
            await turned(house)
            found = await house.store.list_messages(person_id=None)
            assert [message.type for message in found] == ["angelia.address.refused", "a.b"]
            assert (await house.store.address(address.address_id)).state is AddressState.BOUNCING
            other = await api.post("/api/v1/messages", json={"type": "a.b", "subject": "from another hub"}, headers={SENT_BY: "0" * 16})
            assert other.status_code == 201


@pytest.mark.parametrize(("listed", "is_held"), [(None, True), ([], False), (["ntfy"], True)])
async def test_quiet_hours_hold_what_interrupts_unless_the_site_says_otherwise(tmp_path, receiver, listed, is_held):
    """The agent says of itself that it interrupts; a site's document that lists which do has the last word."""
    with_schema(f"sqlite:///{tmp_path / 'angelia.db'}")
    async with House.open(settings_of(tmp_path, ntfy={"server": receiver.url, "allow_http": True})) as house:
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as api:

            async def call(method, path, body=None, status=200):
                answer = await api.request(method, f"/api/v1{path}", json=body)
                assert answer.status_code == status, answer.text
                return answer.json()

            if listed is not None:
                await call("PUT", "/site", {"interruptive": listed})
            await call("POST", "/people", {"login": "alice", "time_zone": "UTC"}, 201)
            await call("POST", "/people/alice/addresses", {"agent": "ntfy", "value": "alice-alarms", "is_verified": True}, 201)
            quiet = [f"{now() + timedelta(hours=hours):%H:%M}" for hours in (-2, 2)]
            await call("PUT", "/people/alice/preferences", {"preferences": {"*": {"ntfy": "now"}}, "quiet": quiet})
            message = (await call("POST", "/messages", {"type": "a.b", "subject": "shh", "to": ["alice"]}, 201))["id"]
            await turned(house)
            assert bool(receiver.asked) is not is_held
            said = await call("GET", f"/messages/{message}/why?login=alice")
            assert (said["agents"]["ntfy"]["reason"] == "quiet_hours") is is_held
