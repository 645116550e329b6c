"""A mail made of hostile text, as the server got it, in a real browser: it shows text, asks nobody for anything, and runs nothing (bad input E122, S19)."""

import email
import email.policy
from urllib.parse import urlsplit

import pytest_asyncio

from angelia.agents.mail import MailAgent
from angelia.agents.mail.settings import MailSettings
from angelia.model.delivery import Sent
from angelia_testing.peers.sink import Sink
from angelia_testing.suites.agent import Bench

BODIES = {
    "a dot alone": ".\n..\nFrom me\n",
    "a long line": "x" * 2_000,
    "a boundary": "--boundary\n--=_b_0000000000001--\n",
    "a script": "<script>window.__xss=1</script><svg onload=window.__xss=2>",
    "a picture": '<img src=http://127.0.0.1:21099/t><img src=x onerror=window.__xss=3><picture><source srcset="http://127.0.0.1:21099/u"></picture>',
    "a link": "<a href=javascript:window.__xss=4>here</a> <a href='data:text/html,<script>window.__xss=5</script>'>there</a>",
    "a style": "<style>*{position:fixed;background:url(http://127.0.0.1:21099/s)}</style><p style='position:fixed;top:0;inset:0'>over all</p>",
    "a form": "<form action=http://127.0.0.1:21099/f><input name=password autofocus><button>Sign in</button></form>",
    "a frame": "<iframe src=http://127.0.0.1:21099/i></iframe><object data=http://127.0.0.1:21099/o></object><link rel=stylesheet href=http://127.0.0.1:21099/l>",
    "another page": "<meta http-equiv=refresh content='0;url=http://127.0.0.1:21099/m'><base href=http://127.0.0.1:21099/>",
    "the end of it": "</pre></div></body></html><script>window.__xss=6</script>",
    "markdown": "![t](http://127.0.0.1:21099/t) [x](javascript:window.__xss=7) <img src=http://127.0.0.1:21099/h>",
}
BAD = "script, style, form, input, button, iframe, object, embed, link, base, meta[http-equiv=refresh], img, picture, svg"
LOOK = """(bad) => ({
    bad: [...document.querySelectorAll(bad)].map((one) => one.outerHTML.slice(0, 100)),
    laid: [...document.body.querySelectorAll("*")].filter((one) => !["static", "relative"].includes(getComputedStyle(one).position)).length,
    links: [...document.querySelectorAll("[href]")].map((one) => one.getAttribute("href")),
    text: document.body.innerText,
    is_run: window.__xss !== undefined,
})"""


async def mails_of(bodies):
    """What a mail server gets of these (body, format), as HTML."""
    sink = Sink()
    sink.start()
    agent = MailAgent(MailSettings(url=sink.url, sender="hub@test.example", domain="test.example"))
    bench = Bench(agent, "alice@test.example")
    for number, (body, body_format) in enumerate(bodies, 1):
        letter = bench.letter(number, subject=body[:100], body=f"{body}\nthe end", body_format=body_format, params={"k": body})
        assert isinstance(await agent.deliver(letter), Sent)
    await agent.close()
    sink.stop()
    mails = [email.message_from_bytes(raw, policy=email.policy.default) for raw in sink.mails]
    return [mail.get_body(("html",)).get_content() for mail in mails]


@pytest_asyncio.fixture(loop_scope="session")
async def reader(chromium):
    """A page that may ask for nothing, and what it asked for."""
    context = await chromium.new_context()
    page, asked = await context.new_page(), []

    async def refuse(route):
        asked.append(route.request.url)
        await route.abort()

    await context.route("**/*", refuse)
    page.on("dialog", lambda dialog: asked.append(f"a dialog: {dialog.message}"))
    yield page, asked
    await context.close()


async def test_a_mail_of_hostile_text_asks_for_nothing_and_runs_nothing(reader):
    page, asked = reader
    wanted = [(name, body, form) for name, body in BODIES.items() for form in ("text", "markdown", "html")]
    for (name, body, form), html in zip(wanted, await mails_of([each[1:] for each in wanted]), strict=True):
        await page.set_content(html, wait_until="load")
        seen = await page.evaluate(LOOK, BAD)
        assert (asked, seen["bad"], seen["laid"], seen["is_run"]) == ([], [], 0, False), (name, form)
        assert all(urlsplit(link).scheme in ("https", "http", "mailto") for link in seen["links"]), (name, form, seen["links"])
        assert "the end" in seen["text"], (name, form)
        if form == "text":
            assert body.split("\n")[0] in seen["text"], (name, form)


async def test_this_reader_would_see_it(reader):
    """The same look at a mail that was not made safe."""
    page, asked = reader
    await page.set_content("".join(body for name, body in BODIES.items() if name != "another page"), wait_until="load")
    seen = await page.evaluate(LOOK, BAD)
    assert asked and seen["bad"] and seen["is_run"]
