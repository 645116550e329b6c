"""The analysis service as its clients see it: replies, codes and texts, on instruments that really compute."""

import asyncio
import base64
import gzip
import io
import json
import pickle
import tarfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx2
import numpy as np
import pytest

from angelia.dialects.oda_ids import legacy_id
from angelia.dialects.oda_settings import OdaSettings
from angelia.dialects.oda_wire import job_number, wire_id
from angelia.flow.dispatcher import JobPolicy
from angelia.front import Front
from angelia.instrument import Done, Progress
from angelia.model.declaration import Declaration, DeclaredProduct, Parameter, ParameterKind, ProductKind
from angelia.model.delivery import Later, State
from angelia.model.errors import BadSettings
from angelia.model.job import Principal, callback_secret
from angelia.products.output import Output
from angelia.settings import load
from angelia.store import InboxQuery
from angelia.wire.site_tokens import SiteTokens
from angelia_testing.live import served
from angelia_testing.recording import RecordingAgent
from angelia_testing.scripted import ScriptedInstrument

SECRET = "secretkey_test"
DECLARATION = """
name = "squares"
title = "Squares"
adapter = "function"
is_repeatable = true
[settings]
target = "angelia_testing.functions:run"
[[parameters]]
name = "what"
kind = "string"
default = "compute"
[[parameters]]
name = "beside"
kind = "string"
default = "/dev/null"
[[parameters]]
name = "seconds"
kind = "time_interval"
default = 0
[[parameters]]
name = "n"
kind = "float"
unit = "keV"
default = 2
minimum = 0
maximum = 800
[[parameters]]
name = "step"
kind = "angle"
unit = "deg"
default = 1
canonical_unit = "arcsec"
[[products]]
name = "square"
[[products]]
name = "secret_square"
roles = ["unige-hpc-full"]
"""


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "squares.toml"
    path.write_text(DECLARATION)
    instruments = {"echo": {}, "squares": {"declaration": str(path)}}
    oda = {"secret": SECRET, "incidents_to": "carol", "cors_origins": "https://portal.example.org", "products_url": "https://see.example.org"}
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": instruments, "oda": oda})


@pytest.fixture
def mail(house, monkeypatch):
    """Nothing leaves."""
    made = RecordingAgent()
    monkeypatch.setattr(house.agents["mail"], "deliver", made.deliver)
    return made


@pytest.fixture
async def client(bench, house, outside, mail):
    await bench.person("carol")
    task = asyncio.create_task(house.work())
    yield Client(outside)
    house.stop()
    await task


def token(login="alice@example.org", roles="general", **more):
    return SiteTokens(SECRET).sign({"sub": login, "name": login, "roles": roles, "exp": datetime.now(UTC).timestamp() + 600, **more})


class Client:
    def __init__(self, api):
        self.api = api

    async def get(self, path, status=200, **params):
        answer = await self.api.get(f"/dispatch-data/{path}", params=params)
        assert answer.status_code == status, answer.text
        return answer.json() if "json" in answer.headers["content-type"] else answer

    async def run(self, status=200, *, product="square", instrument="squares", query_status="new", query_type="Real", **params):
        given = {"instrument": instrument, "product_type": product, "query_type": query_type, "query_status": query_status, **params}
        return await self.get("run_analysis", status, **given)

    async def until_done(self, reply, **params):
        """As the client does: it sends what it was told last."""
        seen = [reply["query_status"]]
        async with asyncio.timeout(60):
            while reply["query_status"] not in ("done", "failed"):
                await asyncio.sleep(0.02)
                monitor = reply["job_monitor"]
                reply = await self.run(query_status=reply["query_status"], job_id=monitor["job_id"], session_id=monitor["session_id"], **params)
                if reply["query_status"] != seen[-1]:
                    seen.append(reply["query_status"])
        return reply, seen


async def test_a_job_goes_the_way_that_clients_know(client):
    mine = token()
    reply = await client.run(token=mine, n="0.003", nonsense=1, seconds=0.2, session_id="ABCDEFGHIJKLMNOP")
    assert reply["query_status"] == "submitted"
    assert reply["session_id"] == reply["job_monitor"]["session_id"] == "ABCDEFGHIJKLMNOP"
    assert reply["exit_status"]["comment"] == "Please note that argument nonsense is not used"
    assert reply["products"]["analysis_parameters"]["n"] == 0.003
    assert len(reply["job_monitor"]["job_id"]) == 16
    done, seen = await client.until_done(reply, token=mine)
    assert seen[-2:] == ["ready", "done"]
    assert done["exit_status"]["status"] == 0
    texts = {entry["name"]: entry["value"] for entry in done["products"]["text_product_list"]}
    assert texts == {"square": {"square": pytest.approx(9e-6)}, "words": "as computed"}
    assert mine not in json.dumps(done)
    assert "NaN" not in json.dumps(done)


async def test_the_code_in_an_answer_asks_for_the_same_again(client):
    mine = token()
    reply = await client.run(query_type="Dummy", token=mine, n=3, step=2)
    products = reply["products"]
    assert products["analysis_parameters"]["step"] == 7200.0
    given = {}
    offline = {"DispatcherAPI": lambda url: SimpleNamespace(get_product=lambda **more: given.update(more) or SimpleNamespace(show=lambda: None))}
    code = "".join(line for line in products["api_code"].splitlines(keepends=True) if not line.startswith("from "))
    exec(code, offline | {"discover_token": lambda: mine})
    assert (given["step"], given["n"], given["token"]) == (2.0, 3.0, mine)
    assert mine not in products["api_code"]
    asked = {name: given[name] for name in ("n", "step", "what", "beside", "seconds")}
    again = await client.run(query_type="Dummy", token=mine, **asked)
    assert again["job_monitor"]["job_id"] == reply["job_monitor"]["job_id"]


async def test_dummy_requests_are_answered_at_once(client):
    reply = await client.run(query_type="Dummy", n=3)
    assert (reply["query_status"], reply["job_status"]) == ("done", "done")
    again = await client.run(query_type="Dummy", n=3)
    assert again["job_monitor"]["job_id"] == reply["job_monitor"]["job_id"]
    other = await client.run(query_type="Dummy", n=30)
    assert other["job_monitor"]["job_id"] != reply["job_monitor"]["job_id"]


async def test_anagrams_are_different_jobs(client):
    """Values of the same digits once had one id."""
    first, second = await client.run(n=12), await client.run(n=21)
    assert first["job_monitor"]["job_id"] != second["job_monitor"]["job_id"]


