"""A hub behind nginx that speaks TLS, as our documentation sets it up: cookies, the origin, who somebody is, what the log holds (S5, S7, S13, S31, S47)."""

import ssl
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import expect

from angelia_testing.peers.hub import SampleHub
from angelia_testing.peers.nginx import Nginx
from angelia_testing.waiting import wait_until

PAGE = Path(__file__).parents[2] / "docs/how-to/behind-nginx.md"


class Fronted:
    """The hub as it is reached through the proxy."""

    def __init__(self, hub, url):
        self._hub = hub
        self.url = url

    def __getattr__(self, name):
        return getattr(self._hub, name)


@pytest.fixture(scope="module")
def proxy(filled):
    with ExitStack() as stack:
        nginx = Nginx()
        stack.callback(nginx.stop)
        hub = SampleHub(filled, ANGELIA__HOUSE__BASE_URL=nginx.url, ANGELIA__WEB__PROXIES="127.0.0.1")
        stack.callback(hub.stop)
        nginx.say(PAGE, hub.port)
        nginx.hub = Fronted(hub, nginx.url)
        yield nginx


def client_of(proxy, place="127.0.0.2"):
    """A client at an address. Who comes from the proxy's own would be taken for a second proxy."""
    transport = httpx2.HTTPTransport(verify=ssl.create_default_context(cafile=str(proxy.authority)), local_address=place)
    return httpx2.Client(base_url=proxy.url, transport=transport, timeout=60)


@pytest.fixture
def client(proxy):
    with client_of(proxy) as made:
        yield made


def sign_in(client, password="sample-alice", **headers):
    form = {"login": "alice", "password": password}
    return client.post(
        "/sign-in",
        data=form,
        headers={"Origin": str(client.base_url).rstrip("/")} | {name.replace("_", "-"): value for name, value in headers.items()},
    )


def test_the_cookie_is_for_this_host_and_tls_alone(client):
    answer = sign_in(client)
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    (cookie,) = answer.headers.get_list("set-cookie")
    name, *rest = (part.strip() for part in cookie.split(";"))
    assert name.startswith("__Host-angelia=")
    parts = {part.partition("=")[0].lower(): part.partition("=")[2] for part in rest}
    assert parts["path"] == "/" and parts["samesite"].lower() == "lax" and {"secure", "httponly"} <= parts.keys() and "domain" not in parts
    assert answer.headers["strict-transport-security"].startswith("max-age=")


async def test_alice_signs_in_and_lives_behind_it(proxy, visit):
    page = await visit(proxy.hub, None, ignore_https_errors=True)
    await page.goto("/inbox")
    await page.get_by_label("Login").fill("alice")
    await page.get_by_label("Password").fill("sample-alice")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    (cookie,) = await page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == ("__Host-angelia", True, True, "Lax")
    assert await page.evaluate("document.cookie") == ""
    # Her stream comes through as well: what is new appears without her doing anything.
    proxy.hub.post(type="proxy.test", subject="through nginx", to=["alice"])
    await page.get_by_role("link", name="through nginx").first.wait_for()
    # And what she changes: the origin is that of the proxy.
    await page.get_by_role("checkbox", name="Select: through nginx").check()
    await page.get_by_role("button", name="Archive", exact=True).click()
    await expect(page.get_by_role("status").filter(has_text="archived")).to_be_visible()


def test_what_a_client_says_of_its_address_is_worth_nothing(client, proxy):
    """The limit on wrong passwords holds, whatever stands in X-Forwarded-For; with the right one she comes in from elsewhere all the same."""
    with client_of(proxy, "127.0.0.3") as thief:
        codes = [sign_in(thief, "wrong", X_Forwarded_For=f"198.51.100.{n}").status_code for n in range(12)]
    assert codes[0] == 401 and codes[-1] == 429
    assert sign_in(client).status_code == 303


def test_pages_of_others_change_nothing(client, proxy):
    sign_in(client)
    # The same site over plain HTTP is another origin.
    for origin in ("https://evil.example", proxy.url.replace("https", "http"), "null"):
        assert client.post("/sign-out", headers={"Origin": origin}).status_code == 403, origin
    assert client.get("/inbox").status_code == 200  # she is still signed in
    assert client.post("/sign-out", headers={"Origin": proxy.url}).status_code == 303
    assert client.get("/inbox").status_code == 303


def test_a_host_of_somebody_else_is_refused_and_metrics_stay_closed_to_far_ones(client):
    assert client.get("/sign-in", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 200  # this client does sit here


def test_no_secret_address_stands_in_its_log(client, proxy):
    feed = (proxy.hub.data / "alice.feed").read_text().strip()
    secret = feed.rstrip("/").rpartition("/")[2].partition(".")[0]
    answer = client.get("/feeds/" + feed.partition("/feeds/")[2])
    assert answer.status_code == 200
    assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer")
    client.get("/inbox?text=not-for-the-log")
    wait_until(lambda: " /inbox " in proxy.log(), 30)
    assert "/feeds/***" in proxy.log()
    assert secret not in proxy.log() and "not-for-the-log" not in proxy.log()
