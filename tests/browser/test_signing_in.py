"""Signing in and out, and the frame around all pages."""

import re

import pytest
from playwright.async_api import expect

from angelia_testing.browser import PHONE


async def sign_in(page, login, password=None):
    await page.get_by_label("Login").fill(login)
    await page.get_by_label("Password").fill(password or f"sample-{login}")
    await page.get_by_role("button", name="Sign in", exact=True).click()


async def test_alice_signs_in_comes_to_her_page_and_leaves(hub, visit):
    page = await visit(hub, None)
    await page.goto("/inbox?state=unread")
    await expect(page).to_have_url(re.compile(r"/sign-in\?next="))
    page.watch.expect("401")
    await sign_in(page, "alice", "not her password")
    await expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    await expect(page.get_by_label("Login")).to_have_value("alice")
    await sign_in(page, "alice")
    await expect(page).to_have_url(f"{hub.url}/inbox?state=unread")
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Password")).to_be_visible()
    # Not even the way back shows what was there.
    await page.go_back()
    await expect(page.get_by_label("Password")).to_be_visible()


async def test_a_session_is_new_at_each_sign_in(hub, visit):  # checklist S4: a cookie planted before is worth nothing
    page = await visit(hub, None)
    name, _ = hub.cookie("root")
    await page.context.add_cookies([{"name": name, "value": "planted" * 6, "url": hub.url}])
    await page.goto("/sign-in")
    await sign_in(page, "alice")
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    (cookie,) = await page.context.cookies()
    assert cookie["value"] != "planted" * 6
    assert cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    other = await visit(hub, None)
    await other.context.add_cookies([{"name": name, "value": "planted" * 6, "url": hub.url}])
    await other.goto("/inbox")
    await expect(other.get_by_label("Password")).to_be_visible()


async def test_colours_are_hers_and_stay(hub, visit):
    page = await visit(hub, "alice", color_scheme="dark")
    await page.goto("/inbox")
    html = page.locator("html")
    await expect(html).to_have_attribute("data-bs-theme", "dark")
    await page.get_by_role("button", name="Light").click()
    await expect(html).to_have_attribute("data-bs-theme", "light")
    await expect(page.get_by_role("button", name="Light")).to_have_attribute("aria-pressed", "true")
    await page.reload()
    await expect(html).to_have_attribute("data-bs-theme", "light")
    await page.get_by_role("button", name="Auto").click()
    await expect(html).to_have_attribute("data-bs-theme", "dark")


async def test_without_scripts_everything_is_there(hub, visit):
    page = await visit(hub, None, java_script_enabled=False, viewport=PHONE)
    await page.goto("/sign-in")
    await sign_in(page, "alice")
    await page.get_by_text("Menu", exact=True).click()
    await page.get_by_role("link", name="Inbox", exact=True).click()
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()


async def test_a_planted_script_does_not_run(hub, visit):  # checklist S7
    page = await visit(hub, "alice")
    await page.goto("/inbox")
    page.watch.expect("Content Security Policy|content policy|status of 404")
    await page.evaluate("""() => {
        const script = document.createElement('script'); script.textContent = 'window.ran = 1'; document.body.append(script);
        const other = document.createElement('script'); other.src = 'data:text/javascript,window.ran=1'; document.body.append(other);
        const box = document.createElement('div'); box.innerHTML = '<img src=x onerror="window.ran=1"><b style="color:red">x</b>'; document.body.append(box);
        location.href = 'javascript:window.ran=1';
    }""")
    await page.wait_for_function("() => document.querySelectorAll('script').length > 2")
    assert await page.evaluate("window.ran") is None
    deadline = 50
    while hub.metric("angelia_csp_reports_total") < 3 and (deadline := deadline - 1):
        await page.wait_for_timeout(100)
    assert hub.metric("angelia_csp_reports_total") >= 3
    page.watch.told()


@pytest.mark.parametrize(("wish", "word"), [("de-DE", "Anmelden"), ("ru", "Войти"), ("fr", "Sign in")])
async def test_the_language_is_the_browsers_until_she_signs_in(hub, visit, wish, word):
    page = await visit(hub, None, locale=wish)
    await page.goto("/sign-in")
    await expect(page.get_by_role("button", name=word, exact=True)).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", wish[:2] if wish != "fr" else "en")