async def test_a_failure_is_a_good_answer_that_says_why(client):
    reply = await client.run(query_type="Dummy", what="raise")
    assert reply["query_status"] == "failed"
    assert reply["exit_status"]["status"] == 1
    assert "no such star" in reply["exit_status"]["message"]


REFUSED = [
    ({}, 400, "NoInstrumentSpecified()", "have parameters: "),
    ({"instrument": "nope"}, 400, "InstrumentNotRecognized()", "known: ['echo', 'squares']"),
    ({"instrument": "echo", "query_type": "Real", "product_type": "echo"}, 400, "RequestNotUnderstood()", "constructor failed: 'query_status'"),
    ({"instrument": "echo", "query_status": "new", "product_type": "echo"}, 400, "MissingRequestParameter()", "KeyError('query_type')"),
    ({"instrument": "echo", "query_status": "new", "query_type": "Real"}, 400, "MissingRequestParameter()", "KeyError('product_type')"),
    (
        {"instrument": "echo", "query_status": "new", "query_type": "Real", "product_type": "x"},
        400,
        "RequestNotUnderstood()",
        "not in query_dictionary",
    ),
    (
        {"instrument": "echo", "query_status": "ready", "query_type": "Real", "product_type": "echo"},
        400,
        "RequestNotUnderstood()",
        "job_id must be present",
    ),
    (
        {"instrument": "echo", "query_status": "new", "query_type": "Real", "product_type": "echo", "job_id": "else"},
        400,
        "RequestNotUnderstood()",
        "unnecessarily",
    ),
    ({"instrument": "squares", "query_status": "new", "query_type": "Real", "product_type": "square", "n": 1000}, 400, "RequestNotUnderstood()", "n"),
    ({"instrument": "squares", "query_status": "new", "query_type": "Real", "product_type": "square", "n": "x"}, 400, "RequestNotUnderstood()", "n"),
    (
        {"instrument": "squares", "query_status": "new", "query_type": "Real", "product_type": "square", "n": "\0"},
        400,
        "RequestNotUnderstood()",
        "Non-optional",
    ),
    ({"instrument": "echo", "session_id": "../x"}, 400, "RequestNotUnderstood()", "session_id"),
    ({"instrument": "echo", "token": "rubbish"}, 403, "RequestNotAuthorized()", "The token provided is not valid"),
    ({"instrument": "echo", "token": {"exp": 5}}, 403, "RequestNotAuthorized()", "The token provided is expired, please try to logout"),
    ({"instrument": "echo", "token": {"login": ""}}, 403, "RequestNotAuthorized()", "names nobody"),
]


async def test_what_is_wrong_is_told_in_the_envelope_that_clients_read(client):
    for given, status, name, text in REFUSED:
        # Signed here, not at import: a long run outlives a token.
        given = {key: token(**value) if isinstance(value, dict) else value for key, value in given.items()}
        reply = await client.get("run_analysis", status, **given)
        assert reply["error"].startswith(name), given
        assert text in reply["error_message"], reply
        assert reply["error"] == f"{name}:{reply['error_message']}"
        assert reply["installed_instruments"] == ["echo", "squares"]
        assert reply["config"] == {}


async def test_roles_and_owners_are_looked_at(client):
    lacking = await client.run(403, product="secret_square")
    assert lacking["query_status"] == "failed"
    assert lacking["status_code"] == 403
    assert "unige-hpc-full" in lacking["exit_status"]["message"]
    mine = token(roles="unige-hpc-full")
    reply = await client.run(product="secret_square", token=mine, query_type="Dummy")
    job_id = reply["job_monitor"]["job_id"]
    for other in (token("bob@example.org"), ""):
        refused = await client.run(403, product="secret_square", token=other, query_status="submitted", job_id=job_id)
        assert refused["exit_status"]["message"] == "Request not authorized"
        assert refused["job_monitor"]["job_id"] == job_id
    assert (await client.run(403, query_status="ready", job_id="0" * 16))["exit_status"]["message"] == "Request not authorized"


async def test_a_token_that_was_good_ends_all_the_same(client):
    mine = token(exp=datetime.now(UTC).timestamp() + 1.5)
    assert await client.get("instr-list", token=mine) == ["echo", "squares"]
    async with asyncio.timeout(60):
        while (await client.api.get("/dispatch-data/instr-list", params={"token": mine})).status_code != 403:
            await asyncio.sleep(0.1)


async def test_who_asks_again_in_the_same_words_hears_what_is_true_now(client, house):
    mine, hers = token(), token("bob@example.org")
    reply = await client.run(token=mine, seconds=0.5, n=77)
    job_id = reply["job_monitor"]["job_id"]
    asked = {"query_status": "submitted", "job_id": job_id, "session_id": "ABCDEFGHIJKLMNOP", "seconds": 0.5, "n": 77}
    seen = []
    async with asyncio.timeout(30):
        while "ready" not in seen:
            said = await client.run(token=mine, **asked)
            seen.append(said["query_status"])
            assert (said["session_id"], said["job_monitor"]["job_id"]) == ("ABCDEFGHIJKLMNOP", job_id)
            await asyncio.sleep(0.01)
    assert seen[0] in ("submitted", "progress")
    first, second = [(await client.run(token=mine, **asked)) for _ in range(2)]
    assert first.pop("time_request") < second.pop("time_request")
    assert first == second
    assert (await client.run(403, token=hers, **asked))["exit_status"]["message"] == "Request not authorized"
    house.dispatcher.instruments["squares"].declaration = replace(house.dispatcher.instruments["squares"].declaration, roles=("chosen",))
    assert (await client.run(403, token=mine, **asked))["error"].startswith("RequestNotAuthorized()")


async def test_instruments_are_listed_and_described(client):
    assert await client.get("api/instr-list", instrument="mock", token="") == ["echo", "squares"]
    assert await client.get("instr-list") == ["echo", "squares"]
    described = await client.get("api/meta-data", instrument="squares", product_type="square")
    assert described[0][0] == {"instrumet": "squares"}
    assert described[0][1]["prod_dict"] == {"square": "square_query", "secret_square": "secret_square_query"}
    names = await client.get("api/par-names", instrument="squares", product_type="square")
    assert {"what", "n", "token"} <= set(names)
    assert (await client.get("api/par-names", 400))["error"].startswith("NoInstrumentSpecified()")
    assert (await client.get("meta-data", 400, instrument="squares", product_type="x"))["error"].startswith("RequestNotUnderstood()")
    echoed = await client.get("api/parameters", instrument="empty", x=3, y="[1, 2]", selected_catalog="[1]")
    assert len(echoed.pop("session_id")) == 16
    assert echoed == {"instrument": "empty", "x": "3", "y": [1, 2], "selected_catalog": "[1]"}


