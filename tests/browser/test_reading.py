"""The inbox as people live in it: read, archive many and take it back, by keyboard, and what comes by itself."""

import asyncio
import email
import email.policy
import re

from playwright.async_api import expect

from angelia_testing.browser import PHONE
from angelia_testing.waiting import wait_until


def told(hub, kind, count):
    wait_until(lambda: hub.call("GET", f"/api/v1/people/alice/inbox/counts?type={kind}")["total"] == count, 60)


def unread(hub, kind):
    return hub.call("GET", f"/api/v1/people/alice/inbox/counts?type={kind}")["unread"]


async def test_a_message_is_read_and_says_why_it_came(page, hub):
    hub.post(type="reading.one", object="KDE/okular", subject="Read me", body="**not bold**", to=["alice"], tags=[["arch", "s390x"]])
    told(hub, "reading.one", 1)
    await page.goto("/inbox?type=reading.one")
    await page.get_by_role("link", name="Read me").click()
    await expect(page.get_by_role("heading", name="Read me")).to_be_visible()
    await expect(page.get_by_text("**not bold**")).to_be_visible()
    await expect(page.get_by_role("region", name="Why you got this")).to_contain_text("Because")
    await expect(page.get_by_role("link", name="arch=s390x")).to_be_visible()
    wait_until(lambda: unread(hub, "reading.one") == 0, 60)
    await page.get_by_role("link", name="Change how I get this").click()
    await expect(page).to_have_url(re.compile(r"/types\?type=reading\.one"))


async def test_the_links_of_a_mail_and_of_a_feed_open_the_message(page, hub):
    hub.post(type="reading.mail", subject="Open me from the mail", to=["alice"])
    parts = lambda text: email.message_from_string(text, policy=email.policy.default)  # noqa: E731
    wait_until(lambda: any(parts(mail)["Subject"] == "Open me from the mail" for mail in hub.mails("alice@example.org")), 60)
    mail = next(parts(mail) for mail in hub.mails("alice@example.org") if parts(mail)["Subject"] == "Open me from the mail")
    told(hub, "reading.mail", 1)
    text = mail.get_body(("plain",)).get_content()
    feed = hub.call("GET", "/feeds/" + (hub.data / "alice.feed").read_text().strip().rpartition("/")[2].replace(".atom", ".json"))
    entry = next(item for item in feed["items"] if item["title"] == "Open me from the mail")
    for link in (re.search(r"Open in Angelia: (\S+)", text)[1], entry["url"]):
        await page.goto(link.replace("http://127.0.0.1:8080", hub.url))
        await expect(page.get_by_role("heading", name="Open me from the mail")).to_be_visible()


async def test_many_are_archived_and_taken_back(page, hub):
    for number in range(5):
        hub.post(type="reading.many", subject=f"One of many {number}", to=["alice"])
    told(hub, "reading.many", 5)
    await page.goto("/inbox?type=reading.many&group=none")
    rows = page.locator("[data-row]")
    await expect(rows).to_have_count(5)
    for number in (0, 2):
        await rows.nth(number).get_by_role("checkbox").check()
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_text("2 messages are archived.")).to_be_visible()
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="Undo").click()
    await expect(rows).to_have_count(5)
    await page.get_by_label("all 5 in this view").check()
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_text("5 messages are archived.")).to_be_visible()
    told(hub, "reading.many&state=archived", 5)


async def test_by_keyboard_alone(page, hub):
    for number in range(3):
        hub.post(type="reading.keys", subject=f"Key {number}", to=["alice"])
    told(hub, "reading.keys", 3)
    await page.goto("/inbox?type=reading.keys&group=none")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("x")
    await expect(page.locator("[data-row].is-at").get_by_role("checkbox")).to_be_checked()
    await page.keyboard.press("e")
    await expect(page.locator("[data-row]")).to_have_count(2)
    await page.keyboard.press("/")
    await page.keyboard.type("Key 2")
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-row]")).to_have_count(1)
    await expect(page).to_have_url(re.compile("text=Key"))
    await page.keyboard.press("g")
    await page.keyboard.press("p")
    await expect(page).to_have_url(re.compile("/preferences"))


async def test_what_comes_appears_by_itself(page, hub):
    await page.goto("/inbox?type=reading.live&group=none")
    await page.evaluate("window.isTheSamePage = true")
    hub.post(type="reading.live", subject="Just now", to=["alice"])
    await expect(page.get_by_role("link", name="Just now")).to_be_visible(timeout=60_000)
    assert await page.evaluate("window.isTheSamePage") is True


async def test_what_comes_appears_at_once_and_nothing_is_asked_meanwhile(page, hub):
    """The stream of her own deliveries tells it: without it the page asks every two seconds."""
    sockets, frames, asked = [], [], []

    def opened(socket):
        sockets.append(socket.url)
        socket.on("framereceived", lambda frame: frames.append(str(frame)))

    page.on("websocket", opened)
    await page.goto("/inbox?type=reading.stream&group=none")
    async with asyncio.timeout(60):
        while not any('"bound"' in frame for frame in frames):
            await asyncio.sleep(0.05)
    page.on("request", lambda request: asked.append(request.url) if "/inbox/live" in request.url else None)
    hub.post(type="reading.stream", subject="Streamed", to=["alice"])
    await expect(page.get_by_role("link", name="Streamed")).to_be_visible(timeout=60_000)
    assert any("Streamed" in frame for frame in frames)
    assert len(asked) <= 3 and len(sockets) == 1


async def test_without_a_stream_the_page_asks(page, hub):
    await page.route_web_socket("**/api/v1/stream", lambda socket: socket.close())
    await page.goto("/inbox?type=reading.poll&group=none")
    hub.post(type="reading.poll", subject="Asked for", to=["alice"])
    await expect(page.get_by_role("link", name="Asked for")).to_be_visible(timeout=60_000)


async def test_a_phone(hub, visit):
    page = await visit(hub, "alice", viewport=PHONE, has_touch=True)
    hub.post(type="reading.phone", subject="On the way", to=["alice"])
    told(hub, "reading.phone", 1)
    await page.goto("/inbox?type=reading.phone")
    await page.get_by_role("link", name="On the way").tap()
    await page.get_by_role("button", name="Archive", exact=True).tap()
    told(hub, "reading.phone&state=archived", 1)


async def test_a_reload_makes_nothing_twice(page, hub):
    await page.goto("/expectations/new")
    await page.get_by_label("What is expected").fill("Reloaded")
    await page.get_by_role("button", name="Expect it from now on").click()
    await expect(page.get_by_role("heading", name="Its address")).to_be_visible()
    await page.reload()
    await expect(page.get_by_role("heading", name="Reloaded")).to_be_visible()
    await expect(page.get_by_role("heading", name="Its address")).to_have_count(0)
    made = [one for one in hub.call("GET", "/api/v1/people/alice/expectations")["items"] if one["title"] == "Reloaded"]
    assert len(made) == 1
