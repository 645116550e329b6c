"""What administrators do: types, templates, sources, agents, people, the site; and that others see none of it."""

import re

import httpx2
import pytest
from playwright.async_api import expect

from angelia_testing.places import routes
from angelia_testing.waiting import wait_until


async def test_a_type_gets_words_and_a_lock(root_page, hub):
    await root_page.goto("/admin/types/obs.build.fail")
    await root_page.get_by_label("Label: de").fill("Ein Bau ist gescheitert")
    await root_page.get_by_label("Severity").select_option("high")
    await root_page.get_by_role("button", name="Save").click()
    await expect(root_page.locator("#said")).to_have_text("Saved.")
    kept = hub.call("GET", "/api/v1/types/obs.build.fail")
    assert kept["labels"]["de"] == "Ein Bau ist gescheitert"
    assert kept["default_severity"] == "high"


async def test_a_template_is_previewed_saved_compared_and_taken_back(root_page, hub):
    await root_page.goto("/admin/templates/edit?key=*/mail/full/en/subject")
    source = root_page.get_by_label("Source of the part subject")
    await source.fill("[hub] {{ subject }}")
    await root_page.get_by_role("button", name="Preview").click()
    preview = root_page.frame_locator("iframe.preview")
    await expect(preview.locator("body")).to_contain_text("[hub] ")
    await root_page.get_by_role("button", name="Save").click()
    await expect(root_page.locator("#said")).to_have_text("Saved.")
    hub.post(type="template.test", subject="Words of ours", to=["bob", "alice"])
    wait_until(lambda: any("[hub] Words of ours" in mail for mail in hub.mails("alice@example.org")), 60)
    root_page.watch.expect("422")
    await source.fill("{{ nothing.of.that")
    await root_page.get_by_role("button", name="Save").click()
    await expect(root_page.locator("#fault")).to_contain_text("This was not saved.")
    await root_page.goto("/admin/templates/edit?key=*/mail/full/en/subject")
    await root_page.get_by_role("button", name="Back to the built-in one").click()
    await expect(root_page.locator("#said")).to_be_visible()


async def test_a_source_gets_a_token_posts_and_loses_it(root_page, hub):
    await root_page.goto("/admin/sources")
    await root_page.get_by_label("Name of a new source").fill("beam line")
    await root_page.get_by_role("button", name="New source").click()
    await root_page.get_by_label("Types that it may post").fill("beam")
    await root_page.get_by_role("button", name="Make this source").click()
    await root_page.get_by_label("Title of a new token").fill("control room")
    await root_page.get_by_role("button", name="Make a token").click()
    secret = await root_page.locator("#secret").inner_text()

    def post(kind):
        headers = {"Authorization": f"Bearer {secret}"}
        return httpx2.post(f"{hub.url}/api/v1/messages", json={"type": kind}, headers=headers, timeout=60).status_code

    assert post("beam.lost") == 201
    assert post("other.thing") == 403
    await root_page.goto("/admin/sources/beam%20line")
    assert secret not in await root_page.content()
    await root_page.get_by_role("button", name="Revoke control room").click()
    await expect(root_page.locator("#said")).to_contain_text("Revoked")
    wait_until(lambda: post("beam.lost") == 401, 60)


async def test_mail_is_paused_and_goes_on(root_page, hub):
    await root_page.goto("/admin/operations")
    await expect(root_page.get_by_role("row").filter(has=root_page.get_by_role("rowheader", name="mail"))).to_contain_text("runs")
    await root_page.get_by_role("button", name="Pause mail").click()
    await expect(root_page.locator("#agent-mail")).to_contain_text("paused")
    hub.post(type="operations.test", subject="waits for mail", to=["alice"])
    await root_page.get_by_role("button", name="Resume mail").click()
    await expect(root_page.locator("#agent-mail")).to_contain_text("runs")
    wait_until(lambda: any("waits for mail" in mail for mail in hub.mails("alice@example.org")), 60)


async def test_what_was_done_stands_in_the_audit_log(root_page, hub):
    await root_page.goto("/admin/groups/sailors")
    await root_page.get_by_label("Title").fill("Sailors")
    await root_page.get_by_label("Members").fill("alice bob")
    await root_page.get_by_role("button", name="Make this group").click()
    assert hub.call("GET", "/api/v1/groups/sailors")["members"] == ["alice", "bob"]
    await root_page.goto("/admin/audit?action=group.")
    await expect(root_page.get_by_role("row").filter(has_text="sailors")).to_contain_text("person:root")


async def test_somebody_new_sets_a_password_by_a_link(root_page, hub, visit):
    await root_page.goto("/admin/people")
    await root_page.get_by_label("Login", exact=True).fill("dave")
    await root_page.get_by_role("button", name="Add", exact=True).click()
    await root_page.goto("/admin/people/dave")
    await root_page.get_by_role("button", name=re.compile("Link to set a")).click()
    link = await root_page.locator(".secret").inner_text()
    page = await visit(hub, None)
    await page.goto(link)
    await page.get_by_label("New password").fill("five small grey boats")
    await page.get_by_label("The same again").fill("five small grey boats")
    await page.get_by_role("button", name="Set it").click()
    await page.goto("/sign-in")
    await page.get_by_label("Login").fill("dave")
    await page.get_by_label("Password").fill("five small grey boats")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()


@pytest.mark.parametrize("path", sorted(route.path for route in routes() if route.path.startswith("/admin") and "{" not in route.path))
async def test_others_see_nothing_of_it(page, path):
    page.watch.expect("404")
    answer = await page.goto(path)
    assert answer.status == 404
    await expect(page.get_by_role("link", name="Audit log")).to_have_count(0)