async def test_a_call_back_needs_the_secret_of_its_job(client, house):
    mine = token()
    reply = await client.run(token=mine, seconds=5, n=7)
    job_id = reply["job_monitor"]["job_id"]
    async with asyncio.timeout(60):
        while (job := await house.store.job(job_number(job_id))).state.label != "running":
            await asyncio.sleep(0.02)
    secret = callback_secret(house.secret, job)
    assert (await client.get("call_back", 400, action="done"))["error_message"] == "job_id must be present during a call_back"
    for bad in ("", "x", mine):
        assert (await client.get("call_back", 403, job_id=job_id, action="failed", secret=bad))["error"].startswith("RequestNotAuthorized()")
    assert (await client.get("call_back", 403, job_id="f" * 16, action="failed", token=mine))["error"].startswith("RequestNotAuthorized()")
    await client.get("call_back", 400, job_id=job_id, action="done", secret=secret, time_original_request="soon")
    told = await client.get(
        "call_back", job_id=job_id, action="progress", secret=secret, token=token(exp=5), message="half", progress=50, stage="fit"
    )
    assert told["time_spent_s"] >= 0
    polled = await client.run(token=mine, query_status="submitted", job_id=job_id)
    assert polled["query_status"] == "progress"
    report = polled["job_monitor"]["full_report_dict_list"][-1]
    assert (report["message"], report["stage"]) == ("half", "fit")
    assert "token" not in report
    assert "secret" not in report
    await client.get("call_back", job_id=job_id, action="failed", secret=secret, message="the disk is full")
    failed = await client.run(token=mine, query_status="progress", job_id=job_id)
    assert failed["query_status"] == "failed"
    assert failed["exit_status"]["message"] == "the disk is full"
    await client.get("call_back", job_id=job_id, action="failed", secret=secret, message="twice")


@pytest.mark.parametrize(
    ("row", "token_with_it"),
    [("C13 expired", token(exp=5)), ("C13b garbage", "rubbish"), ("C14 of another", token("bob@example.org")), ("C10d without a time", "")],
)
async def test_the_word_of_a_back_end_counts_whatever_token_comes_with_it_and_is_told_to_the_owner(client, house, row, token_with_it):
    """Deviations that are wanted: only the secret of the job opens it, and only who asked for it is told."""
    await client.run(instrument="echo", product="echo", token=token("bob@example.org"))
    reply = await client.run(token=token(), seconds=30, n=11)
    job_id = reply["job_monitor"]["job_id"]
    async with asyncio.timeout(30):
        while (job := await house.store.job(job_number(job_id))).state.label != "running":
            await asyncio.sleep(0.02)
    await client.get("call_back", job_id=job_id, action="failed", secret=callback_secret(house.secret, job), token=token_with_it, message="no star")
    assert (await house.store.job(job.job_id)).state.label == "failed"
    alice = await house.store.person("alice@example.org")
    async with asyncio.timeout(30):
        while not [item for item in await house.store.inbox(alice.person_id, InboxQuery()) if item.message.type == "job.squares.failed"]:
            await asyncio.sleep(0.05)
    bob = await house.store.person("bob@example.org")
    assert not [item for item in await house.store.inbox(bob.person_id, InboxQuery()) if item.message.type.startswith("job.squares")]


@pytest.mark.parametrize(
    "path",
    [
        "api/v1.0/oda/product/scratch_sid_A_jid_b/analysis_parameters.json", "api/v1.0/oda/product/../../etc/passwd", "api/v1.0/oda/js9/x",
        "reload-plugin/squares", "load_frontend_fits_file_url?fits_file_url=http://127.0.0.1/", "check_satus", "test_mock",
    ],
)  # fmt: skip
async def test_what_let_anybody_in_is_not_there(client, path):  # D3, D9
    for login in ("", token(roles="general, job manager, space manager")):
        answer = await client.api.get(f"/dispatch-data/{path}", params={"token": login} if login and "?" not in path else {})
        assert answer.status_code in (404, 405), path


async def test_no_reply_tells_of_the_site_or_holds_a_token(client, house, tmp_path):  # D4, D8
    mine = token()
    for status, asked in ((400, {"instrument": ""}), (400, {"product": "nothing"}), (403, {"product": "secret_square"}), (200, {"n": 4.5})):
        answer = await client.run(status, token=mine, **asked)
        text = json.dumps(answer)
        assert mine not in text and SECRET not in text and str(tmp_path) not in text
        assert answer.get("config", {}) == {}
    job = await house.store.job(job_number(answer["job_monitor"]["job_id"]))
    assert "token" not in job.values


async def test_who_asks_the_same_again_gets_the_result_that_is_there(client, house):  # D11
    first = await client.run(token=token(), n=4.25, query_type="Dummy")
    again = await client.run(token=token(), n=4.25, query_type="Dummy", session_id="ZZZZZZZZZZZZZZZZ")
    assert again["job_monitor"]["job_id"] == first["job_monitor"]["job_id"]
    assert again["query_status"] == "done"
    assert (await house.store.job(job_number(first["job_monitor"]["job_id"]))).attempt == 1
    history = await house.store.job_history(job_number(first["job_monitor"]["job_id"]))
    assert [row.state.label for row in history].count("done") == 1


async def test_call_backs_that_mean_nothing_are_refused_and_no_fault_of_ours(client):
    """C15, C18: an unknown job, a time that is no number."""
    await client.get("call_back", 403, job_id="0123456789abcdef", action="failed", token=token(), secret="x")
    for time in ("soon", "nan", "1e999"):
        await client.get("call_back", 400, job_id="0123456789abcdef", action="done", secret="x", time_original_request=time)


