"""Sign-in with a real OpenID provider, page by page over HTTP: there, back, out here, out there; and the provider's end of the bargain."""

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from angelia.front import app_of
from angelia.house import House
from angelia.settings import load
from angelia.stores.sql import upgrade
from angelia_testing.peers.provider import SECRET, through_pages

BASE = "http://127.0.0.1:8080"
CALLBACK = f"{BASE}/sign-in/real/callback"


@pytest.fixture
async def house(tmp_path, openid_provider):
    secret = tmp_path / "client-secret"
    secret.write_text(f"{SECRET}\n")
    table = {
        "issuer": openid_provider.issuer,
        "client_id": "hub",
        "client_secret_file": str(secret),
        "scopes": "openid profile email groups",
        "admin_group": "ops",
    }
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "web": {"passwords": False}, "oidc": {"real": table}})
    await asyncio.to_thread(upgrade, settings.database)
    async with House.open(settings) as made:
        yield made


@pytest.fixture
async def hub(house):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url=BASE) as browser:
        yield browser


async def signed_in(hub, outside, login="alice"):
    left = await hub.get("/sign-in/real?next=/inbox")
    assert left.status_code == 303
    place = await through_pages(outside, left.headers["location"], login, CALLBACK)
    return place, await hub.get(place.removeprefix(BASE))


@pytest.fixture
async def outside():
    async with httpx2.AsyncClient() as browser:
        yield browser


async def test_the_whole_way_and_out_again(hub, outside, house, openid_provider):
    page = await hub.get("/sign-in")
    assert 'href="/sign-in/real"' in page.text and 'type="password"' not in page.text
    assert (await hub.post("/sign-in", data={"login": "alice", "password": "x"}, headers={"Sec-Fetch-Site": "same-origin"})).status_code == 403
    place, inside = await signed_in(hub, outside)
    assert (inside.status_code, inside.headers["location"]) == (303, "/inbox")
    assert (await hub.get("/inbox")).status_code == 200
    alice = await house.store.person("alice")
    assert (alice.name, alice.language, alice.time_zone, alice.is_admin) == ("Alice", "de", "Europe/Berlin", True)
    (address,) = await house.store.addresses(alice.person_id)
    assert (address.value, address.state.value) == ("alice@test.example", "ok")
    assert (await hub.get(place.removeprefix(BASE))).status_code == 400

    # The provider ends its session; the hub hears of it and so ends its own.
    gone = await outside.get(f"{openid_provider.issuer}/session/end", params={"client_id": "hub", "post_logout_redirect_uri": f"{BASE}/sign-in"})
    assert gone.status_code == 200
    form = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', gone.text)) | {"logout": "yes"}
    confirmed = await outside.post(f"{openid_provider.issuer}/session/end/confirm", data=form)
    assert confirmed.is_redirect and confirmed.headers["location"].startswith(f"{BASE}/sign-in")
    (told,) = openid_provider.told.asked
    assert (await hub.get("/inbox")).status_code == 200
    notice = await hub.post("/sign-in/real/logout", content=told.body, headers={"Content-Type": told.headers["content-type"]})
    assert notice.status_code == 200
    assert (await hub.get("/inbox")).headers["location"] == "/sign-in?next=/inbox"


async def test_a_person_of_another_name_gets_no_account_of_hers(hub, outside, house):
    await signed_in(hub, outside, "alice")
    async with httpx2.AsyncClient() as other, httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url=BASE) as carol:
        _, answer = await signed_in(carol, other, "carol")
        assert answer.status_code == 400 and "not tied to this sign-in" in answer.text
        assert (await carol.get("/inbox")).status_code == 303


async def test_an_address_that_the_provider_did_not_verify_is_not_written_to(hub, outside, house):
    _, inside = await signed_in(hub, outside, "bob")
    assert inside.status_code == 303
    bob = await house.store.person("bob")
    (address,) = await house.store.addresses(bob.person_id)
    assert (bob.is_admin, address.state.value) == (False, "unverified")


async def test_the_secret_and_the_verifier_count(hub, outside, house, openid_provider):
    """The provider refuses a code without the verifier of this browser, or without the hub's secret: so a code that leaks is worth nothing."""
    left = await hub.get("/sign-in/real")
    place = await through_pages(outside, left.headers["location"], "alice", CALLBACK)
    code = parse_qs(urlsplit(place).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": "x" * 43}
    refused = await outside.post(f"{openid_provider.issuer}/token", data=form | {"client_id": "hub"})
    assert refused.status_code in (400, 401)


async def test_who_is_signed_in_stays_so_while_the_provider_is_down(hub, outside, house, openid_provider):
    """Fault F32."""
    await signed_in(hub, outside)
    openid_provider.stop()
    try:
        assert (await hub.get("/inbox")).status_code == 200
        house.providers["real"]._described = None
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url=BASE) as other:
            answer = await other.get("/sign-in/real")
            assert answer.status_code == 503 and "does not answer now" in answer.text
    finally:
        openid_provider.start()
    house.providers["real"]._rests_until = 0.0
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url=BASE) as other, httpx2.AsyncClient() as fresh:
        _, inside = await signed_in(other, fresh)
        assert inside.status_code == 303
