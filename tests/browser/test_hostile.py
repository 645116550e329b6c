"""Texts that attack whoever looks at them (bad input E127, checklist S8), and pages of others that attack whoever is signed in here (S6, S10)."""

import pytest

from angelia_testing.peers.http import Reply, ScriptedHttp
from angelia_testing.peers.hub import SampleHub
from angelia_testing.places import tour
from angelia_testing.waiting import wait_until

ATTACKS = (
    "<svg onload=window.__xss=1>",
    '"><img src=x onerror=window.__xss=2>',
    "'><script>window.__xss=3</script>",
    "zq{{7*7}}zq${7*7}zq#{7*7}zq<%=7*7%>",
    "</script><script>window.__xss=4</script>",
    "</title></textarea></style><iframe src=javascript:window.__xss=5></iframe>",
    "javascript:window.__xss=6",
    "[x](javascript:window.__xss=7) ![y](http://192.0.2.1/t.png)",
    "\u202egnp.exe \u2066 \u0007\u001b[31m",
    '" autofocus onfocus=window.__xss=8 x="',
    "<a href=javascript:window.__xss=9>x</a><form action=http://192.0.2.1/><button>y</button></form>",
    '<div hx-get="http://192.0.2.1/" hx-trigger="load" hx-on:load="window.__xss=10">',
    "<style>body{position:fixed;background:url(http://192.0.2.1/s)}</style>",
    "<meta http-equiv=refresh content='0;url=http://192.0.2.1/'>",
)
LINE = [attack for attack in ATTACKS if not any(ord(letter) < 32 for letter in attack)]


def attack(hub):
    """Put every text into every field that takes free text: of messages, and of what people and operators set up."""
    messages = [
        {
            "type": f"attack.{number}.{body_format}", "subject": text, "body": f"{text}\n\n{text}", "body_format": body_format, "object": text, "thread": text,
            "actor": text, "object_url": "https://example.org/'onmouseover=window.__xss=11", "sender": {"id": text, "name": text}, "severity": "high",
            "to": [{"id": "alice", "reason": text}, {"id": "root", "reason": text}],
            "tags": [[LINE[number % len(LINE)][:64], text], ["severity", text]], "params": {LINE[number % len(LINE)][:64]: text, "many": [text, text]},
        }
        for number, text in enumerate(ATTACKS)
        for body_format in ("text", "markdown", "html")
    ]  # fmt: skip
    hub.call("POST", "/api/v1/messages", messages, as_whom="build-service")
    for login in ("alice", "root"):
        rules = [{"name": text, "type": "attack.#", "when": {"subject": {"contains": [text]}}, "do": {"mail": "now"}} for text in LINE]
        wants = {"rules": rules, "follows": LINE, "mutes": dict.fromkeys(LINE, "full")}
        hub.call("PUT", f"/api/v1/people/{login}/preferences", wants)
        for text in LINE:
            hub.call("POST", f"/api/v1/people/{login}/feeds", {"title": text, "query": {"text": text}})
            hub.call("POST", f"/api/v1/people/{login}/tokens", {"title": text})
    for number, text in enumerate(LINE):
        hub.call("PUT", f"/api/v1/groups/attack{number}", {"title": text, "members": ["alice"]})
        hub.call("PUT", f"/api/v1/sources/attack{number}", {"title": text, "contact": text})
        hub.call("PUT", f"/api/v1/types/attack.{number}", {"labels": {"en": text}, "descriptions": {"en": text}})
    site = hub.call("GET", "/api/v1/site")
    site["presets"] = {
        f"p{number}": {"title": text, "explanation": text, "group": text, "rule": {"type": "a.b", "do": {"mail": "now"}}}
        for number, text in enumerate(LINE)
    }
    hub.call("PUT", "/api/v1/site", site)
    for login, text in zip(("alice", "bob", "carol", "root"), LINE, strict=False):
        hub.call("PATCH", f"/api/v1/people/{login}", {"name": text})


@pytest.fixture(scope="module")
def attacked_hub(filled):
    hub = SampleHub(filled)
    attack(hub)
    yield hub
    hub.stop()