async def test_jobs_are_inspected_by_those_who_may(client):
    reply = await client.run(token=token(), n=5, query_type="Dummy")
    job_id = reply["job_monitor"]["job_id"]
    assert (await client.get("inspect-state", 403)).text == "A token must be provided."
    assert (await client.get("inspect-state", 403, token=token(exp=5))).text == "The token provided is expired."
    assert (await client.get("inspect-state", 403, token="x")).text == "The token provided is not valid."
    assert (await client.get("inspect-state", 403, token=token())).text == (
        "Unfortunately, your privileges are not sufficient to inspect the state for a given job_id.\n"
        "Your privilege roles include ['general'], but the following roles are missing: job manager."
    )
    manager = token("carol", "general, job manager")
    grouped = await client.get("inspect-state", token=manager, job_id=job_id[:8], group_by_job="True")
    (record,) = grouped["records"]
    assert record["job_id"] == job_id
    (status,) = record["job_status_data"]
    assert status["request_completed"] is True
    assert status["scratch_dir_content"]["analysis_parameters"]["token"] == {"sub": "alice@example.org"}
    (flat,) = (await client.get("inspect-user-state", token=token()))["records"]
    assert flat["job_id"] == job_id
    assert flat["job_monitor"][-1]["job_monitor_content"]["status"] == "done"
    assert (await client.get("inspect-user-state", token=token("bob@example.org")))["records"] == []
    assert (await client.get("inspect-user-state", token=token("bob@example.org"), job_id=job_id))["records"] == []


async def test_what_was_mailed_of_a_job_stands_in_its_history(client, mail):
    mine = token(roles="job manager", tem=0, mssub=False)  # on a slow machine a word of its submission would be there, too
    reply = await client.run(token=mine, n=6, query_type="Dummy", what="raise")
    asked = {"token": mine, "job_id": reply["job_monitor"]["job_id"]}
    async with asyncio.timeout(30):
        while not (said := (await client.get("inspect-state", **asked))["records"][0])["email_history"]:
            await asyncio.sleep(0.05)
    (letter,) = said["email_history"]
    assert letter["fn"].startswith("email_history/email_failed_")
    assert letter["ctime"] >= said["ctime"]
    assert said["matrix_message_history"] == []
    (letter,) = mail.letters
    # The code that asks for the same goes with it, from the store as it was written, and no token is in it.
    assert letter.message.attachment.name == "api_code.py"
    compile(letter.message.attachment.text, "api_code.py", "exec")
    assert "'n': 6.0" in letter.message.attachment.text and "'what': 'raise'" in letter.message.attachment.text
    assert mine not in letter.message.attachment.text and mine not in letter.message.body


async def test_a_mail_that_can_not_leave_is_no_matter_of_the_request(client, mail, house):
    """S13, C16: it is tried again later, the request is answered all the same, and what did not leave stands in no history."""
    mail.answer = lambda letter: Later("the server refuses")
    mine = token("bob@example.org", "job manager")
    reply = await client.run(token=mine, n=6, query_type="Dummy", what="raise")
    assert reply["query_status"] == "failed"
    async with asyncio.timeout(30):
        while not mail.letters:
            await asyncio.sleep(0.02)
    (record,) = (await client.get("inspect-state", token=mine, job_id=reply["job_monitor"]["job_id"]))["records"]
    assert record["email_history"] == []
    bob = await house.store.person("bob@example.org")
    async with asyncio.timeout(30):
        while not (waiting := await house.store.list_deliveries(states={State.DUE}, agent="mail", person_id=bob.person_id)):
            await asyncio.sleep(0.02)
    assert waiting[0].last_error == "the server refuses"


async def test_tokens_are_refreshed_and_their_wishes_changed(client):
    tokens = SiteTokens(SECRET)
    mine = token(roles="refresh-tokens", tem=5)
    fresh = (await client.get("refresh_token", token=mine, query_status="new", refresh_interval=100)).text
    assert tokens.read_any(fresh) == tokens.read_any(mine) | {"exp": pytest.approx(tokens.read_any(mine)["exp"] + 100)}
    assert (await client.get("refresh_token", 403, token=token(), query_status="new")).text.endswith("missing: refresh-tokens.")
    too_long = await client.get("refresh_token", 403, token=mine, query_status="new", refresh_interval=1_000_000)
    assert too_long["error_message"] == "Request not authorized"
    assert "604800" in too_long["debug_message"]
    await client.get("refresh_token", 400, token=mine)
    for path in ("refresh_token", "update_token_email_options"):
        ended = token(roles="refresh-tokens", exp=5)
        assert (await client.get(path, 403, token=ended, query_status="new")).text == "The token provided is expired."
    changed = (await client.get("update_token_email_options", token=mine, query_status="new", msfail="False", mxsub="False", tmx="7")).text
    assert {"msfail": False, "mxsub": False, "tmx": 7.0, "tem": 5}.items() <= tokens.read_any(changed).items()
    unknown = await client.get("update_token_email_options", 400, token=mine, query_status="new", k=1)
    assert "An error occurred while validating the following fields: {'k': ['Unknown field.']}" in unknown["error_message"]
    assert (await client.get("update_token_email_options", 403, query_status="new")).text == "A token must be provided."


async def test_files_go_to_their_owner_alone(client):
    mine = token()
    reply = await client.run(token=mine, n=9, query_type="Dummy")
    job_id = reply["job_monitor"]["job_id"]
    names = reply["products"]["file_name"]
    given = {"job_id": job_id, "query_status": "ready", "token": mine}
    packed = await client.get("download_products", file_list=names[0], download_file_name="x.gz", **given)
    assert packed.headers["content-type"] == "application/x-gzip-compressed"
    assert json.loads(gzip.decompress(packed.content)) == {"square": 81.0}
    plain = await client.api.get("/dispatch-data/download_products", params={**given, "file_list": names[0], "return_archive": "False"})
    assert plain.json() == {"square": 81.0}
    part = await client.api.get(
        "/dispatch-data/download_products", params={**given, "file_list": names[0], "return_archive": "False"}, headers={"range": "bytes=0-3"}
    )
    assert (part.status_code, part.content) == (206, plain.content[:4])
    several = await client.get("download_products", file_list=",".join(names), **given)
    with tarfile.open(fileobj=io.BytesIO(several.content)) as archive:
        assert archive.getnames() == names
    for bad in ("nofile", "../products.json", "/etc/passwd", "products.json", ""):
        refused = await client.get("download_products", 403, file_list=bad, **given)
        assert refused["exit_status"]["message"] == "No such file"
    foreign = await client.get("download_products", 403, file_list=names[0], **given | {"token": token("bob@example.org")})
    assert foreign["exit_status"]["message"] == "Request not authorized"


