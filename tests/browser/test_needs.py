"""Needs that people had of the old systems, each met by somebody at the pages; which test meets which stands in tests/pure/test_needs.py."""

import re

from playwright.async_api import expect

from angelia_testing.waiting import wait_until


def treated(hub, message, login="alice"):
    """What was decided for her, by agent."""
    wait_until(lambda: hub.call("GET", f"/api/v1/messages/{message}/why?login={login}")["is_candidate"], 60)
    return {agent: told["outcome"] for agent, told in hub.call("GET", f"/api/v1/messages/{message}/why?login={login}")["agents"].items()}


async def test_everything_of_my_packages_except_one_architecture_at_once(page, hub):
    """N-5, N-6, N-7, N-15: one rule says whose, for which project, what not, and how urgent."""
    await page.goto("/rules/new")
    preview = page.get_by_role("region", name="Preview")
    await expect(preview).to_contain_text("Choose under “Then” what shall happen")
    await page.get_by_label("Name", exact=True).fill("All but s390x")
    await page.get_by_label("Kind of message").fill("obs.needs")
    await page.get_by_label("My role").fill("maintainer")
    await page.get_by_label("Severity at least").select_option("normal")
    await page.get_by_label("Condition 1: name").fill("arch")
    await page.get_by_label("Condition 1: comparison").select_option("not")
    await page.get_by_label("Condition 1: values").fill("s390x")
    await page.get_by_label("A note for yourself").fill("Until the release")
    await page.get_by_label("mail: when").select_option("now")
    await expect(preview).to_contain_text("tell me by mail at once")
    await page.get_by_role("button", name="Save", exact=True).last.click()
    await expect(page.get_by_role("listitem").filter(has_text="All but s390x")).to_contain_text("Until the release")

    for one, is_now in ((("x86_64", "normal"), True), (("s390x", "normal"), False), (("x86_64", "low"), False)):
        arch, severity = one
        said = {"project": "KDE", "arch": arch}
        message = hub.post(type="obs.needs", object="KDE/kate", subject=arch, params=said, severity=severity, to=["alice"])
        treated(hub, message)
        told = hub.call("GET", f"/api/v1/messages/{message}/why?login=alice")["agents"]["mail"]
        assert told["decided_by"].startswith("rule:") is is_now, (one, told)


async def test_what_is_for_a_group_of_mine_stays_in_the_inbox(page, hub):
    """N-17: mail that comes through a group is hers to refuse, and the copy in the inbox stays."""
    hub.call("PUT", "/api/v1/groups/beamline", {"title": "Beamline", "members": ["alice", "bob"]})
    await page.goto("/preferences")
    box = page.get_by_role("checkbox", name="beamline, by Mail")
    await expect(box).to_be_checked()
    await box.uncheck()
    await expect(page.locator("#saved")).to_contain_text("Saved.")
    message = hub.post(type="group.note", subject="For all of us", to=["group:beamline"])
    assert treated(hub, message)["mail"] == "suppressed" and treated(hub, message)["web"] == "now"
    assert treated(hub, message, "bob")["mail"] != "suppressed"
    await page.goto(f"/why/{message}")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="mail"))
    await row.get_by_role("link", name="change").click()
    await expect(page.get_by_role("heading", name="What comes to my groups")).to_be_in_viewport()
    await expect(box).not_to_be_checked()


async def test_many_of_one_thing_are_one_group_which_is_muted_without_losing_what_names_her(page, hub):
    """N-16, N-18, N-19, N-20: collapsed by its object, marked as one, muted as one, and still told where she is named."""
    hub.call("PUT", "/api/v1/people/alice/follows?object=request/77")
    for number in range(4):
        hub.post(type="request.comment", object="request/77", subject=f"Comment {number}")
    wait_until(lambda: hub.call("GET", "/api/v1/people/alice/inbox/counts?type=request.comment")["total"] == 4, 60)
    await page.goto("/inbox?type=request.comment")
    head = page.locator(".group-head").filter(has_text="request/77")
    await expect(head).to_contain_text("4 messages")
    await page.get_by_role("link", name=re.compile("Comment 3")).click()
    await page.get_by_role("button", name="Mute", exact=True).click()
    await expect(page.get_by_role("button", name="Mute it no more")).to_be_visible()
    silent = hub.post(type="request.comment", object="request/77", subject="Comment 4")
    loud = hub.post(type="request.comment", object="request/77", subject="alice, please", to=["alice"])
    assert set(treated(hub, silent).values()) == {"suppressed"}
    assert treated(hub, loud)["web"] == "now"
    await page.goto("/inbox?type=request.comment")
    await head.get_by_role("button", name="Archive these").click()
    await expect(page.get_by_text(re.compile(r"5 messages are archived"))).to_be_visible()
