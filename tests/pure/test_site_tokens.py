"""Tokens that the site signs: read, made, found, changed, from code and from the command line."""

import base64
import hmac
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from angelia.cli.main import program
from angelia.cli.outcome import Failure
from angelia.model.claims import LATEST, NewsWish, read_claims, read_options
from angelia.model.errors import Forbidden, InvalidInput, NotAuthenticated
from angelia.wire.site_tokens import Expired, SiteTokens, discover

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "secretkey_test"


def signed(payload: object, secret: str = SECRET, alg: str = "HS256") -> str:
    """Made by hand, without the code that is tested."""

    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    head = part(json.dumps({"alg": alg, "typ": "JWT"}).encode()) + "." + part(json.dumps(payload).encode())
    return head + "." + ("" if alg == "none" else part(hmac.digest(secret.encode(), head.encode(), "sha256")))


def claims(**more: object) -> dict[str, object]:
    return {"sub": "alice@example.org", "name": "Alice", "roles": "general, job manager", "exp": NOW.timestamp() + 3600, **more}


def test_a_token_made_elsewhere_is_read_and_ours_is_the_same_text() -> None:
    tokens = SiteTokens(SECRET)
    assert tokens.read(signed(claims(aud="dispatcher")), NOW)["sub"] == "alice@example.org"
    assert tokens.read(tokens.sign(claims()), NOW) == claims()


def sealed(**head: object) -> str:
    """A token of five parts, of the kind that is first worked on and then looked at (bad input E95)."""
    return base64.urlsafe_b64encode(json.dumps({"enc": "A128CBC-HS256", **head}).encode()).rstrip(b"=").decode() + ".AAAA.AAAA.AAAA.AAAA"


@pytest.mark.parametrize(
    "token",
    [
        sealed(alg="PBES2-HS256+A128KW", p2c=10**9, p2s="AAAA"),
        sealed(alg="dir", zip="DEF"),
        ".....",
        "",
        "x",
        "a.b.c",
        "é",
        signed(claims(), "other"),
        signed(claims(), alg="none"),
        signed([1]),
        signed(claims()) + "x",
        "x" * 20_000,
    ],
)
def test_what_is_none_of_ours_is_refused(token: str) -> None:
    with pytest.raises(NotAuthenticated) as raised:
        SiteTokens(SECRET).read(token, NOW)
    assert not isinstance(raised.value, Expired)


def headed(**head: object) -> str:
    """A token with any header, its signature good for HS256 over the site's secret."""
    parts = [json.dumps({"alg": "HS256", "typ": "JWT"} | head), json.dumps(claims())]
    text = ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts)
    return text + "." + base64.urlsafe_b64encode(hmac.digest(SECRET.encode(), text.encode(), "sha256")).rstrip(b"=").decode()


@pytest.mark.parametrize("alg", ["none", "None", "nOnE", "", "HS384", "RS256", "ES256", None, 1, ["HS256"]])
def test_no_other_signature_counts(alg: object) -> None:  # E8.92
    with pytest.raises(NotAuthenticated):
        SiteTokens(SECRET).read(headed(alg=alg), NOW)
    with pytest.raises(NotAuthenticated):
        SiteTokens(SECRET).read(headed(alg=alg).rpartition(".")[0] + ".", NOW)


@pytest.mark.parametrize("name", ["kid", "jku", "x5u", "jwk"])
def test_a_header_that_names_a_key_is_not_followed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:  # E8.92
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("it was followed")

    monkeypatch.setattr("socket.socket", no_socket)
    for value in ("../../dev/null", "' OR 1=1 --", "http://127.0.0.1/key", {"kty": "oct", "k": ""}):
        try:
            read = SiteTokens(SECRET).read(headed(**{name: value}), NOW)
        except NotAuthenticated:
            continue
        assert read["sub"] == "alice@example.org"  # its signature is that of the site all the same
    with pytest.raises(NotAuthenticated):
        SiteTokens(SECRET).read(headed(crit=["b64"], b64=False), NOW)