async def test_an_upload_becomes_a_parameter_and_stays_its_owners(client):
    mine = token()
    form = {"instrument": "echo", "product_type": "echo", "query_type": "Dummy", "query_status": "new", "token": mine}
    answer = await client.api.post("/dispatch-data/run_analysis", data=form, files={"text": ("a.txt", b"two stars")})
    address = answer.json()["products"]["analysis_parameters"]["text"]
    assert address.startswith("https://see.example.org/dispatch-data/download_file?file_list=")
    query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
    moved = await client.get("download_file", 302, **query)
    onward = {name: values[0] for name, values in parse_qs(urlsplit(moved.headers["location"]).query).items()}
    assert onward["from_request_files_dir"] == "True"
    found = await client.api.get("/dispatch-data/download_products", params={**onward, "token": mine})
    assert found.content == b"two stars"
    for other in ("", token("bob@example.org")):
        assert (await client.get("download_products", 403, **onward, token=other)).text == "User cannot access the file"
    again = await client.api.post(
        "/dispatch-data/run_analysis", data=form | {"token": token("bob@example.org")}, files={"text": ("b.txt", b"two stars")}
    )
    assert again.json()["products"]["analysis_parameters"]["text"] == address
    assert (await client.api.get("/dispatch-data/download_products", params={**onward, "token": token("bob@example.org")})).content == b"two stars"


async def test_a_file_that_nothing_asks_for_is_not_kept(client, house, tmp_path):
    folder = tmp_path / "oda" / "uploads"
    form = {"instrument": "echo", "product_type": "echo", "query_type": "Dummy", "query_status": "new"}
    files = {"nonsense": ("a.txt", b"two stars")}
    answer = await client.api.post("/dispatch-data/run_analysis", data=form, files=files)
    assert answer.json()["exit_status"]["comment"] == "Please note that argument nonsense is not used"
    for wrong, status in (({"instrument": "none"}, 400), ({"product_type": "none"}, 400), ({"token": "x"}, 403)):
        assert (await client.api.post("/dispatch-data/run_analysis", data=form | wrong, files={"text": ("a.txt", b"two")})).status_code == status
    assert not folder.exists() or [path for path in folder.iterdir() if path.is_file()] == []


SCWS = {"instrument": "windows", "product_type": "one", "query_type": "Real", "query_status": "new"}


@pytest.fixture
def windows(house):
    """An instrument with a list of science windows and a catalogue."""
    made = ScriptedInstrument("windows")
    parameters = (
        Parameter("scw_list", ParameterKind.PRODUCT_LIST, default=[], is_optional=True),
        Parameter("user_catalog", ParameterKind.CATALOGUE, is_optional=True),
    )
    made.declaration = Declaration("windows", parameters=parameters, products=(DeclaredProduct("one"),))
    house.dispatcher.instruments["windows"] = made
    return made


async def test_a_list_of_science_windows_comes_typed_in_or_as_a_file(client, windows):
    async def asked(status=200, files=None, **more):
        if files is not None:
            answer = await client.api.post("/dispatch-data/run_analysis", data=SCWS | more, files=files)
        else:
            answer = await client.api.get("/dispatch-data/run_analysis", params=SCWS | more)
        assert answer.status_code == status, answer.text
        said = answer.json()
        return said["error_message"] if status == 400 else said["products"]["analysis_parameters"]["scw_list"]

    three = ["005100410010.001", "005100420010.001", "005100430010.001"]
    text = ",".join(three)
    assert await asked(scw_list=text, use_scws="form_list") == three
    assert await asked(scw_list=json.dumps(three), use_scws="form_list") == three
    assert await asked(scw_list=three) == three  # one field for each
    assert await asked(use_scws="no") == []
    for content in (text, "\n".join(three), ", \r\n".join(three) + "\n"):
        assert await asked(files={"user_scw_list_file": ("s.list", content.encode())}, use_scws="user_file") == three
    file = {"user_scw_list_file": ("s.list", text.encode())}
    assert "space separated" in await asked(400, scw_list=" ".join(three), use_scws="form_list")
    assert "space separated" in await asked(400, {"user_scw_list_file": ("s.list", " ".join(three).encode())}, use_scws="user_file")
    assert "is no text" in await asked(400, {"user_scw_list_file": ("s.list", b"\xff\xfe")}, use_scws="user_file")
    assert "parameter was found despite" in await asked(400, scw_list=text, use_scws="no")
    assert "parameter was found despite" in await asked(400, file, scw_list=text, use_scws="user_file")
    assert "parameter was expected" in await asked(400, use_scws="form_list")
    assert "file was found despite" in await asked(400, file, use_scws="no")
    assert "file was found despite" in await asked(400, file, use_scws="form_list", scw_list=text)
    assert "file was expected" in await asked(400, use_scws="user_file")
    assert "use_scws is" in await asked(400, use_scws="sometimes")
    unused = await client.run(instrument="echo", product="echo", scw_list=text)
    assert unused["exit_status"]["comment"] == "Please note that argument scw_list is not used"


async def test_a_catalogue_is_an_upload_of_its_owner_that_nobody_loads_here(client, windows):
    mine = token()
    for start in (b"# %ECSV 1.0\n# ---\nra dec\n1 2\n", b"SIMPLE  =                    T" + bytes(64)):
        answer = await client.api.post("/dispatch-data/run_analysis", data=SCWS | {"token": mine}, files={"user_catalog_file": ("c", start)})
        address = answer.json()["products"]["analysis_parameters"]["user_catalog"]
        query = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()} | {"from_request_files_dir": "True"}
        assert (await client.api.get("/dispatch-data/download_products", params={**query, "token": mine})).content == start
        assert (await client.get("download_products", 403, **query, token=token("bob@example.org"))).text == "User cannot access the file"
    for bad in (b"\x80\x04\x95pickle", b"", b"ra dec\n1 2\n"):
        answer = await client.api.post("/dispatch-data/run_analysis", data=SCWS, files={"user_catalog_file": ("c", bad)})
        assert (answer.status_code, answer.json()["error_message"]) == (400, "the catalogue file is neither FITS nor ECSV")


def an_image(work):
    out = Output(work.folder)
    out.image("image", np.arange(6.0).reshape(2, 3))
    out.close()
    return Done()


async def unit_of_an_image(client, house):
    """What the client gets of an image that an instrument has made."""
    made = ScriptedInstrument("images")
    made.declaration = Declaration("images", products=(DeclaredProduct("image", kind=ProductKind.IMAGE),))
    made.on_poll = an_image
    house.dispatcher.instruments["images"] = made
    reply = await client.run(instrument="images", product="image", query_type="Dummy", api="True")
    return reply["products"]["numpy_data_product_list"][0]["data_unit_list"][0]


