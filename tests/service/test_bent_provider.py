"""Sign-in against a provider that lies, fails or is slow: nobody gets in who should not, and every refusal is a page that says what to do (E8)."""

import asyncio
import base64
import hashlib
import hmac
import json
import shutil
import time
import warnings
from dataclasses import replace

import httpx2
import pytest
from joserfc.jwk import RSAKey
from joserfc.jws import serialize_compact

from angelia.flow.clock import now
from angelia.front import app_of
from angelia.house import House
from angelia.model.person import Person
from angelia.settings import load
from angelia.web.signin import oidc
from angelia.web.signin.provider import OidcProvider
from angelia.web.signin.tries import Tries
from angelia_testing.databases import with_schema
from angelia_testing.peers.bent_provider import BentProvider, ec_key, part, rsa_key
from angelia_testing.peers.http import Reply

BASE = "http://127.0.0.1:8080"


@pytest.fixture
def peer():
    made = BentProvider()
    yield made
    made.stop()


class Hub:
    def __init__(self, house, peer):
        self.house, self.store, self.peer = house, house.store, peer
        self.app = app_of(house)
        self.olds = []

    def browser(self):
        return httpx2.AsyncClient(transport=httpx2.ASGITransport(self.app), base_url=BASE)

    async def sign_in(self, browser, place="/inbox"):
        """There and back; the last answer."""
        left = await browser.get("/sign-in/peer", params={"next": place})
        if left.status_code != 303:
            return left
        return await browser.get(f"/sign-in/peer/callback?{self.peer.authorize(left.headers['location'])}")

    def fresh(self):
        """As after a start: the provider is known by its settings only."""
        old = self.house.providers["peer"]
        self.house.providers["peer"] = OidcProvider("peer", old.settings)
        self.olds.append(old)

    async def sessions(self):
        people = await self.store.list_people("", 100)
        return [session for person in people for session in await self.store.list_sessions(person.person_id, now())]


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """A database with its schema: made once, copied for each test."""
    folder = tmp_path_factory.mktemp("empty")
    with_schema(f"sqlite:///{folder / 'angelia.db'}")
    return folder


@pytest.fixture
async def hub(tmp_path, peer, request, monkeypatch, empty):
    monkeypatch.setattr(oidc, "_by_place", Tries(1_000, 60.0))
    own = getattr(request, "param", {})
    table = {"issuer": peer.issuer, "client_id": "hub", "client_secret": "s", "title": "The Institute", "timeout": 1.0} | own
    settings = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "oidc": {"peer": table}})
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    async with House.open(settings) as house:
        made = Hub(house, peer)
        yield made
        for old in made.olds:
            await old.close()


async def test_an_upright_provider_signs_in_and_the_person_is_made_of_its_claims(hub):
    async with hub.browser() as browser:
        page = await browser.get("/sign-in")
        assert 'href="/sign-in/peer"' in page.text and "The Institute" in page.text
        inside = await hub.sign_in(browser)
        assert (inside.status_code, inside.headers["location"]) == (303, "/inbox")
        assert (await browser.get("/inbox")).status_code == 200
        alice = await hub.store.person("alice")
        assert (alice.name, alice.is_admin) == ("Alice", False)
        (address,) = await hub.store.addresses(alice.person_id)
        assert (address.value, address.state.value) == ("alice@test.example", "ok")
        assert await hub.store.identities(alice.person_id) == [(hub.peer.issuer, "s1")]
        # Again, with another name and another address: it is still she.
        hub.peer.userinfo = {"preferred_username": "root", "email": "root@test.example", "email_verified": True}
        async with hub.browser() as other:
            assert (await hub.sign_in(other)).status_code == 303
        assert await hub.store.person("root") is None
        assert len(await hub.sessions()) == 2


def bend_key(peer):
    peer.key = rsa_key("other")
    peer.header["kid"] = "other"


def none(name):
    return lambda peer: setattr(peer, "token", lambda claims: f"{part({'alg': name, 'typ': 'JWT'})}.{part(claims)}.")


def by_public_key(peer):
    """HS256 with the text of the public key as the secret: a library that lets the token choose takes it."""
    secret = rsa_key("k1").as_pem(private=False)

    def token(claims):
        text = f"{part({'alg': 'HS256', 'kid': 'k1'})}.{part(claims)}"
        return f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"

    peer.token = token


def header(**more):
    return lambda peer: peer.header.update(more)


def at(seconds):
    """A time counted from the moment of use: a table is made when the tests are collected, and a run may be long."""
    return lambda: int(time.time()) + seconds


def told(more):
    return {name: value() if callable(value) else value for name, value in more.items()}


