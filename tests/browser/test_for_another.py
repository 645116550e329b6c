"""Screens S-17 and S-20: an administrator changes what somebody else wants and where she is reached, and sees whose wishes they are."""

from playwright.async_api import expect


async def test_a_choice_an_absence_and_an_address_for_somebody_else(root_page, hub):
    await root_page.goto("/admin/people/bob")
    await root_page.get_by_role("link", name="Preferences", exact=True).last.click()
    band = root_page.get_by_role("complementary", name="For somebody else")
    await expect(band).to_contain_text("You are changing what")
    await root_page.get_by_role("combobox", name="Everything, by mail").select_option("daily")
    await expect(root_page.locator("#saved")).to_contain_text("Saved.")
    assert hub.call("GET", "/api/v1/people/bob/preferences")["preferences"]["*"]["mail"] == "daily"
    await expect(band).to_contain_text("bob")
    await root_page.get_by_role("button", name="Undo").click()
    await expect(root_page.locator("#saved")).to_contain_text("Taken back.")
    await band.get_by_role("link", name="Away").click()
    await root_page.get_by_label("Until").fill("2099-03-01T08:00")
    await root_page.get_by_role("button", name="Go away until then").click()
    await expect(root_page.get_by_role("heading", name="You are away until")).to_be_visible()
    assert hub.call("GET", "/api/v1/people/bob/preferences")["hold"]["until"].startswith("2099-03-01T08:00")
    await band.get_by_role("link", name="Addresses").click()
    await root_page.get_by_label("Address", exact=True).fill("bob.second@example.org")
    await root_page.get_by_label("I know that this address is hers").check()
    await root_page.get_by_role("button", name="Add, and send a code").click()
    await expect(root_page.get_by_role("article", name="bob.second@example.org")).to_contain_text("works")
    await root_page.goto("/admin/audit?action=behalf.")
    await expect(root_page.get_by_role("row").filter(has_text="behalf.away.put")).to_contain_text("person:root")
    hub.call("DELETE", "/api/v1/people/bob/hold")
