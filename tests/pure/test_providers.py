"""Settings of sign-in providers, and what a browser keeps on its way there and back."""

import base64
import json
import subprocess
import sys

import pytest

from angelia.model.errors import BadSettings
from angelia.outbound import fault_of, host_of
from angelia.settings import described, load
from angelia.web.signin.claims import BadToken, document
from angelia.web.signin.flows import LIVES, new_flow, packed, unpacked

GOOD = {"issuer": "https://login.example.org/realms/main", "client_id": "hub"}


def loaded(table, name="institute"):
    return load(environment={}, overrides={"oidc": {name: table}})


def test_a_provider_needs_two_settings_and_its_secret_is_not_shown():
    settings = loaded(GOOD | {"client_secret": "very secret", "timeout": 3})
    assert settings.oidc["institute"].accepted == {"RS256", "PS256", "ES256"}
    shown = {name: value for name, value, _ in described(settings)}
    assert shown["oidc.institute.client_secret"] == "(not shown)"
    assert "very secret" not in repr(settings)
    environment = {f"ANGELIA__OIDC__INSTITUTE__{name.upper()}": value for name, value in GOOD.items()} | {
        "ANGELIA__OIDC__INSTITUTE__LINKS_PEOPLE": "yes"
    }
    assert load(environment=environment).oidc["institute"].links_people is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""}, {"issuer": "http://login.example.org"}, {"issuer": "ftp://x"}, {"issuer": "https://a@b"}, {"issuer": "https://a?b"}, {"issuer": "https://a#b"},
        {"client_id": ""}, {"scopes": "profile"}, {"algorithms": ""}, {"algorithms": "none"}, {"algorithms": "HS256"}, {"algorithms": "RS256,HS256"},
        {"login_claim": ""}, {"timeout": 0.0}, {"timeout": 60.0}, {"unknown": 1}, {"creates_people": "perhaps"}, {"client_id": 7},
    ],
)  # fmt: skip
def test_wrong_settings_are_told_at_the_start(wrong):
    with pytest.raises(BadSettings, match="oidc"):
        loaded(GOOD | wrong)


def test_names_stand_in_urls_and_issuers_tell_people_apart():
    for name in ("A", "a b", "a/b", "", "ä"):
        with pytest.raises(BadSettings, match="oidc"):
            loaded(GOOD, name)
    with pytest.raises(BadSettings, match="same issuer"):
        load(environment={}, overrides={"oidc": {"a": GOOD, "b": GOOD}})
    with pytest.raises(BadSettings, match="table"):
        load(environment={}, overrides={"oidc": {"a": "x"}})


def test_a_flow_is_ours_whole_and_young():
    secret, flow = b"s" * 32, new_flow("institute", "/inbox", 1_000)
    value = packed(flow, secret)
    assert unpacked(value, secret, 1_000) == flow
    assert unpacked(value, secret, 1_000 + LIVES) is None
    assert unpacked(value, secret, 999) is None
    assert unpacked(value, b"t" * 32, 1_000) is None
    text, _, signed = value.partition(".")
    bent = json.loads(base64.urlsafe_b64decode(text + "==")) | {"place": "/elsewhere"}
    forged = base64.urlsafe_b64encode(json.dumps(bent).encode()).rstrip(b"=").decode()
    for wrong in ("", ".", "x", f"{forged}.{signed}", f"{text}.", f"{text}.{signed}x", "ä.b", value * 20):
        assert unpacked(wrong, secret, 1_000) is None
    again = new_flow("institute", "/inbox", 1_000)
    assert len({flow.state, flow.nonce, flow.verifier, again.state, again.nonce, again.verifier}) == 6


@pytest.mark.parametrize("text", [b"", b"[]", b"7", b'{"a":1,"a":2}', b"{", b"\xff", b"[" * 100_000, '{"a": {"b":1,"b":2}}'])
def test_a_document_is_an_object_in_which_no_name_stands_twice(text):
    with pytest.raises(BadToken):
        document(text)


def test_a_host_that_is_written_down_may_be_anywhere_at_its_port():
    hosts = {host_of("https://10.1.2.3/realm"), host_of("http://127.0.0.1:8081")}
    assert fault_of("https://10.1.2.3/token", hosts=hosts) == ""
    assert fault_of("http://127.0.0.1:8081/jwks", hosts=hosts) == ""
    for url in (
        "http://10.1.2.3/token",
        "https://10.1.2.4/",
        "http://127.0.0.1:8082/",
        "https://10.1.2.3:8443/",
        "file:///etc/passwd",
        "https://u@10.1.2.3/",
    ):
        assert fault_of(url, hosts=hosts), url


def test_the_library_is_read_only_where_a_provider_is_configured():
    code = "import sys, angelia.house, angelia.cli.main; sys.exit(any(name.startswith('joserfc') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
