"""Preferences, schedules, absence, follows and rules as people settle them in the browser, and as they then hold."""

import re

from playwright.async_api import expect

from angelia_testing.waiting import wait_until


def decided(hub, message, login="alice"):
    wait_until(lambda: hub.call("GET", f"/api/v1/messages/{message}/why?login={login}")["is_candidate"], 60)
    return hub.call("GET", f"/api/v1/messages/{message}/why?login={login}")["agents"]


async def test_a_choice_in_the_grid_holds_at_once_is_explained_and_can_be_taken_back(page, hub):
    await page.goto("/preferences")
    mail = page.get_by_label(re.compile(r"^obs\.build, by Mail$|^A build failed, by Mail$")).first
    before = await mail.input_value()
    await mail.select_option("off")
    saved = page.locator("#saved")
    await expect(saved).to_contain_text("Saved.")
    message = hub.post(type="obs.build.fail", object="KDE/okular", subject="okular failed once more", params={"project": "KDE"})
    assert decided(hub, message)["mail"]["outcome"] == "suppressed"
    await page.goto(f"/why/{message}")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="mail"))
    await expect(row).to_contain_text("switched off for this type")
    await expect(row).to_contain_text("the preference for obs.build")
    await page.goto("/preferences")
    await page.get_by_label(re.compile(r"^obs\.build, by Mail$|^A build failed, by Mail$")).first.select_option("now")
    await saved.get_by_role("button", name="Undo").click()
    await expect(saved).to_contain_text("Taken back.")
    await expect(mail).to_have_value("off")
    await mail.select_option(before)
    await expect(saved).to_contain_text("Saved.")


async def test_a_rule_from_a_message_is_tried_saved_switched_off_moved_and_deleted(page, hub):
    message = hub.post(
        type="instrument.error", object="yumo/17", subject="Frames are lost", to=["alice"], params={"instrument": "yumo"}, severity="high"
    )
    decided(hub, message)
    await page.goto(f"/rules/new?from={message}")
    await expect(page.get_by_text("Filled in from “Frames are lost”")).to_be_visible()
    await expect(page.get_by_label("Kind of message")).to_have_value("instrument.error")
    await page.get_by_label("Name", exact=True).fill("Lost frames")
    preview = page.get_by_role("region", name="Preview")
    await page.get_by_label("mail: when").select_option("off")
    await expect(preview).to_contain_text("send nothing by mail")
    await expect(preview).to_contain_text("It matches 1 of")
    await page.get_by_role("button", name="Save", exact=True).last.click()
    await expect(page).to_have_url(re.compile(r"/rules"))
    mine = page.get_by_role("listitem").filter(has=page.get_by_role("link", name="Lost frames"))
    await expect(mine).to_contain_text("send nothing by mail")
    again = hub.post(
        type="instrument.error", object="yumo/17", subject="Frames are lost again", to=["alice"], params={"instrument": "yumo"}, severity="high"
    )
    assert decided(hub, again)["mail"]["reason"] == "rule_off"
    await mine.get_by_role("button", name="Switch off: Lost frames").click()
    await expect(mine.get_by_role("button", name="Switch on: Lost frames")).to_be_visible()
    await mine.get_by_role("button", name="Duplicate: Lost frames").click()
    await page.goto("/rules")
    names = page.locator("ol.rules h2 a")
    first = await names.nth(0).inner_text()
    await page.get_by_role("button", name=f"Move down: {first}").first.click()
    await expect(names.nth(1)).to_have_text(first)
    count = await names.count()
    await page.get_by_role("button", name="Delete: Lost frames").first.click()
    await expect(names).to_have_count(count - 1)
    await page.get_by_role("button", name="Undo").click()
    await expect(names).to_have_count(count)


async def test_rules_are_put_in_order_by_dragging(hub, visit):
    wants = hub.call("GET", "/api/v1/people/root/preferences")
    rules = [{"id": name, "name": name, "type": f"some.{name}", "do": {"mail": "now"}} for name in ("first", "second", "third")]
    hub.call("PUT", "/api/v1/people/root/preferences", wants | {"rules": rules})
    page = await visit(hub, "root")
    await page.goto("/rules")
    handles = page.locator(".handle")
    await expect(handles).to_have_count(3)
    third = page.locator("ol.rules > li").filter(has=page.get_by_role("link", name="third", exact=True)).locator(".handle")
    for _ in range(10):  # on a busy machine the browser joins moves of the mouse, and the rule lands one place too low
        await third.hover()
        box, top = await third.bounding_box(), await handles.nth(0).bounding_box()
        await page.mouse.down()
        await page.mouse.move(box["x"] + 4, box["y"] - 10, steps=4)
        await page.mouse.move(top["x"] + 4, top["y"] - 14, steps=12)
        await page.wait_for_timeout(200)
        await page.mouse.up()
        await page.wait_for_timeout(500)
        if await page.locator("ol.rules h2 a").nth(0).text_content() == "third":
            break
    await expect(page.locator("ol.rules h2 a").nth(0)).to_have_text("third")
    wait_until(lambda: hub.call("GET", "/api/v1/people/root/rules")["items"][0]["name"] == "third", 60)


