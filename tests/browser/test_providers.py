"""Signing in at a provider, in a browser: there and back, out by the provider's word, and an identity that is removed."""

import re

import pytest
from playwright.async_api import expect

from angelia_testing.peers.hub import SampleHub
from angelia_testing.peers.process import free_port
from angelia_testing.peers.provider import SECRET, OpenidProvider


@pytest.fixture(scope="module")
def joined(filled):
    """A sample hub and the provider to which it sends its people."""
    port = free_port()
    provider = OpenidProvider(f"http://127.0.0.1:{port}", "institute", tells_hub=True)
    table = {"ISSUER": provider.issuer, "CLIENT_ID": "hub", "CLIENT_SECRET": SECRET, "TITLE": "The institute", "LINKS_PEOPLE": "true"}
    hub = SampleHub(filled, port=port, **{f"ANGELIA__OIDC__INSTITUTE__{name}": value for name, value in table.items()})
    hub.call("PATCH", "/api/v1/people/bob", {"language": "en"})
    yield hub, provider
    hub.stop()
    provider.close()


async def sign_in(page, provider, login):
    """From our door through the provider's pages, until the browser comes back."""
    page.watch.expect(re.escape(provider.issuer))
    # Its pages are dressed with a font from far away, which no test goes for.
    page.watch.expect("a request left the hub: GET https://fonts.googleapis.com/")
    await page.context.route("https://fonts.googleapis.com/**", lambda route: route.fulfill(content_type="text/css", body=""))
    await page.get_by_role("link", name="Sign in with The institute").click()
    await page.get_by_placeholder("Enter any login").fill(login)
    await page.get_by_placeholder("and password").fill("any")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()


async def test_bob_comes_by_the_institute_and_leaves_there_too(joined, visit):
    hub, provider = joined
    page = await visit(hub, None)
    await page.goto("/inbox?state=unread")
    await sign_in(page, provider, "bob")
    await expect(page).to_have_url(f"{hub.url}/inbox?state=unread")
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    await page.goto("/sessions")
    await expect(page.get_by_role("row").filter(has_text="this one")).to_contain_text(provider.issuer)
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await page.get_by_role("link", name="Sign out at The institute, too").click()
    await page.get_by_role("button", name="Yes, sign me out").click()
    await expect(page).to_have_url(re.compile(f"^{hub.url}/sign-in"))
    await expect(page.get_by_label("Login")).to_be_visible()


async def test_what_the_institute_ends_is_ended_here(joined, visit):
    hub, provider = joined
    page = await visit(hub, None)
    await page.goto("/inbox")
    await sign_in(page, provider, "bob")
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    there = await page.context.new_page()
    await there.goto(f"{provider.issuer}/session/end")
    await there.get_by_role("button", name="Yes, sign me out").click()
    await there.get_by_text("Sign-out Success").wait_for()
    await page.goto("/inbox")
    await expect(page).to_have_url(re.compile("/sign-in"))


async def test_carol_does_not_become_alice_and_alice_takes_her_way_back(joined, visit):
    hub, provider = joined
    page = await visit(hub, None)
    await page.goto("/sign-in")
    await sign_in(page, provider, "alice")
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    other = await visit(hub, None)
    other.watch.expect("400")
    await other.goto("/sign-in")
    await sign_in(other, provider, "carol")
    await expect(other.get_by_role("alert")).to_contain_text("not tied to this sign-in")
    await page.goto("/profile")
    row = page.get_by_role("row").filter(has_text="The institute")
    await expect(row.get_by_role("code")).to_have_text("alice")
    await row.get_by_role("button", name="Remove").click()
    # It opened this session, too.
    await expect(page.get_by_label("Password")).to_be_visible()
    await page.get_by_label("Login").fill("alice")
    await page.get_by_label("Password").fill("sample-alice")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await page.goto("/profile")
    await expect(page.get_by_role("row").filter(has_text="The institute")).to_have_count(0)
