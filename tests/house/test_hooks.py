"""Webhooks: who may post, what comes of it, and what is said of what can't be read."""

import hmac
import json
from dataclasses import replace

import httpx2
import pytest
from click.testing import CliRunner

from angelia.cli.main import program
from angelia.front import app_of
from angelia.inlets.hook_settings import HookSettings
from angelia.model.errors import BadSettings
from angelia.settings import load

SECRET = "0123456789abcdef"
RULE = '[[rule]]\nkey = "#"\nwhen = { "body.ok" = false }\ntype = "lab.{body.kind}"\nsubject = "{body.text}"\nseverity = "{body.severity}"\nto = ["alice"]\n'


@pytest.fixture
def settings(settings, tmp_path):
    (tmp_path / "lab.toml").write_text(RULE)
    (tmp_path / "many.toml").write_text('each = "list"\n' + RULE.replace("body.", "body.item."))
    hooks = {
        "lab": HookSettings(mapping=str(tmp_path / "lab.toml")),
        "many": HookSettings(mapping=str(tmp_path / "many.toml")),
        "signed": HookSettings(mapping=str(tmp_path / "lab.toml"), secret=SECRET, source="forge"),
    }
    return replace(settings, hooks=hooks)


@pytest.fixture
async def hooks(bench, house):
    """What posts from outside, with the token of a source for `lab.`."""
    await bench.person("alice")
    await bench.call("PUT", "/api/v1/sources/daq", {"subtrees": ["lab"], "may_be_urgent": False}, 200)
    token = (await bench.call("POST", "/api/v1/sources/daq/tokens", {"scopes": ["post"]}, 201))["secret"]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app_of(house)), base_url="http://hub") as client:

        async def post(name, body, status=200, **headers):
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent = {name.replace("_", "-"): value for name, value in ({"authorization": f"Bearer {token}"} | headers).items() if value}
            answer = await client.post(f"/api/v1/hooks/{name}", content=content, headers=sent)
            assert answer.status_code == status, answer.text
            return answer.json()

        yield post


async def posted(bench):
    return [(one["type"], one["source"]) for one in (await bench.call("GET", "/api/v1/messages"))["items"]]


BAD = {"ok": False, "kind": "vacuum", "text": "it is lost"}


async def test_what_is_posted_becomes_a_message(hooks, bench):
    assert await hooks("lab", BAD) == {"taken": 1, "repeat": 0, "nothing": 0}
    assert await hooks("lab", {"ok": True}) == {"taken": 0, "repeat": 0, "nothing": 1}
    assert await posted(bench) == [("lab.vacuum", "daq")]
    await bench.work()
    inbox = await bench.call("GET", "/api/v1/people/alice/inbox")
    assert [one["message"]["subject"] for one in inbox["items"]] == ["it is lost"]


async def test_the_same_again_is_another_unless_it_says_so(hooks, bench):
    for _ in range(2):
        await hooks("lab", BAD)
    assert len(await posted(bench)) == 2
    assert (await hooks("lab", BAD, webhook_id="1"))["taken"] == 1
    assert (await hooks("lab", BAD, webhook_id="1"))["repeat"] == 1
    assert (await hooks("lab", BAD, webhook_id="2"))["taken"] == 1
    assert len(await posted(bench)) == 4


async def test_who_may_post(hooks, bench):
    await hooks("lab", BAD, 401, authorization="")
    await hooks("lab", BAD, 401, authorization="Bearer ang_unknown")
    assert "urgent" in (await hooks("lab", BAD | {"severity": "urgent"}, 403))["detail"]
    await bench.call("PUT", "/api/v1/sources/other", {"subtrees": ["other"]}, 200)
    other = (await bench.call("POST", "/api/v1/sources/other/tokens", {"scopes": ["post"]}, 201))["secret"]
    assert "may post other, not lab.vacuum" in (await hooks("lab", BAD, 403, authorization=f"Bearer {other}"))["detail"]
    assert await posted(bench) == []