async def test_arrays_are_no_pickles_unless_a_site_wants_them(client, house):  # D7
    unit = await unit_of_an_image(client, house)
    assert (unit["binarys"], json.loads(unit["data"]), unit["dt"]) == (None, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], "<f8")


async def test_a_short_address_leads_to_the_whole_request(client):
    mine = token()
    reply = await client.run(token=mine, n=4, query_type="Dummy")
    given = {"job_id": reply["job_monitor"]["job_id"], "session_id": reply["session_id"], "token": mine}
    whole = urlsplit((await client.get("resolve-job-url", 302, **given)).headers["location"])
    assert whole.netloc == "see.example.org"
    assert {"n": ["4.0"], "instrument": ["squares"], "use_scws": ["no"]}.items() <= parse_qs(whole.query).items()
    assert "token" not in whole.query
    extra = parse_qs(urlsplit((await client.get("resolve-job-url", 302, **given, scw_list=1)).headers["location"]).query)
    assert extra == {
        "error_message": ["found unexpected parameters: ['scw_list'], expected only and only these ['job_id', 'session_id', 'token']"],
        "status_code": ["400"],
    }
    for bad in (token(exp=5), token("bob@example.org")):
        assert "status_code=403" in (await client.get("resolve-job-url", 302, **given | {"token": bad})).headers["location"]


REPLAYED = (
    Parameter("scw_list", ParameterKind.PRODUCT_LIST, default=[], is_optional=True),
    Parameter("cuts", ParameterKind.STRUCTURED, default={"a": 1}),
    Parameter("T1", ParameterKind.TIME, "isot", "2026-03-01T00:00:00", canonical_unit="mjd", unit_name="T_format"),
    Parameter("width", ParameterKind.ANGLE, "deg", 1.0, maximum=10.0, canonical_unit="arcsec"),
    Parameter("note", ParameterKind.STRING, default="as ever", is_optional=True),
    Parameter("flat", ParameterKind.BOOLEAN, default=False),
)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"width": 2, "flat": "True", "T1": "2026-04-01T00:00:00"},
        {"T1": 61100.25, "T_format": "mjd", "scw_list": "005100410010.001,005100420010.001", "cuts": '{"b": [1, {"c": "x"}], "a": null}'},
        {"note": "\0", "width": "30 arcmin"},
    ],
)
async def test_the_address_of_a_request_asks_for_the_same_job(client, house, asked):
    made = ScriptedInstrument("replayed")
    made.declaration = Declaration("replayed", parameters=REPLAYED, products=(DeclaredProduct("one"),))
    house.dispatcher.instruments["replayed"] = made
    mine = token()
    first = await client.run(instrument="replayed", product="one", token=mine, **asked)
    job_id = first["job_monitor"]["job_id"]
    given = {"job_id": job_id, "session_id": first["session_id"], "token": mine}
    place = (await client.get("resolve-job-url", 302, **given)).headers["location"]
    again = await client.get("run_analysis", token=mine, **dict(parse_qsl(urlsplit(place).query)))
    assert again["job_monitor"]["job_id"] == job_id, place
    # The code in the answer, as its client sends it: a list of windows as fields, other lists as JSON, None as NUL.
    code = {}
    text = "".join(line for line in first["products"]["api_code"].splitlines(keepends=True) if line.startswith(("request", "    ", "}")))
    exec(text, code)
    sent = {name: _sent(name, value) for name, value in code["request"].items() if name not in ("instrument", "product", "product_type")}
    again = await client.run(instrument="replayed", product="one", token=mine, **sent)
    assert again["job_monitor"]["job_id"] == job_id, sent


def _sent(name, value):
    if value is None:
        return "\0"
    return json.dumps(value) if isinstance(value, (list, dict)) and name != "scw_list" else value


async def test_a_dry_run_checks_and_starts_nothing(client, house):
    said = await client.run(token=token(), n="0.5", dry_run="True", nonsense=1)
    assert (said["query_status"], said["exit_status"]["status"]) == ("done", 0)
    assert said["products"]["instrument_parameters"]["n"] == 0.5
    assert "nonsense is not used" in said["exit_status"]["comment"]
    assert said["products"]["api_code"]
    assert await house.store.job_ids(None, 10) == []
    await client.run(400, n=1000, dry_run="True")
    await client.run(403, product="secret_square", dry_run="True")
    await client.run(token=token(), n="0.5", dry_run="False")
    assert len(await house.store.job_ids(None, 10)) == 1


async def test_what_is_there_of_a_job_that_runs_is_given_to_who_wants_progress(client, house):
    made = ScriptedInstrument("partly")
    steps = iter((0.1, 0.5))

    def half(work):
        if (share := next(steps, None)) == 0.1:
            out = Output(work.folder)
            out.text("first", "half of it")
            out.publish()
        return Progress(share or 0.5, f"at {share}")

    made.on_poll = half
    house.dispatcher.instruments["partly"] = made
    mine = token()
    reply = await client.run(instrument="partly", product="one", token=mine)
    given = {"instrument": "partly", "product": "one", "token": mine, "job_id": reply["job_monitor"]["job_id"], "query_status": "submitted"}
    async with asyncio.timeout(30):
        while (said := await client.run(**given, return_progress="True"))["query_status"] != "progress" or "file_name" not in said["products"]:
            assert said["query_status"] in ("submitted", "progress")
            await asyncio.sleep(0.02)
    assert [one["value"] for one in said["products"]["text_product_list"]] == ["half of it"]
    assert (await client.run(**given))["products"] == {}


async def test_an_empty_result_is_told_without_asking_anybody(client, house, mail):
    made = ScriptedInstrument("empties")
    made.declaration = Declaration("empties", products=(DeclaredProduct("one", kind=ProductKind.TABLE),))

    def nothing(work):
        out = Output(work.folder)
        out.table("sources", {"ra": []})
        out.text("log", "12 iterations")
        out.close()
        return Done()

    made.on_poll = nothing
    house.dispatcher.instruments["empties"] = made
    reply = await client.run(instrument="empties", product="one", token=token(tem=0, mssub=False), query_type="Dummy")
    assert (reply["query_status"], reply["exit_status"]["status"]) == ("done", 0)
    assert "empty" in reply["exit_status"]["warning"]
    async with asyncio.timeout(30):
        while not mail.letters:
            await asyncio.sleep(0.05)
    assert mail.letters[0].message.subject == "empties: one is done, with an empty result"
    full = await client.run(token=token(tem=0, mssub=False), query_type="Dummy", n=5)
    assert full["exit_status"]["warning"] == ""


