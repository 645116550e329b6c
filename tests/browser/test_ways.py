"""Addresses, feeds, tokens and sessions, from the first click to what comes out at the other end."""

import re
from email import message_from_string
from email.policy import default

import httpx2
from playwright.async_api import expect

from angelia_testing.waiting import wait_until


def code_sent_to(hub, address):
    wait_until(lambda: hub.mails(address), 60)
    text = message_from_string(hub.mails(address)[-1], policy=default).get_body(("plain",)).get_content()
    return re.search(r"\b(\d{6})\b", text).group(1)


async def test_an_address_is_added_verified_tested_paused_and_deleted(page, hub):
    await page.goto("/addresses")
    await page.get_by_label("Address", exact=True).fill("work@example.org")
    await page.get_by_role("button", name="Add, and send a code").click()
    place = page.get_by_role("article", name="work@example.org")
    await expect(place).to_contain_text("not verified")
    page.watch.expect("422|400")
    await place.get_by_label("Code").fill("not-it")
    await place.get_by_role("button", name="Verify").click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await place.get_by_label("Code").fill(code_sent_to(hub, "work@example.org"))
    await place.get_by_role("button", name="Verify").click()
    await expect(place).to_contain_text("works")
    sent = len(hub.mails("work@example.org"))
    await place.get_by_role("button", name="Send me a test").click()
    await expect(page.get_by_role("status").filter(has_text="A test is on its way")).to_be_visible()
    wait_until(lambda: len(hub.mails("work@example.org")) == sent + 1, 60)
    await place.get_by_role("button", name="Pause").click()
    await expect(place).to_contain_text("paused")
    await place.get_by_role("link", name="Delete").click()
    await page.get_by_role("button", name="Delete it").click()
    await expect(place).to_have_count(0)


async def test_a_feed_is_made_read_and_revoked(page, hub):
    hub.post(type="feed.news", subject="Something for the feed", to=["alice"])
    await page.goto("/feeds/new?type=feed.news")
    await page.get_by_label("Name").fill("News for me")
    await page.get_by_role("button", name="Make the feed").click()
    atom = await page.locator("#atom").inner_text()
    wait_until(lambda: "Something for the feed" in httpx2.get(atom, timeout=60).text, 60)
    # The address is shown once.
    await page.goto("/feeds")
    await expect(page.locator("#atom")).to_have_count(0)
    row = page.get_by_role("row").filter(has_text="News for me")
    await row.get_by_role("link", name="Revoke").click()
    await page.get_by_role("button", name="Revoke it").click()
    await expect(page.get_by_text("nobody can read it any more")).to_be_visible()
    assert httpx2.get(atom, timeout=60).status_code in (404, 410)


async def test_a_token_is_made_used_and_revoked(page, hub):
    await page.goto("/tokens")
    await page.get_by_label("What it is for").fill("a script")
    await page.get_by_role("button", name="Make the token").click()
    secret = await page.locator("#secret").inner_text()
    asked = lambda: httpx2.get(f"{hub.url}/api/v1/people/me/inbox", headers={"Authorization": f"Bearer {secret}"}, timeout=60)  # noqa: E731
    assert asked().status_code == 200
    await page.goto("/tokens")
    assert secret not in await page.content()
    row = page.get_by_role("row").filter(has_text="a script")
    await row.get_by_role("link", name="Revoke").click()
    await page.get_by_role("button", name="Revoke it").click()
    await expect(page.get_by_text("it is refused within seconds")).to_be_visible()
    wait_until(lambda: asked().status_code == 401, 60)


async def test_other_sessions_are_ended(hub, visit):
    browsers = []
    for _ in range(2):
        page = await visit(hub, None)
        await page.goto("/sign-in?next=/sessions")
        await page.get_by_label("Login").fill("carol")
        await page.get_by_label("Password").fill("sample-carol")
        await page.get_by_role("button", name="Sign in", exact=True).click()
        await expect(page.get_by_role("heading", name="Sessions")).to_be_visible()
        browsers.append(page)
    here, there = browsers
    await here.reload()
    await here.get_by_role("button", name="End all others").click()
    await expect(here.get_by_role("row")).to_have_count(2)
    # Within five seconds the other is out (promise P19).
    for _ in range(20):
        await there.reload()
        if await there.get_by_label("Password").count():
            break
        await there.wait_for_timeout(250)
    await expect(there.get_by_label("Password")).to_be_visible()


async def test_she_changes_her_language_and_the_pages_speak_it(hub, visit):
    page = await visit(hub, "carol")
    await page.goto("/profile")
    await page.get_by_label("Language").select_option("de")
    await page.get_by_role("button", name="Save").first.click()
    await page.goto("/inbox")
    await expect(page.locator("html")).to_have_attribute("lang", "de")
    await expect(page.get_by_role("navigation", name="Bereiche").get_by_role("link", name="Einstellungen")).to_be_visible()
    hub.call("PATCH", "/api/v1/people/carol", {"language": "en"})
