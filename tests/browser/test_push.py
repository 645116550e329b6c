"""Web push in Chromium: the button, the worker under our content policy, a push that is shown, and a click that opens the message."""

import asyncio
import json
import re

import pytest
import pytest_asyncio
from playwright.async_api import expect

from angelia_testing.browser import CHROMIUM, launched
from angelia_testing.peers.hub import SampleHub
from angelia_testing.peers.push_service import PushService
from angelia_testing.waiting import eventually


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium():
    """A whole one: the shell that the other tests use shows no notifications."""
    async with launched(CHROMIUM) as browser:
        yield browser


@pytest.fixture(scope="module")
def hub(filled):
    made = SampleHub(
        filled,
        ANGELIA__AGENTS__WEBPUSH__CONTACT="mailto:operator@example.org",
        ANGELIA__AGENTS__WEBPUSH__ALLOW_HTTP="true",
        ANGELIA__OUTBOUND__ALLOW="127.0.0.1/32",
    )
    yield made
    made.stop()


@pytest.fixture
def service():
    made = PushService()
    yield made
    made.stop()


# No push service can be reached from here, so the browser is given what one would have given it; the worker and its registration are real.
SUBSCRIBED = """(address) => {
  const [endpoint, keys] = address.split("#");
  const [point, auth] = keys.split(".").map((text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0)).buffer);
  window.asked = [];
  PushManager.prototype.getSubscription = async () => null;
  PushManager.prototype.subscribe = async (options) => {
    window.asked.push([options.userVisibleOnly, options.applicationServerKey.length]);
    return { endpoint, getKey: (name) => (name === "auth" ? auth : point) };
  };
}"""


async def shown(page):
    return await page.evaluate("""async () => (await (await navigator.serviceWorker.ready).getNotifications())
        .map((one) => ({ title: one.title, body: one.body, tag: one.tag, url: one.data.url }))""")


async def until_shown(page, tag):
    async with asyncio.timeout(60):
        while not any(notice["tag"] == tag for notice in await shown(page)):
            await asyncio.sleep(0.05)


async def test_a_browser_is_subscribed_told_and_opens_the_message(page, hub, service):
    await page.context.grant_permissions(["notifications"])
    await page.goto("/addresses")
    button = page.get_by_role("button", name="Notify this browser")
    await expect(button).to_be_visible()
    service.server_key = await page.locator("form[data-subscribes]").get_attribute("data-key")
    await page.evaluate(SUBSCRIBED, service.address)
    await button.click()
    place = page.get_by_role("article", name=re.compile("127.0.0.1"))
    await expect(place).to_contain_text("not verified")
    await eventually(lambda: service.came)
    await place.get_by_label("Code").fill(re.search(r"\d{6}", service.came[0].document["title"])[0])
    await place.get_by_role("button", name="Verify").click()
    await expect(place).to_contain_text("works")

    hub.call("PUT", "/api/v1/people/alice/preferences", {"preferences": {"push.test": {"webpush": "now", "web": "now"}}})
    hub.post(type="push.test", subject="The beam is down", body="Come and see", to=["alice"])
    await eventually(lambda: len(service.came) == 2)
    assert service.faults == []

    # What the service has got is dispatched to the worker as Chromium does it.
    wire = await page.context.new_cdp_session(page)
    registrations = []
    wire.on("ServiceWorker.workerRegistrationUpdated", lambda event: registrations.extend(event["registrations"]))
    await wire.send("ServiceWorker.enable")
    await eventually(lambda: registrations)
    pushed = {"origin": hub.url, "registrationId": registrations[0]["registrationId"]}
    told = service.came[1].document
    await wire.send("ServiceWorker.deliverPushMessage", pushed | {"data": json.dumps(told)})
    await wire.send("ServiceWorker.deliverPushMessage", pushed | {"data": json.dumps(told)})
    await until_shown(page, told["tag"])
    (notice,) = await shown(page)
    assert notice["title"] == "The beam is down" and notice["body"].startswith("Come and see") and notice["tag"] == told["tag"]
    assert notice["url"] == hub.url + told["url"]

    # A click opens this address; the page that it leads to says by itself that the message is read.
    await page.goto(notice["url"])
    await expect(page.get_by_role("heading", name="The beam is down")).to_be_visible()
    number = page.url.rpartition("/")[2]
    await eventually(lambda: hub.call("GET", f"/api/v1/people/alice/inbox/{number}")["read_at"])

    for odd in ("", "no JSON", "[]", json.dumps({"url": "https://evil.example/x", "title": "odd", "tag": "odd"})):
        await wire.send("ServiceWorker.deliverPushMessage", pushed | {"data": odd})
    await until_shown(page, "odd")
    assert {notice["url"] for notice in await shown(page)} <= {hub.url + "/inbox", hub.url + told["url"]}