def claims(**more):
    return lambda peer: peer.claims.update(told(more))


def zero_signature(peer):
    """ES256 with r = s = 0 (CVE-2022-21449)."""
    peer.published.append(ec_key("e1").as_dict(private=False))
    peer.token = lambda claims: f"{part({'alg': 'ES256', 'kid': 'e1'})}.{part(claims)}.{part(bytes(64))}"


def wrong_curve(peer):
    key = ec_key("e3", "P-384")
    peer.published.append(key.as_dict(private=False) | {"alg": "ES256"})
    peer.token = lambda claims: f"{part({'alg': 'ES256', 'kid': 'e3'})}.{part(claims)}.{part(bytes(64))}"


def twice(peer):
    """A claim that stands twice, rightly signed."""

    def token(claims):
        text = json.dumps(claims)[:-1] + ', "sub": "root"}'
        return serialize_compact({"alg": "RS256", "kid": "k1"}, text, rsa_key("k1"))

    peer.token = token


def short_key(peer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer.key = RSAKey.generate_key(1_024, {"kid": "k1", "use": "sig"})
        peer.published = [peer.key.as_dict(private=False)]


def reply(path, answer):
    return lambda peer: peer.replies.update({path: answer})


LIES = {
    "alg none": none("none"), "alg None": none("None"), "alg nOnE": none("nOnE"), "HS256 by the public key": by_public_key,
    "an algorithm that is not allowed": header(alg="RS512"), "unknown key": bend_key, "kid is a path": header(kid="../../dev/null"),
    "kid is SQL": header(kid="' OR 1=1 --"), "jku": header(jku="http://127.0.0.1:1/keys"), "jwk": header(jwk=rsa_key("other").as_dict(private=False)),
    "x5u": header(x5u="http://127.0.0.1:1/x"), "crit": lambda peer: setattr(peer, "token", lambda claims: f"{part({'alg': 'RS256', 'crit': ['exp']})}.{part(claims)}.AAAA"), "typ of an access token": header(typ="at+jwt"),
    "typ of a logout token": header(typ="logout+jwt"), "signature of zeros": zero_signature, "wrong curve": wrong_curve, "claims twice": twice,
    "a short key": short_key,
    "empty token": lambda peer: setattr(peer, "token", lambda _: ""), "five dots": lambda peer: setattr(peer, "token", lambda _: "....."),
    "no ASCII": lambda peer: setattr(peer, "token", lambda _: "ä.b.c"), "token of 130 kB": claims(more="x" * 100_000),
    "token that is a number": lambda peer: setattr(peer, "token", lambda _: 7),
    "exp missing": claims(exp=...), "exp past": claims(exp=at(-120)), "exp is text": claims(exp="4102444800"), "exp is true": claims(exp=True),
    "exp is endless": claims(exp=float("inf")), "exp in ten years": claims(exp=at(315_360_000)), "exp is a list": claims(exp=[1]),
    "nbf ahead": claims(nbf=at(600)), "iat ahead": claims(iat=at(600)), "iat missing": claims(iat=...),
    "aud missing": claims(aud=...), "aud other": claims(aud="other"), "aud is a list of others": claims(aud=["a", "b"]), "aud is a number": claims(aud=1),
    "several aud and no azp": claims(aud=["hub", "other"]), "azp other": claims(azp="other"), "iss other": claims(iss="http://127.0.0.1:1"),
    "iss with a slash": lambda peer: peer.claims.update(iss=f"{peer.issuer}/"), "iss missing": claims(iss=...),
    "sub missing": claims(sub=...), "sub is a number": claims(sub=1), "sub is empty": claims(sub=""), "sub is long": claims(sub="s" * 10_000),
    "sub holds NUL": claims(sub="s\x00"), "nonce other": claims(nonce="other"), "nonce missing": claims(nonce=...), "nonce is a number": claims(nonce=1),
    "at_hash of another token": claims(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "a logout token": claims(events={}),
    "userinfo of somebody else": lambda peer: peer.userinfo.update(sub="s2"), "userinfo without sub": lambda peer: peer.userinfo.update(sub=None),
    "userinfo is a token": reply("/userinfo", Reply(200, b"a.b.c", {"Content-Type": "application/jwt"})),
    "userinfo refuses": reply("/userinfo", Reply(401)), "no name": lambda peer: peer.userinfo.update(preferred_username=""),
    "a name with a colon": lambda peer: peer.userinfo.update(preferred_username="group:qa"),
    "mix-up": lambda peer: peer.callback.update(iss="http://127.0.0.1:1"), "no iss where it is promised": lambda peer: peer.callback.update(iss="-"),
    "state other": lambda peer: peer.callback.update(state="x" * 43), "state missing": lambda peer: peer.callback.update(state="-"),
    "state of 30 kB": lambda peer: peer.callback.update(state="x" * 30_000), "state in Cyrillic": lambda peer: peer.callback.update(state="ы"),
    "code missing": lambda peer: peer.callback.update(code="-"), "code unknown": lambda peer: peer.callback.update(code="x"),
    "code of 30 kB": lambda peer: peer.callback.update(code="x" * 30_000), "an error": lambda peer: peer.callback.update(error="access_denied"),
    "an error of its own": lambda peer: peer.callback.update(error="<script>alert(1)</script>"),
    "token endpoint says nothing": reply("/token", Reply(200, b"", {"Content-Type": "application/json"})),
    "token endpoint says a list": reply("/token", Reply(200, b"[]", {"Content-Type": "application/json"})),
    "token endpoint refuses": reply("/token", Reply(401)),
}  # fmt: skip


async def test_a_lie_is_refused_with_a_page_and_leaves_no_session(hub):  # E92-E96, E99, E101, checklist S1
    for name, bend in LIES.items():
        hub.peer.straighten()
        hub.fresh()
        bend(hub.peer)
        async with hub.browser() as browser:
            answer = await hub.sign_in(browser)
            assert answer.status_code == 400, f"{name}: {answer.text}"
            assert 'role="alert"' in answer.text, name
            assert "Traceback" not in answer.text and "<script>alert" not in answer.text, name
            assert (await browser.get("/inbox")).headers["location"].startswith("/sign-in"), name
        assert await hub.sessions() == [], name
        assert await hub.store.person("alice") is None, name
        asked = {asked.path.partition("?")[0] for asked in hub.peer.http.asked}
        assert asked <= {"/.well-known/openid-configuration", "/token", "/jwks", "/userinfo"}, name


FAULTS = {
    "slow": reply("/.well-known/openid-configuration", Reply(delay=20.0)),
    "huge discovery": reply("/.well-known/openid-configuration", Reply(200, b"[" * 10_000_000)), "discovery 500": reply("/.well-known/openid-configuration", Reply(500)),
    "discovery is HTML": reply("/.well-known/openid-configuration", Reply(200, b"<html>")), "another issuer": lambda peer: peer.description.update(issuer="http://127.0.0.1:1"),
    "deep discovery": reply("/.well-known/openid-configuration", Reply(200, b"[" * 200_000)),
    "no token endpoint": lambda peer: peer.description.update(token_endpoint=None), "token endpoint elsewhere within": lambda peer: peer.description.update(token_endpoint="http://127.0.0.2:9/token"),
    "token endpoint is a file": lambda peer: peer.description.update(token_endpoint="file:///etc/passwd"),
    "redirecting keys": reply("/jwks", Reply(302, headers={"Location": "http://127.0.0.1:1/"})), "keys are HTML": reply("/jwks", Reply(200, b"<html>")),
    "huge keys": reply("/jwks", Reply(200, b" " * 1_000_000)), "keys 500": reply("/jwks", Reply(500)), "keys elsewhere within": lambda peer: peer.description.update(jwks_uri="http://10.0.0.1/jwks"),
    "token endpoint 500": reply("/token", Reply(500)), "token endpoint cut": reply("/token", Reply(is_cut=True)),
    "token endpoint too busy": reply("/token", Reply(429)), "redirecting userinfo": reply("/userinfo", Reply(503)),
}  # fmt: skip


async def said_later(hub, browser, name):
    began = time.monotonic()
    answer = await hub.sign_in(browser)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "10"), name
    assert "The Institute does not answer now" in answer.text, name
    assert time.monotonic() - began < 15, name


async def test_a_provider_that_fails_says_later_and_sessions_live_on(hub):
    """Fault F32."""
    async with hub.browser() as inside, hub.browser() as browser:
        assert (await hub.sign_in(inside)).status_code == 303
        for name, bend in FAULTS.items():
            hub.peer.straighten()
            hub.fresh()
            bend(hub.peer)
            await said_later(hub, browser, name)
            assert (await inside.get("/inbox")).status_code == 200, name
            assert len(await hub.sessions()) == 1, name
            # While it rests nobody waits for it.
            count = len(hub.peer.http.asked)
            await asyncio.gather(*(browser.get("/sign-in/peer") for _ in range(20)))
            assert len(hub.peer.http.asked) == count, name
        hub.peer.straighten()
        hub.fresh()
        assert (await hub.sign_in(browser)).status_code == 303
        hub.peer.stop()
        hub.fresh()
        await said_later(hub, browser, "down")
        assert (await inside.get("/inbox")).status_code == 200


async def test_new_keys_are_found_and_unknown_ones_are_looked_for_once_a_minute(hub):
    peer, provider = hub.peer, hub.house.providers["peer"]
    at = [1_000.0]
    provider._clock = lambda: at[0]
    async with hub.browser() as browser:
        assert (await hub.sign_in(browser)).status_code == 303
        assert peer.count("/jwks") == 1
        peer.key, peer.header["kid"] = rsa_key("k2"), "k2"
        peer.published = [rsa_key("k2").as_dict(private=False)]
        assert (await hub.sign_in(browser)).status_code == 400
        assert peer.count("/jwks") == 1
        at[0] += 61
        assert (await hub.sign_in(browser)).status_code == 303
        assert peer.count("/jwks") == 2
        peer.header["kid"] = "k3"
        for _ in range(5):
            assert (await hub.sign_in(browser)).status_code == 400
        assert peer.count("/jwks") == 2


@pytest.mark.parametrize(("skew", "status"), [(-50, 303), (50, 303), (-400, 400), (400, 400)])
async def test_clocks_may_differ_by_a_minute(hub, skew, status):
    """The token lives for 300 s from its iat."""
    hub.house.providers["peer"]._now = lambda: time.time() - skew
    hub.peer.claims["exp"] = int(time.time()) + 300
    async with hub.browser() as browser:
        assert (await hub.sign_in(browser)).status_code == status


@pytest.mark.parametrize("kind", ["ES256", "PS256"])
async def test_the_algorithms_that_are_allowed_work(hub, kind):
    if kind == "ES256":
        hub.peer.key = ec_key("e1")
    hub.peer.published = [hub.peer.key.as_dict(private=False), {"kty": "oct", "k": "AAAA", "kid": "k9"}, {"kty": "new"}, 7]
    hub.peer.header = {"alg": kind}
    hub.peer.claims["at_hash"] = base64.urlsafe_b64encode(hashlib.sha256(b"access").digest()[:16]).rstrip(b"=").decode()
    async with hub.browser() as browser:
        assert (await hub.sign_in(browser)).status_code == 303


async def test_an_answer_counts_once_and_in_its_own_browser_only(hub):
    async with hub.browser() as browser, hub.browser() as thief:
        left = await browser.get("/sign-in/peer")
        flow = dict(browser.cookies)
        back = f"/sign-in/peer/callback?{hub.peer.authorize(left.headers['location'])}"
        assert (await thief.get(back)).status_code == 400
        assert (await browser.get(back)).status_code == 303
        for name, value in flow.items():
            thief.cookies.set(name, value)
        again = await thief.get(back)
        assert again.status_code == 400 and "used before" in again.text
        forged = next(iter(flow.values()))
        thief.cookies.set("angelia-flow", forged[:-2] + ("A" if forged[-2] != "A" else "B") + forged[-1])
        assert (await thief.get(back)).status_code == 400
        assert (await thief.get(f"{back}&code=other")).status_code in (400, 422)
        assert len(await hub.sessions()) == 1


async def test_a_login_that_is_taken_is_not_taken_over(hub):
    """No linking by name unless the operator says so, and never by mail address (E100)."""
    await hub.store.put_person(Person(person_id=0, login="alice", is_admin=True))
    async with hub.browser() as browser:
        answer = await hub.sign_in(browser)
    assert answer.status_code == 400 and "not tied to this sign-in" in answer.text
    assert await hub.sessions() == []


@pytest.mark.parametrize("hub", [{"links_people": True, "creates_people": False}], indirect=True)
async def test_an_account_is_linked_once_where_the_operator_says_so(hub):
    alice = await hub.store.put_person(Person(person_id=0, login="alice", name="Her own name"))
    async with hub.browser() as browser, hub.browser() as other:
        assert (await hub.sign_in(browser)).status_code == 303
        assert (await hub.store.person("alice")).name == "Her own name"
        # The login was given away again at the provider: another subject must not open what the first one has here.
        hub.peer.claims["sub"] = "s2"
        assert (await hub.sign_in(other)).status_code == 400
        hub.peer.userinfo["preferred_username"] = "nobody"
        assert "no account here" in (await hub.sign_in(other)).text
        assert await hub.store.person("nobody") is None
        assert await hub.store.identities(alice.person_id) == [(hub.peer.issuer, "s1")]


async def test_who_is_not_active_does_not_come_in(hub):
    async with hub.browser() as browser:
        assert (await hub.sign_in(browser)).status_code == 303
        await hub.store.put_person(replace(await hub.store.person("alice"), is_active=False))
        assert (await hub.sign_in(browser)).status_code == 400


@pytest.mark.parametrize("hub", [{"admin_group": "ops"}], indirect=True)
async def test_a_group_of_the_provider_makes_administrators_and_unmakes_them(hub):
    async with hub.browser() as browser:
        for groups, is_admin in ((["ops"], True), (["others"], False), ("ops", False), (None, False)):
            hub.peer.userinfo["groups"] = groups
            assert (await hub.sign_in(browser)).status_code == 303
            assert (await hub.store.person("alice")).is_admin is is_admin
    changes = [entry for entry in await hub.store.audit_log(None, 100) if entry["action"] == "person.change"]
    assert len(changes) == 2


async def test_an_address_that_is_not_verified_gets_nothing(hub):
    hub.peer.userinfo["email_verified"] = "true"
    async with hub.browser() as browser:
        assert (await hub.sign_in(browser)).status_code == 303
    (address,) = await hub.store.addresses((await hub.store.person("alice")).person_id)
    assert address.state.value == "unverified"


PLACES = ["//evil", "https://evil", "/\\evil", "javascript:alert(1)", "/a\r\nSet-Cookie:x=y", "/sign-in?next=/", "/sign-out"]


async def test_one_comes_back_to_this_hub_only(hub):
    """E102, checklist S25."""
    for place in PLACES:
        async with hub.browser() as browser:
            inside = await hub.sign_in(browser, place)
            assert (inside.status_code, inside.headers["location"]) == (303, "/"), place


BAD_NOTICES = {
    "with a nonce": {"nonce": "x"}, "no events": {"events": ...}, "other events": {"events": {"x": {}}}, "events is a list": {"events": []}, "no jti": {"jti": ...},
    "nobody": {"sub": ...}, "aud other": {"aud": "other"}, "iss other": {"iss": "http://127.0.0.1:1"}, "expired": {"exp": at(-3_600)},
    "old without exp": {"exp": ..., "iat": at(-3_600)}, "iat ahead": {"iat": at(600)},
}  # fmt: skip


async def notice(hub, token, name="peer"):
    """As the provider sends it: no cookie, no origin."""
    async with hub.browser() as sender:
        return await sender.post(f"/sign-in/{name}/logout", data={"logout_token": token})


async def test_a_logout_token_that_is_not_good_ends_nothing(hub):
    """E105."""
    async with hub.browser() as browser:
        assert (await hub.sign_in(browser)).status_code == 303
        for name, more in BAD_NOTICES.items():
            answer = await notice(hub, hub.peer.logout_token(**told(more)))
            assert (answer.status_code, answer.json()["error"], answer.headers["cache-control"]) == (400, "invalid_request", "no-store"), name
            assert (await browser.get("/inbox")).status_code == 200, name


async def test_a_logout_token_ends_the_sessions_that_it_names_and_counts_once(hub):
    async with hub.browser() as first, hub.browser() as second:
        hub.peer.claims["sid"] = "one"
        assert (await hub.sign_in(first)).status_code == 303
        hub.peer.claims["sid"] = "two"
        assert (await hub.sign_in(second)).status_code == 303
        token = hub.peer.logout_token(sid="one", sub=...)
        assert (await notice(hub, token)).status_code == 200
        assert (await first.get("/inbox")).status_code == 303
        assert (await second.get("/inbox")).status_code == 200
        assert (await notice(hub, token)).status_code == 400
        assert (await notice(hub, hub.peer.id_token("n"))).status_code == 400
        assert (await notice(hub, hub.peer.logout_token(), "other")).status_code == 404
        assert (await notice(hub, hub.peer.logout_token())).status_code == 200
        assert (await second.get("/inbox")).status_code == 303


async def test_signing_out_tells_where_one_is_still_signed_in(hub):
    async with hub.browser() as browser:
        await hub.sign_in(browser)
        gone = await browser.post("/sign-out", headers={"Sec-Fetch-Site": "same-origin"})
        page = await browser.get(gone.headers["location"])
        assert f"{hub.peer.issuer}/end?client_id=hub&amp;post_logout_redirect_uri=" in page.text
        assert await hub.sessions() == []


async def test_an_issuer_may_stand_on_an_inner_network_and_what_it_names_may_not(hub):
    provider = hub.house.providers["peer"]
    assert provider._outbound.fault_of(f"{hub.peer.issuer}/token") == ""
    assert provider._outbound.fault_of("http://127.0.0.1:8081/token")
    assert provider._outbound.fault_of("http://10.0.0.1/token")
    assert hub.house.outbound.fault_of(f"{hub.peer.issuer}/token")
