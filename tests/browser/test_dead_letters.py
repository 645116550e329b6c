"""A mail that a server refuses for good: the administrator sees why, and when the server is mended she lets it go again."""

import re

import pytest
from playwright.async_api import expect

from angelia_testing.peers.hub import SampleHub
from angelia_testing.peers.smtp_sink import SmtpSink
from angelia_testing.waiting import wait_until

SUBJECT = "The beam is lost"


@pytest.fixture
def sink():
    made = SmtpSink()
    yield made
    made.stop()


@pytest.fixture
def mailing(filled, sink):
    """A sample hub that sends its mail to a server."""
    made = SampleHub(filled, ANGELIA__AGENTS__MAIL__URL=sink.url)
    yield made
    made.stop()


async def test_a_dead_mail_is_replayed_and_comes(mailing, sink, visit):
    hub = mailing
    sink.pause()
    sink.start("rcpt")
    hub.post(type="operations.dead", subject=SUBJECT, to=["alice"])
    wait_until(lambda: hub.call("GET", "/api/v1/deliveries?state=bounced&agent=mail")["items"], 60)
    page = await visit(hub, "root")
    await page.goto("/admin/operations?login=alice")
    row = page.get_by_role("row").filter(has_text=SUBJECT)
    await expect(row).to_contain_text("bounced")
    await expect(row).to_contain_text("500")
    # Replayed too early, it is refused again.
    await row.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Replay selected").click()
    await expect(page.locator("#said")).to_have_text("They are tried again now.")
    await expect(row).to_be_visible(timeout=60_000)
    sink.pause()
    sink.start()
    await row.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Replay selected").click()
    await expect(row).to_have_count(0, timeout=60_000)
    wait_until(lambda: sink.by_subject()[SUBJECT], 60)
    assert sink.by_subject()[SUBJECT] == 1
    await page.goto("/admin/audit?action=deliveries.replay")
    await expect(page.get_by_role("row").filter(has_text="person:root")).to_have_count(2)
    alice = await visit(hub, "alice")
    await alice.goto("/inbox?group=none")
    await alice.get_by_role("link", name=re.compile(SUBJECT)).first.click()
    await expect(alice.locator("ol.trail > li").filter(has_text="mail")).to_contain_text("delivered")