async def test_who_has_too_many_jobs_comes_again_later(client, house):
    house.dispatcher._policy = JobPolicy(most_waiting=1)
    await client.run(token=token(), seconds=20, n=1)
    answer = await client.api.get(
        "/dispatch-data/run_analysis",
        params={"instrument": "squares", "product_type": "square", "query_type": "Real", "query_status": "new", "token": token(), "n": 2},
    )
    # Its clients ask again after 502 to 504, and give up after 500.
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "have not ended yet" in answer.json()["error_message"]


@pytest.fixture
def queue(house):
    """An instrument whose jobs wait."""
    made = ScriptedInstrument("queue")
    made.on_poll = lambda work: Progress(None, "waits", is_running=False)
    house.dispatcher.instruments["queue"] = made
    return made


async def test_each_who_asks_is_told_of_the_submission_in_her_intervals(client, bench, mail, queue):
    """S5, S5b, S6, S10, S12 from the request to the letter; all of them ask for the same, and it runs once."""

    async def ask(login, intsub, **more):
        return await client.run(instrument="queue", product="one", n=1, token=token(f"{login}@example.org", mssub=True, intsub=intsub), **more)

    first = await ask("alice", 300)
    for login, intsub, session in (
        ("alice", 300, "ABCDEFGHIJKLMNOP"),
        ("dora", 0.2, "new"),
        ("erin", 0, "new"),
        ("erin", 0, "new"),
        ("bob", 300, "new"),
    ):
        again = await ask(login, intsub, session_id=session)
        assert again["job_monitor"]["job_id"] == first["job_monitor"]["job_id"]
        assert again["query_status"] == "submitted"
    await asyncio.sleep(0.3)
    await ask("dora", 0.2)
    async with asyncio.timeout(60):
        while len(said := (await bench.call("GET", "/api/v1/messages?type=job"))["items"]) < 7 or len(mail.letters) < 6:
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    assert {one["type"] for one in said} == {"job.queue.submitted"}
    assert Counter(letter.person.login for letter in mail.letters) == {
        f"{who}@example.org": n for who, n in (("alice", 1), ("dora", 2), ("erin", 2), ("bob", 1))
    }
    assert list(queue.started.values()) == [1]


async def test_a_job_is_found_by_the_beginning_of_its_id_among_many(client, house, monkeypatch):
    monkeypatch.setattr("angelia.dialects.oda_looking.PAGE", 2)
    monkeypatch.setattr("angelia.dialects.oda_looking.MOST_LOOKED_AT", 2)
    mine, manager = token(), token("carol", "job manager")
    first = (await client.run(token=mine, n=0))["job_monitor"]["job_id"]
    for number in range(1, 6):
        await client.run(token=mine, n=number)
    for path, who in (("inspect-state", manager), ("inspect-user-state", mine)):
        (record,) = (await client.get(path, token=who, job_id=first[:8]))["records"]
        assert record["job_id"] == first
    assert (await client.get("inspect-user-state", token=token("bob@example.org"), job_id=first[:8]))["records"] == []
    assert (await client.get("inspect-state", token=manager, job_id=first[:8], recent_days=0))["records"] == []
    assert len((await client.get("inspect-state", token=manager))["records"]) == 2
    for days in ("nan", "soon", "[1]"):
        assert (await client.get("inspect-state", 400, token=manager, recent_days=days))["error_message"] == "recent_days is a number"
    for days in ("inf", "-1", "1e9"):
        await client.get("inspect-state", token=manager, recent_days=days)


async def test_an_incident_is_told_to_those_who_look_after_them(client, bench):
    mine = token()
    reply = await client.run(token=mine, n=6, query_type="Dummy")
    form = {
        "job_id": reply["job_monitor"]["job_id"],
        "session_id": reply["session_id"],
        "incident_content": "it is too square",
        "scratch_dir": "../../x",
    }
    answer = await client.api.post("/dispatch-data/report_incident", params={"token": mine}, data=form)
    assert answer.json()["email_report_status"] == "incident report email successfully sent"
    async with asyncio.timeout(60):
        while not (items := (await bench.call("GET", "/api/v1/people/carol/inbox"))["items"]):
            await asyncio.sleep(0.05)
    assert "job.incident" in json.dumps(items[0])
    assert (await client.api.post("/dispatch-data/report_incident", data=form)).text == "A token must be provided."
    foreign = await client.api.post("/dispatch-data/report_incident", params={"token": token("bob@example.org")}, data=form)
    assert foreign.status_code == 403


class TestWithoutAnybodyForIncidents:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, oda=replace(settings.oda, incidents_to=""))

    async def test_a_report_that_nobody_hears_is_not_said_to_be_sent(self, client):
        reply = await client.run(token=token(), n=6, query_type="Dummy")
        form = {"job_id": reply["job_monitor"]["job_id"], "incident_content": "it is too square"}
        said = (await client.api.post("/dispatch-data/report_incident", params={"token": token()}, data=form)).json()
        assert said["email_report_status"] == "sending email failed"
        assert said["martix_message_report_status"] == "sending of an incident report message via matrix failed"


async def test_who_has_a_token_is_known_to_the_hub_and_told_as_it_says(client, bench):
    dora = token("dora@example.org", mssub=False, tem=0, mxroomid="!r:example.org")
    await client.run(token=dora, n=8, query_type="Dummy")
    (address,) = (await bench.call("GET", "/api/v1/people/dora@example.org/addresses"))["items"]
    assert (address["agent"], address["value"]) == ("mail", "dora@example.org")
    said = await bench.call("GET", "/api/v1/people/dora@example.org/preferences")
    assert said["jobs_by_token"]["mail"] == {"on_submit": False, "threshold": 0.0}
    assert said["preferences"] == {"job": {"mail": "now"}}
    assert await mail_of(bench, "dora@example.org", 1) == "chosen"
    quiet = {"jobs": {"mail": {"threshold": 3600}}, "jobs_by_token": said["jobs_by_token"], "preferences": said["preferences"]}
    await bench.call("PUT", "/api/v1/people/dora@example.org/preferences", quiet, 200)
    await client.run(token=dora, n=9, query_type="Dummy")
    assert await mail_of(bench, "dora@example.org", 2) == "job_short"