@pytest.mark.parametrize(
    "token",
    [
        ".....", "a.b.c.d.e", "x" * 1_000_000, "x" * 16_000, ("x" * 5_000 + ".") * 3, "\N{GREEK SMALL LETTER ALPHA}.b.c",
        base64.urlsafe_b64encode(signed(claims()).encode()).decode(), headed() + ".", "." + headed(), headed(zip="DEF") + ".x.y",
    ],
)  # fmt: skip
def test_what_has_the_form_of_something_else_is_refused_soon(token: str) -> None:  # E8.95
    before = time.thread_time()
    with pytest.raises(NotAuthenticated):
        SiteTokens(SECRET).read(token, NOW)
    assert time.thread_time() - before < 1  # and not what 10**9 rounds or a bomb would take


@pytest.mark.parametrize("end", [NOW.timestamp(), NOW.timestamp() - 1, 0, -5])
def test_its_time_can_be_over(end: float) -> None:
    with pytest.raises(Expired):
        SiteTokens(SECRET).read(signed(claims(exp=end)), NOW)


@pytest.mark.parametrize("end", ["soon", True, [1], {}])
def test_an_end_that_is_no_time_is_refused(end: object) -> None:
    with pytest.raises(NotAuthenticated):
        SiteTokens(SECRET).read(signed(claims(exp=end)), NOW)


@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_one_of_the_future_is_not_good_yet(name: str) -> None:  # E8.93
    for good in (0, NOW.timestamp() - 5, NOW.timestamp() + 59, str(int(NOW.timestamp()))):
        SiteTokens(SECRET).read(signed(claims(**{name: good})), NOW)
    for bad in (NOW.timestamp() + 61, "soon", [1], True, {}):
        with pytest.raises(NotAuthenticated):
            SiteTokens(SECRET).read(signed(claims(**{name: bad})), NOW)


def test_claims_become_wishes() -> None:
    read = read_claims(claims(mssub=False, tem=0, mstout="True", intsub="60", mxroomid="!a:b", mxsub=1, tmx=5.5, mxdone="no", msfail="?"))
    assert read.login == "alice@example.org"
    assert read.roles == {"general", "job manager"}
    assert read.mail == NewsWish(on_submit=False, is_end_timed=True, interval=60, threshold=0)
    assert read.chat == NewsWish(on_submit=True, on_done=False, threshold=5.5)
    assert read.room == "!a:b"


def test_who_it_is_of_and_the_roles_it_gives() -> None:
    assert read_claims({"email": "bob@example.org"}).login == "bob@example.org"
    assert read_claims({"sub": "alice", "email": "bob"}).login == "alice"
    assert read_claims({}).login == ""
    assert read_claims({}).roles is None
    assert read_claims({"roles": ["a", " b ", ""]}).roles == {"a", "b"}
    assert read_claims({"roles": 3}).roles is None


def test_a_refresh_moves_the_end_and_nothing_else() -> None:
    tokens = SiteTokens(SECRET)
    token = tokens.sign(claims(tem=3))
    assert tokens.read_any(tokens.refreshed(token, NOW, 100)) == claims(tem=3, exp=int(NOW.timestamp()) + 3700)
    assert tokens.read_any(tokens.refreshed(token, NOW))["exp"] == NOW.timestamp() + 3600 + 604_800
    with pytest.raises(Forbidden, match="604800"):
        tokens.refreshed(token, NOW, 604_801)
    with pytest.raises(Expired):
        tokens.refreshed(token, NOW + timedelta(hours=2), 10)
    assert tokens.read_any(tokens.refreshed(tokens.sign(claims(exp=1e99)), NOW, 1))["exp"] == LATEST


def test_wishes_in_a_token_are_changed_and_checked() -> None:
    tokens = SiteTokens(SECRET)
    changed = tokens.read(tokens.changed(tokens.sign(claims(msdone=True)), NOW, {"msdone": "False", "tem": "12.5", "mxroomid": "!r:s"}), NOW)
    assert changed == claims(msdone=False, tem=12.5, mxroomid="!r:s")
    with pytest.raises(InvalidInput, match=r"An error occurred while validating the following fields: \{'k': \['Unknown field\.'\]\}"):
        read_options({"k": 1})
    with pytest.raises(InvalidInput, match=r"Not a valid number\."):
        read_options({"tem": "x"})
    for bad in ("nan", "inf", "1e999", "2"):
        with pytest.raises(InvalidInput):
            read_options({"msdone": bad} if bad == "2" else {"intsub": bad})


