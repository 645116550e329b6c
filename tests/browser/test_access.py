"""Everybody can use every page: axe-core finds nothing, light and dark, on a desk and on a phone."""

import pytest

from angelia_testing.browser import PHONE, WIDE
from angelia_testing.places import pattern_of, routes

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Light changes colours and nothing else; width changes what is shown, how large, and where: so all rules once, and once more those that it may break.
BY_WIDTH = [
    "aria-hidden-focus",
    "color-contrast",
    "link-in-text-block",
    "region",
    "scrollable-region-focusable",
    "skip-link",
    "tabindex",
    "target-size",
]
LOOKS = ((WIDE, "light", RULES), (WIDE, "dark", ["color-contrast"]), (PHONE, "dark", BY_WIDTH))
PATTERNS = sorted({route.path for route in routes()})
# No link leads there, and for a reason.
UNLINKED = {
    "/set-password/{token}": "an administrator hands the link over, once",
    "/addresses/verify": "the link comes with the code",
    "/jobs/{job_id}/plots/{name:path}": "the page of the job draws what comes from there",
    "/sign-in/{name}": "only where there is a provider",
    "/sign-in/{name}/callback": "the provider sends people there",
}


def examples(tours, pattern):
    """The pages of a pattern, each with who opens it: alice where she can, and somebody who is not signed in where that gives another page."""
    for login in ("alice", "root", None):
        found = tours[login].pages.get(pattern, [])
        if found and not (login == "root" and tours["alice"].pages.get(pattern)):
            yield login, found[0]


async def violations(page, rules=RULES) -> list[str]:
    """What axe-core says, with every closed part opened: what is hidden now may be read later."""
    await page.evaluate("() => document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    # Row after row of a long table is alike.
    found = await page.evaluate("rules => axe.run({exclude: ['tbody tr:nth-child(n+21)']}, {runOnly: rules, resultTypes: ['violations']})", rules)
    return [f"{one['id']}: {node['target']}: {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]


async def look(page, path, axe) -> list[str]:
    """A page in two widths and two kinds of light."""
    await page.goto(path)
    await page.evaluate(axe)
    found = []
    for size, light, rules in LOOKS:
        await page.set_viewport_size(size)
        await page.emulate_media(color_scheme=light)
        await page.wait_for_function("light => document.documentElement.dataset.bsTheme === light", arg=light)
        found += [f"{path}, {light}, {size['width']} wide: {violation}" for violation in await violations(page, rules)]
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} pixels wider than a window of {size['width']}"
    return found


@pytest.mark.parametrize("pattern", PATTERNS)
async def test_nothing_stands_in_anybodys_way(pattern, tours, sights, axe):
    found = []
    for login, path in examples(tours, pattern):
        found += await look(await sights.of(login), path, axe)
    assert found == []


def test_a_link_leads_to_every_page(tours):
    others = {pattern_of(path.partition("?")[0]) for one in tours.values() for path, status in one.others.items() if status < 400}
    reached = {pattern for one in tours.values() for pattern in one.pages} | others
    assert set(PATTERNS) - reached - UNLINKED.keys() == set()


def test_nothing_that_a_page_links_to_is_missing(tours):
    """What leads astray: an error behind a link, for the one who sees the link."""
    astray = {f"{login}: {path}": status for login, one in tours.items() for path, status in one.others.items() if status >= 400}
    assert {place: status for place, status in astray.items() if place.partition(": ")[2] not in PATTERNS} == {}


async def test_keyboard_help_and_the_menu_of_a_phone(shown_hub, visit, axe):
    page = await visit(shown_hub, "alice", viewport=PHONE)
    await page.context.add_init_script(axe)
    await page.goto("/inbox")
    rooms = page.get_by_role("navigation", name="Rooms")
    assert not await rooms.get_by_role("link", name="Preferences").is_visible()
    await rooms.get_by_text("Menu").click()
    await rooms.get_by_role("link", name="Preferences").wait_for()
    await page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keyboard")
    await dialog.wait_for()
    assert await violations(page) == []
    await page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")


async def test_the_first_tab_leads_to_the_content(shown_hub, visit):
    page = await visit(shown_hub, "alice")
    await page.goto("/inbox")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "room"