def told(hub, login):
    return hub.call("GET", f"/api/v1/people/{login}/inbox/counts")["total"]


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("login", "of_each"), [("alice", 2), ("root", 1)])
async def test_foreign_text_is_text_on_every_page(attacked_hub, visit, login, of_each):
    hub = attacked_hub
    wait_until(lambda: told(hub, login) >= 3 * len(ATTACKS), 60)
    page = await visit(hub, login)
    # The preview of a letter stands in a frame; alone it has no icon.
    page.watch.expect("favicon.ico")
    shown = 0
    for path in list(tour(hub, login, of_each).paths()):
        answer = await page.goto(path)
        assert answer.status == 200, path
        text = await page.locator("body").inner_text()
        assert "zq49" not in text, path
        shown += "__xss" in text
        # The DOM holds nothing that a text has brought.
        assert (
            await page.locator(
                "svg[onload], img[onerror], iframe, [onfocus], a[href^='javascript:' i], form[action*='192.0.2'], meta[http-equiv=refresh]"
            ).count()
            == 0
        ), path
        await page.mouse.move(400, 300)
    assert shown > 5


STRANGER = """<!doctype html><title>A page of somebody else</title><h1>Cats</h1>
<form id=out method=post action=HUB/sign-out target=hidden></form>
<form id=mark method=post action=HUB/api/v1/people/alice/inbox/mark enctype=text/plain target=hidden><input name='{"change":"archive","x":"' value='"}'></form>
<iframe name=hidden></iframe><iframe id=frame src=HUB/inbox></iframe><img src=HUB/api/v1/people/alice/inbox/mark?change=archive><img src=HUB/sign-out>
<script>
document.getElementById("out").submit(); document.getElementById("mark").submit();
const body = JSON.stringify({change: "archive"});
const tries = [
  fetch("HUB/api/v1/people/alice/inbox/mark", {method: "POST", credentials: "include", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body}),
  fetch("HUB/api/v1/people/alice/inbox/mark", {method: "POST", credentials: "include", headers: {"Content-Type": "application/json"}, body}),
  fetch("HUB/sign-out", {method: "POST", credentials: "include", mode: "no-cors"}),
  fetch("HUB/api/v1/people/alice/inbox", {credentials: "include"}).then((answer) => answer.text()),
  fetch("HUB/inbox", {credentials: "include"}).then((answer) => answer.text()),
  new Promise((done) => { const stream = new EventSource("HUB/inbox/live", {withCredentials: true}); stream.onopen = () => done("opened"); stream.onerror = () => { stream.close(); done("refused"); }; }),
  new Promise((done) => { const socket = new WebSocket("HUB/inbox/live".replace("http", "ws")); socket.onopen = () => done("opened"); socket.onerror = () => done("refused"); }),
];
Promise.allSettled(tries).then((results) => { window.results = results.map((one) => one.status + " " + String(one.value ?? "").slice(0, 40)); });
</script>"""


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.1"])
async def test_pages_of_others_can_do_nothing(hub, visit, address):
    """From another site her cookie does not come along; from another port of this address it does, and the hub itself refuses."""
    page = await visit(hub, "alice")
    wait_until(lambda: told(hub, "alice") >= 2, 60)
    before = hub.call("GET", "/api/v1/people/alice/inbox/counts")
    stranger = ScriptedHttp(
        lambda _: Reply(body=STRANGER.replace("HUB", hub.url).encode(), headers={"Content-Type": "text/html; charset=utf-8"}), host=address
    )
    # The browser reports that somebody tried to frame the hub.
    page.watch.told()
    page.watch.expect(rf"a request left the hub: GET {stranger.url}")
    page.watch.expect("Failed to load resource|blocked by CORS|Framing|frame|WebSocket connection|ERR_BLOCKED_BY_RESPONSE|MIME type")
    try:
        answers = []
        page.on("response", lambda answer: answers.append((answer.request.method, answer.url.removeprefix(hub.url), answer.status)))
        await page.goto(stranger.url)
        await page.wait_for_function("window.results !== undefined")
        results = await page.evaluate("window.results")
        assert results[1:3] != ["fulfilled [object Response]"] * 2
        assert all(result.startswith("rejected") for result in (results[1], results[3], results[4])), results
        assert results[5:] == ["fulfilled refused", "fulfilled refused"]
        # Whatever asked for a change was refused, with the cookie or without.
        posted = [answer for answer in answers if answer[0] == "POST"]
        assert posted
        assert all(status in (401, 403, 415) for _, _, status in posted), posted
        # The frame stays empty: the page of the hub does not let itself be framed.
        assert "Okular" not in await page.frame_locator("#frame").locator("body").inner_text()
        assert hub.call("GET", "/api/v1/people/alice/inbox/counts") == before
        # She is still signed in.
        await page.goto("/inbox")
        await page.get_by_role("heading", name="Inbox").wait_for()
    finally:
        stranger.stop()