def test_the_first_valid_one_in_the_usual_places_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("ODA_TOKEN", raising=False)
    tokens = SiteTokens(SECRET)
    assert discover(NOW, tokens) is None
    (here / ".oda_api_context").write_text(json.dumps({"callback": "x", "token": tokens.sign(claims(name="context"))}))
    assert discover(NOW, tokens).place == "context_file"
    (home / ".oda-token").write_text(tokens.sign(claims(name="home")) + "\n")
    assert discover(NOW, tokens).payload["name"] == "home"
    (here / ".oda-token").write_text(signed(claims(), "other"))
    assert discover(NOW, tokens).place == "file_home"
    assert discover(NOW).place == "file_cur_dir"  # nobody looks at its signature
    monkeypatch.setenv("ODA_TOKEN", tokens.sign(claims(exp=5, name="old")))
    assert discover(NOW, tokens).place == "file_home"
    assert discover(NOW, tokens, allow_invalid=True).place == "oda_env_var"


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(program, ["token", *words], env={"ODA_TOKEN": "", "ANGELIA_SITE_SECRET": ""})
    return result.exit_code, result.output + str(result.exception or "")


def payload_of(output: str) -> dict[str, object]:
    return SiteTokens(SECRET).read(output.strip().splitlines()[-1], datetime.now(UTC))


def test_a_token_is_made_looked_at_and_changed_from_the_command_line(tmp_path: Path) -> None:
    code, output = run("new", "-s", SECRET, "--sub", "alice", "--role", "general", "--role", "job manager", "--set", "tem=0")
    assert code == 0, output
    assert payload_of(output)["roles"] == "general,job manager"
    token = output.strip().splitlines()[-1]
    code, output = run("inspect", "-s", SECRET, token)
    assert code == 0, output
    assert '"tem": 0.0' in output
    assert "signature: good" in output
    kept = tmp_path / "token"
    code, output = run(
        "modify",
        "-s",
        SECRET,
        "--disable-email",
        "--disable-matrix",
        "--matrix-room-id",
        "!r:s",
        "--new-validity-hours",
        "1",
        "--save",
        str(kept),
        token,
    )
    assert code == 0, output
    changed = payload_of(output)
    assert (changed["mssub"], changed["msdone"], changed["mxsub"], changed["mxdone"]) == (False, False, False, False)
    assert "msfail" not in changed
    assert changed["mxroomid"] == "!r:s"
    assert kept.read_text() == output.strip().splitlines()[-1]
    assert kept.stat().st_mode & 0o777 == 0o400


@pytest.mark.parametrize(("place", "why"), [("none/token", "No such file or directory"), (".", "Is a directory")])
def test_where_a_token_can_not_be_kept_one_line_says_so(place: str, why: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(program, ["token", "-s", SECRET, "new", "--sub", "alice", "--save", str(tmp_path / place)])
    assert isinstance(result.exception, Failure) and str(result.exception) == f"{tmp_path / place}: {why}"


def test_a_token_is_of_somebody() -> None:
    assert run("new", "-s", SECRET, "--sub", "")[0] != 0


def test_without_the_secret_nothing_is_signed_and_little_is_believed() -> None:
    token = signed(claims())
    assert run("modify", token)[0] != 0
    assert "without valid secret key" in run("modify", token)[1]
    assert run("new", "--sub", "alice")[0] != 0
    assert "not checked" in run("inspect", token)[1]
    assert run("inspect", "-s", "other", token)[0] != 0
    assert run("inspect", "rubbish")[0] != 0
    assert run("new", "-s", SECRET, "--sub", "alice", "--set", "tem")[0] != 0


@pytest.mark.parametrize("hours", ["-1", "0", "nan", "inf"])
def test_no_token_is_signed_that_is_expired_already(hours: str) -> None:
    code, output = run("new", "-s", SECRET, "--sub", "alice", "--new-validity-hours", hours)
    assert code != 0 and "above 0" in output


def test_the_form_of_the_documents_works() -> None:
    """`token -s KEY --matrix-room-id R` is what is written in many places: the options stand before a command or without one."""
    token = signed(claims(exp=datetime.now(UTC).timestamp() + 60))
    result = CliRunner().invoke(program, ["token", "-s", SECRET, "--matrix-room-id", "!r:s"], env={"ODA_TOKEN": token})
    assert result.exit_code == 0, result.output
    assert payload_of(result.output)["mxroomid"] == "!r:s"
    result = CliRunner().invoke(program, ["token", "-s", SECRET, "inspect"], env={"ODA_TOKEN": token})
    assert "signature: good" in result.output
