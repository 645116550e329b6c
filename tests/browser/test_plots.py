"""What came of a job is drawn, and answers to mouse, keys and buttons; without a script its numbers stand in a table."""

import pytest
from playwright.async_api import expect

COLOURS = """
figure => { const canvas = figure.querySelector("canvas"), ctx = canvas.getContext("2d");
  const seen = new Set(), data = ctx.getImageData(0, 0, canvas.width, canvas.height).data;
  for (let at = 0; at < data.length; at += 4) seen.add(data.slice(at, at + 3).join());
  return seen.size; }
"""


async def test_an_image_is_drawn_zoomed_and_read_off(tours, shown_hub, visit):
    page = await visit(shown_hub, "alice")
    await page.goto(next(place for place in tours["alice"].pages["/jobs/{job_id}"]))
    figure = page.locator("figure.plot").first
    await figure.scroll_into_view_if_needed()
    log = figure.get_by_role("button", name="Logarithmic colours")
    await expect(log).to_be_enabled()
    # Text on axes alone would have a few greys.
    assert await figure.evaluate(COLOURS) > 100
    plain = await figure.locator(".colours").inner_text()
    await log.click()
    await expect(log).to_have_attribute("aria-pressed", "true")
    assert await figure.evaluate(COLOURS) > 100
    await log.click()
    assert await figure.locator(".colours").inner_text() == plain
    field = figure.locator(".u-over")
    box = await field.bounding_box()
    await page.mouse.move(box["x"] + 3, box["y"] + 3)
    await expect(figure.locator("output")).to_contain_text("count")
    corner = await figure.locator("output").inner_text()
    await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4, steps=4)
    await page.mouse.up()
    await page.mouse.move(box["x"] + 3, box["y"] + 3)
    await expect(figure.locator("output")).not_to_have_text(corner)
    closer = await figure.locator("output").inner_text()
    await figure.locator(".field").focus()
    await page.keyboard.press("ArrowLeft")
    await page.mouse.move(box["x"] + 4, box["y"] + 3)
    await expect(figure.locator("output")).not_to_have_text(closer)
    await figure.get_by_role("button", name="Show all").click()
    await page.mouse.move(box["x"] + 3, box["y"] + 3)
    await expect(figure.locator("output")).to_have_text(corner)


WIDTHS = "[...document.querySelectorAll('thead th')].map((cell) => cell.getBoundingClientRect().width)"


async def test_rows_that_come_in_later_move_no_column(tours, shown_hub, visit):
    page = await visit(shown_hub, "alice")
    await page.goto(tours["alice"].pages["/jobs/{job_id}/rows/{name:path}"][0])
    whole = await page.evaluate(WIDTHS)
    assert len(whole) > 5
    await page.evaluate("document.querySelectorAll('tbody tr:not(:first-child)').forEach((row) => row.remove())")
    assert await page.evaluate(WIDTHS) == pytest.approx(whole, abs=0.1)
    await page.evaluate("document.querySelectorAll('thead th').forEach((cell) => cell.removeAttribute('data-widest'))")
    assert await page.evaluate(WIDTHS) != pytest.approx(whole, abs=1)  # without that they would have moved
