"""Live events in the browser: the hub's own page, and a page made for brainlife/event that is used unchanged."""

import json
import re
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import RSAKey
from playwright.async_api import expect

from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.hub import SampleHub
from angelia_testing.peers.process import missing

LIBRARY = Path(__file__).parent / "node_modules/reconnecting-websocket/dist/reconnecting-websocket-iife.min.js"
# As pages of brainlife have it, with the address of the hub in place of brainlife.io.
PAGE = """<!doctype html><title>task</title><ul id="seen"></ul><script src="/library.js"></script><script>
const ws = new ReconnectingWebSocket("%(url)s/api/event/subscribe?jwt=%(jwt)s", null, {debug: false, reconnectInterval: 3000});
ws.onopen = (e) => {
  ws.send(JSON.stringify({bind: {ex: "wf.task", key: "ok1.#"}}));
  ws.send(JSON.stringify({bind: {ex: "wf.instance", key: "99.#"}}));
};
ws.onmessage = (json) => {
  const event = JSON.parse(json.data);
  const line = document.createElement("li");
  if (event.error) line.textContent = event.error;
  else line.textContent = event.dinfo.exchange + " " + event.dinfo.routingKey.split(".")[1] + " " + event.msg.status;
  document.getElementById("seen").appendChild(line);
};
</script>"""


async def test_the_live_page_shows_events_as_they_come(page, hub):
    await page.goto("/live?exchange=events&key=build.%23")
    await expect(page.get_by_text("You see what happens from now on.")).to_be_visible()
    hub.call("POST", "/api/v1/events/events", {"key": "other.x", "body": {"job": 1}})
    # From a shell, as somebody does who tries it first.
    assert hub.cli("event", "events", "build.done", '{"job": "<b>2</b>"}') == {"published": 1}
    rows = page.locator("#live-events li")
    await expect(rows).to_have_count(1)
    await expect(rows.first).to_have_text(re.compile(r'^\d.* build\.done \{"job":"<b>2</b>"\}$'))


async def test_a_live_page_that_is_paused_loses_nothing(page, hub):
    await page.goto("/live?exchange=events&key=paused.%23")
    await expect(page.get_by_text("You see what happens from now on.")).to_be_visible()
    rows = page.locator("#live-events strong")

    def tell(*keys):
        for key in keys:
            hub.call("POST", "/api/v1/events/events", {"key": key, "body": 1})

    tell("paused.a")
    await expect(rows).to_have_text(["paused.a"])
    await page.get_by_role("button", name="Pause").click()
    tell("paused.b", "paused.c")
    await page.get_by_role("button", name="Resume (2)").click()
    await expect(rows).to_have_text(["paused.c", "paused.b", "paused.a"])
    tell("paused.d")
    await expect(rows).to_have_count(4)


async def test_a_live_page_outlives_a_proxy_that_answers_for_the_hub(page, hub):
    """While a hub is started anew the proxy before it says 502: a browser's own event stream ends with that."""
    cursor = hub.call("GET", "/api/v1/events?exchange=events")["cursor"]
    answers = [
        {"status": 200, "content_type": "text/event-stream", "body": f"retry: 100\nevent: bound\nid: {cursor}\ndata: {{}}\n\n"},
        {"status": 502, "body": "the hub is away"},
    ]
    asked = []

    async def between(route):
        asked.append(route.request.url)
        await (route.fulfill(**answers.pop(0)) if answers else route.continue_())

    page.watch.expect("502")
    await page.route("**/api/v1/stream?*", between)
    hub.call("POST", "/api/v1/events/events", {"key": "away.x", "body": 1})
    await page.goto("/live?exchange=events&key=away.%23")
    await expect(page.locator("#live-events strong")).to_have_text(["away.x"], timeout=60_000)
    await expect(page.get_by_text("You see what happens from now on.")).to_be_visible()
    assert len(asked) == 3 and "since=" not in asked[0] and "since=" in asked[2]


async def test_her_own_messages_come_to_the_live_page(page, hub):
    await page.goto("/live")
    await page.get_by_role("button", name="Watch").click()
    await expect(page.get_by_text("You see what happens from now on.")).to_be_visible()
    hub.post(type="live.mine", subject="Seen at once", to=["alice"])
    await expect(page.locator("#live-events li")).to_contain_text("Seen at once")


@pytest.fixture
def brainlife(tmp_path):
    """A hub that speaks brainlife, and a page of another origin."""
    if not LIBRARY.is_file():
        missing("reconnecting-websocket (make peers)")
    key = RSAKey.generate_key(2048)
    (tmp_path / "auth.pub").write_bytes(key.as_pem(private=False))
    hub = SampleHub(
        **{
            "ANGELIA__STREAMS__PUBLIC_KEY_FILE": str(tmp_path / "auth.pub"),
            "ANGELIA__EXCHANGES__WF.TASK__ACCESS": "signed-in",
            "ANGELIA__EXCHANGES__WF.INSTANCE__ACCESS": "claim",
            "ANGELIA__EXCHANGES__WF.INSTANCE__CLAIM": "gids",
        }
    )
    token = jws.serialize_compact({"alg": "RS256"}, json.dumps({"sub": 1, "exp": 4e9 + 0.5, "gids": [7]}), key, ["RS256"])
    text = PAGE % {"url": hub.url.replace("http", "ws"), "jwt": token}
    peer = ScriptedHttp(
        lambda asked: (
            Reply(body=LIBRARY.read_bytes(), headers={"Content-Type": "text/javascript"})
            if asked.path == "/library.js"
            else Reply(body=text.encode(), headers={"Content-Type": "text/html"})
        )
    )
    yield hub, peer
    peer.stop()
    hub.stop()


async def test_a_page_made_for_brainlife_shows_the_life_of_a_task(brainlife, chromium):
    hub, peer = brainlife
    page = await chromium.new_page()
    try:
        await page.goto(peer.url)
        seen = page.locator("#seen li")
        await expect(seen).to_have_text(["Access denided wf.instance"], timeout=60_000)
        for status in ("requested", "running", "finished"):
            hub.call("POST", "/api/v1/events/wf.task", {"key": "ok1.7", "body": {"_id": "7", "status": status}})
        await expect(seen).to_have_text(["Access denided wf.instance", *(f"wf.task 7 {status}" for status in ("requested", "running", "finished"))])
    finally:
        await page.close()