async def mail_of(bench, login, count):
    """Why the newest of so many ends of jobs was told by mail, or not. Of a job that takes its time there is a word on its beginning, too."""
    items = []
    async with asyncio.timeout(60):
        while len(items) < count:
            there = (await bench.call("GET", f"/api/v1/people/{login}/inbox"))["items"]
            items = [item for item in there if item["message"]["type"].endswith(".done")]
            await asyncio.sleep(0.05)
    why = await bench.why(items[0]["message"]["id"], login)
    return why["agents"]["mail"]["reason"]


async def test_pages_of_the_named_sites_may_ask(client):
    answer = await client.api.get("/dispatch-data/instr-list", headers={"origin": "https://portal.example.org"})
    assert answer.headers["access-control-allow-origin"] == "https://portal.example.org"
    assert (
        "access-control-allow-origin"
        not in (await client.api.get("/dispatch-data/instr-list", headers={"origin": "https://evil.example.org"})).headers
    )
    asked = await client.api.options("/dispatch-data/run_analysis", headers={"origin": "https://portal.example.org"})
    told = [asked.headers[f"access-control-allow-{name}"] for name in ("origin", "methods", "headers")]
    assert (asked.status_code, told) == (204, ["https://portal.example.org", "GET,POST", "content-type"])
    assert (await client.api.get("/dispatch-data/nothing")).status_code == 404
    assert (await client.api.get("/dispatch-data/report_incident")).status_code == 405


class TestOpenInPart:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, oda=replace(settings.oda, cors_origins="*", cors_paths="/instr-list, /run_analysis", cors_methods="GET"))

    async def test_only_the_named_places_are_open_to_pages_of_others(self, client):
        origin = {"origin": "https://anybody.example.org"}
        for path, is_open in (("instr-list", True), ("run_analysis", True), ("inspect-state", False), ("refresh_token", False)):
            answer = await client.api.get(f"/dispatch-data/{path}", headers=origin)
            assert answer.headers.get("access-control-allow-origin") == ("*" if is_open else None), path
        assert "access-control-allow-origin" not in (await client.api.get("/dispatch-data/instr-list")).headers


@pytest.mark.parametrize("number", [1, 2, 12345678901234567, (1 << 63) - 1])
def test_ids_on_the_wire_lead_back(number):
    assert job_number(wire_id(number)) == number
    assert job_number(wire_id(number).upper() + "x") is None


def test_neighbours_differ_from_the_first_digits_on():
    begin = 7_000_000_000_000_000
    assert len({wire_id(begin + step)[:8] for step in range(2_000)}) > 1_990


LEGACY = [
    # Recorded on the old dispatcher: what was asked, and the id that it gave.
    (
        {
            "query_type": "Real", "instrument": "empty-async", "product_type": "dummy", "src_name": "1E 1740.7-2942", "RA": 265.97845833, "DEC": -29.74516667,
            "T1": "2017-03-06T13:26:48.000", "T_format": "isot", "T2": "2017-03-06T15:32:27.000", "sub": "mtm@mtmco.net",
        },
        "9b75cf0d718a7b1d",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("said", "job_id"), LEGACY)
def test_the_old_sums_are_made_as_they_were(said, job_id):
    assert legacy_id(said) == job_id
    assert legacy_id(dict(reversed(said.items()))) == job_id
    assert legacy_id({**said, "RA": 256.97845833}) == job_id
    assert legacy_id({**said, "sub": "alice@example.org"}) != job_id


class TestAsBefore:
    @pytest.fixture
    def settings(self, settings):
        return replace(settings, oda=replace(settings.oda, as_before="ids, pickles, reruns, codes"))

    async def test_ids_are_sums_of_what_is_asked_and_lead_to_the_job(self, client):
        mine = token(roles="job manager")
        reply = await client.run(token=mine, n="0.003", session_id="ABCDEFGHIJKLMNOP")
        job_id = reply["job_monitor"]["job_id"]
        said = {
            key: value
            for key, value in reply["products"]["analysis_parameters"].items()
            if value is not None and key not in ("session_id", "query_status")
        }
        assert job_id == legacy_id({**said, "sub": "alice@example.org"})
        done, _ = await client.until_done(reply, token=mine)
        assert (done["query_status"], done["job_monitor"]["job_id"], done["products"]["job_id"]) == ("done", job_id, job_id)
        (record,) = (await client.get("inspect-state", token=mine, job_id=job_id[:8]))["records"]
        assert (record["job_id"], record["job_monitor"][0]["job_monitor_content"]["job_id"]) == (job_id, job_id)
        assert len((await client.get("inspect-state", token=mine, job_id=job_id))["records"]) == 1
        name = done["products"]["file_name"][0]
        got = await client.api.get(
            "/dispatch-data/download_products", params={"token": mine, "job_id": job_id, "file_list": name, "return_archive": "False"}
        )
        assert got.status_code == 200
        other = token("bob@example.org")
        assert (await client.run(403, token=other, query_status="submitted", job_id=job_id))["exit_status"]["message"] == "Request not authorized"
        theirs = await client.run(token=other, n="0.003")
        assert theirs["job_monitor"]["job_id"] not in (job_id, "")

    async def test_each_new_request_computes(self, client, house):
        first = await client.run(query_type="Dummy", n=5)
        again = await client.run(query_type="Dummy", n=5)
        assert first["job_monitor"]["job_id"] == again["job_monitor"]["job_id"]
        assert len(await house.dispatcher.jobs(Principal("", is_admin=True), of_all=True)) == 2

    async def test_arrays_are_pickles(self, client, house):
        unit = await unit_of_an_image(client, house)
        assert unit["data"] is None
        # Only a test may do this with what it wrote itself.
        assert pickle.loads(base64.b64decode(unit["binarys"])).tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]

    async def test_what_is_no_token_is_not_understood(self, client):
        refused = await client.get("run_analysis", 400, instrument="echo", token="rubbish")
        assert refused["error_message"].endswith("constructor failed: Not enough segments")
        await client.get("run_analysis", 403, instrument="echo", token=token()[:-4] + "AAAA")


async def test_a_port_of_its_own_serves_it_at_the_root_and_nothing_else(client, house):
    async with served(Front(house).analyses()) as port, httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as api:
        assert (await api.get("/instr-list")).json() == ["echo", "squares"]
        assert (await api.get("/dispatch-data/instr-list")).json() == ["echo", "squares"]
        assert (await api.get("/api/v1/jobs")).status_code == 404
        assert (await api.get("/")).status_code == 404


def test_words_that_mean_nothing_are_told_at_the_start():
    with pytest.raises(BadSettings, match="there is no typos"):
        OdaSettings(as_before="ids, typos")