async def test_who_knows_the_secret(hooks, bench):
    body = json.dumps(BAD).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest()
    assert (await hooks("signed", body, authorization="", x_hub_signature_256=signature))["taken"] == 1
    assert (await hooks("signed", body, authorization="", x_gitlab_token=SECRET))["taken"] == 1
    for wrong in (
        {"x_hub_signature_256": signature[:-1]},
        {"x_hub_signature_256": "sha256="},
        {"x_gitlab_token": SECRET[:-1]},
        {"x_gitlab_token": ""},
    ):
        await hooks("signed", body, 401, authorization="", **wrong)
    await hooks("signed", body + b" ", 401, authorization="", x_hub_signature_256=signature)
    await hooks("lab", body, 401, authorization="", x_gitlab_token="")  # one without a secret is open to nobody
    assert await posted(bench) == [("lab.vacuum", "forge")] * 2
    assert (await hooks("signed", body))["taken"] == 1  # a token does as well
    assert (await posted(bench))[0] == ("lab.vacuum", "daq")


async def test_of_several_the_others_are_taken(hooks, bench):
    wrong = await hooks("many", {"list": [BAD, BAD | {"kind": "no type"}, {"ok": True}]}, 422)
    assert wrong["errors"][0]["field"] == "list.1"
    assert "1 of 3 could not be read; the others are taken" in wrong["detail"]
    assert await posted(bench) == [("lab.vacuum", "daq")]
    assert (await hooks("many", {"text": "x"}, 422))["errors"][0]["field"] == "list"


async def test_what_is_no_body(hooks, bench):
    for body in (b"{", b"\xff", b"[" * 10_000, b'{"ok": NaN}'):
        await hooks("lab", body, 422)
    assert (await hooks("lab", b""))["nothing"] == 1
    await hooks("lab", b"payload=1", 415, content_type="application/x-www-form-urlencoded")
    await hooks("lab", b"x" * 1_100_000, 422)
    assert await posted(bench) == []


async def test_what_is_no_hook(hooks, bench):
    for name in ("other", "", "lab/more", "LAB"):
        await hooks(name, BAD, 404)
    answer = await bench.api.get("/api/v1/hooks/lab")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "inlets.hook.a.mapping"),
        ({"mapping": "github", "secret": "short"}, "inlets.hook.a.secret"),
        ({"mapping": "github", "source": "angelia"}, "inlets.hook.a.source"),
        ({"mapping": "github", "secrets": "x"}, "secrets"),
    ],
)
def test_settings(table, said):
    with pytest.raises(BadSettings, match=said):
        load(environment={}, overrides={"inlets": {"hook": {"a": table}}})


def test_a_mapping_that_is_not_there_is_said_at_the_start(house):
    house.settings = replace(house.settings, hooks={"a": HookSettings(mapping="nowhere")})
    with pytest.raises(BadSettings, match="there is no mapping 'nowhere'"):
        app_of(house)


def test_a_try_shows_what_a_body_becomes(tmp_path):
    (tmp_path / "body.json").write_text(
        json.dumps({"object_kind": "pipeline", "project": {"web_url": "x"}, "object_attributes": {"status": "failed", "ref": "main"}})
    )
    done = CliRunner().invoke(program, ["hook", "try", "gitlab", str(tmp_path / "body.json")])
    assert json.loads(done.output)["message"]["type"] == "gitlab.pipeline.failed"
    done = CliRunner().invoke(program, ["hook", "try", "github", "-", "--header", "X-GitHub-Event=ping"], input="{}")
    assert "nothing" in json.loads(done.output)
    for words, said in (
        (["nowhere", "-"], "no mapping"),
        (["github", str(tmp_path / "none")], "No such file"),
        (["github", "-", "--header", "x"], "name=value"),
    ):
        done = CliRunner().invoke(program, ["hook", "try", *words], input="{}")
        assert said in str(done.exception)
    done = CliRunner().invoke(program, ["hook", "try", "github", "-"], input="{")
    assert "1 of 1 can't be read" in str(done.exception)