async def test_quiet_hours_and_a_schedule(page, hub):
    await page.goto("/schedules")
    await page.get_by_label("From").fill("22:00")
    await page.get_by_label("To", exact=True).fill("06:30")
    await page.get_by_role("button", name="Turn on").click()
    await expect(page.get_by_role("region", name="Quiet hours")).to_contain_text("22:00 – 06:30")
    await page.get_by_label("Name").fill("lunch")
    await page.get_by_label("How often").select_option("day")
    await page.get_by_label("At", exact=True).fill("25:99")
    await page.get_by_role("button", name="Save", exact=True).click()
    page.watch.expect("422")
    await expect(page.get_by_role("alert")).to_contain_text("Nothing was saved")
    await page.get_by_label("At", exact=True).fill("12:15")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_role("row").filter(has_text="lunch")).to_contain_text("each day at 12:15")
    wants = hub.call("GET", "/api/v1/people/alice/preferences")
    assert wants["quiet"]
    assert wants["schedules"]["lunch"]["at"] == ["12:15"]


async def test_away_and_back(page, hub):
    await page.goto("/away")
    await page.get_by_label("Until").fill("2031-05-01T08:00")
    await page.get_by_label("A note for yourself").fill("Beam time elsewhere")
    await page.get_by_role("button", name="Go away until then").click()
    await expect(page.get_by_role("heading", name="You are away until")).to_be_visible()
    message = hub.post(type="instrument.note", subject="while she is away", to=["alice"])
    assert decided(hub, message)["mail"]["outcome"] == "held"
    await page.get_by_role("button", name="I am back").click()
    await expect(page.get_by_role("button", name="Go away until then")).to_be_visible()
    assert not hub.call("GET", "/api/v1/people/alice/preferences").get("hold")


async def test_follows_and_mutes(page, hub):
    await page.goto("/follows")
    await page.get_by_label("Object to follow").fill("dataset/31")
    await page.get_by_role("button", name="Follow", exact=True).click()
    await expect(page.get_by_role("link", name="dataset/31")).to_be_visible()
    message = hub.post(type="dataset.published", object="dataset/31", subject="published")
    assert decided(hub, message)
    await page.get_by_label("Object to mute").fill("dataset/31")
    await page.get_by_role("button", name="Mute", exact=True).click()
    await expect(page.get_by_role("button", name="Unmute dataset/31")).to_be_visible()
    await page.get_by_role("button", name="Unfollow dataset/31").click()
    await expect(page.get_by_role("button", name="Unfollow dataset/31")).to_have_count(0)
    wants = hub.call("GET", "/api/v1/people/alice/preferences")
    assert wants["mutes"] == {"dataset/31": "normal"}


async def test_one_type_is_settled_in_the_tree(page, hub):
    await page.goto("/types?type=instrument.measurement.end")
    when = page.get_by_label("When by Mail").first
    await when.select_option("weekly")
    await expect(page.locator("#saved")).to_contain_text("Saved.")
    wait_until(lambda: "weekly" in str(hub.call("GET", "/api/v1/people/alice/preferences")["preferences"]), 60)


async def test_the_order_of_ways_is_made_by_keyboard(page, hub):
    """Focus stays with the entry that she moves; the step is taken back like any other wish."""
    wants = hub.call("GET", "/api/v1/people/alice/preferences")
    hub.call("PUT", "/api/v1/people/alice/preferences", wants | {"fallback": ["mail", "web"]})
    await page.goto("/preferences")
    names = page.get_by_role("list", name="If a way fails").locator(".name")
    await expect(names).to_have_text(["Mail", "Inbox"])
    await page.get_by_role("button", name="Move up: Inbox").press("Enter")
    await expect(names).to_have_text(["Inbox", "Mail"])
    assert await page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move up: Inbox"
    assert hub.call("GET", "/api/v1/people/alice/preferences")["fallback"] == ["web", "mail"]
    await page.locator("#saved").get_by_role("button", name="Undo").click()
    await expect(names).to_have_text(["Mail", "Inbox"])
