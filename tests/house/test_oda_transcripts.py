"""What the old dispatcher answered, asked again of us: status, keys and texts are the same but for what is stated here, and why."""

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.pure.test_oda_description import EMPTY

from angelia.instrument import MOST_CONTENTS, Done, Failed, Progress
from angelia.model.declaration import DeclaredProduct, Parameter, ParameterKind, RoleRange
from angelia.products.output import Output
from angelia.settings import load
from angelia.wire.site_tokens import SiteTokens

SECRET = "secretkey_test"
CAPTURED = json.loads((Path(__file__).parent / "transcripts" / "oda.json").read_text())
CHANGING = frozenset({"job_id", "session_id", "time_request", "time_spent_s", "time_original_request", "mtime", "ctime", "last_modified", "api_code"})
"""What is another each time: only that it is there is compared."""
P = Parameter("p", ParameterKind.FLOAT, "W", 10.0, maximum=800, roles=(RoleRange("unige-hpc-full", maximum=50),))
ECHO = next(one for one in EMPTY.products if one.name == "echo")
ECHO = replace(ECHO, parameters=tuple(replace(one, unit_name="energy_units") if one.name == "energ" else one for one in ECHO.parameters))
DECLARATION = replace(
    EMPTY, products=tuple(DeclaredProduct("numerical", parameters=(P,), roles=("general",)) if one.name == "numerical" else ECHO if one.name == "echo" else one for one in EMPTY.products)
)  # fmt: skip


FOLLOWED = frozenset({"run_echo_units", "async_8_poll_after_done"})
"""Asked until the answer has the status that the old one had: a job takes its time."""
_INSPECTED = r"inspect_\w+ [-+=]\.records\[\]\."
DEVIATIONS = {
    # Defects of the old one.
    r"\w+ =\.(config|debug_mode|installed_instruments)": "D4, D8: nothing is told of the site, and of an instrument only to whom may see it",
    r"\w+ -(\.\w+(\[\])?)*\.token": "D4: no token is kept, so none is told",
    _INSPECTED + r".*\.token\.\w+": "D4: of who asked only the name is kept, and no claim of a token",
    _INSPECTED + r".*token_expired": "D4: there is no kept token that could",
    r"callback_no_prior .*": "D2: a call-back needs the secret of its job",
    r"callback_expired .*": "D2: a call-back needs the secret of its job, and nobody's token: one that has run out does not stop the books",
    r"(async_1_new|async_8_poll_after_done) -\.(exit_status|job_monitor)\.(email|matrix_message)_status(_details)?": "D6: mail and chat leave after the answer, not in it",
    r"run_garbage_token (status 403|=\.error(_message)?)": "D10: what is no token is as bad as a forged one",
    r"update_email_opts_no_token (status 403|media text/plain)": "D10: a missing token is no fault of ours",
    r"(check_satus|free_up_space_\w+|reload_plugin\w*) .*": "D9, D13: such places are not there, or for operators in another way",
    r"async_alias_other_session [-+=].*": "D11: who asks for the same gets the result that is there, and not another run",
    # Of the mock behind the old one.
    r"run_unknown_argument [-+=].*": "its mock had no real data for this, and failed",
    r"run_\w+ =\.exit_status\.(error_message|debug_message|message|job_status)": "texts of its mock plug-ins, one that crashed among them",
    r"run_echo_units (-\.products\.echo|\+\.products\.prod_process_message)": "its mock put values beside the products",
    r"async_\w+ =\.exit_status\.(comment|warning)": "a comment and a warning of its mock",
    r"async_\w+ -\.products\.input_param_scw_list": "of science windows, which its mock knew",
    r"\w+ \+\.products\.(text_product_list|file_name|download_file_name)": "ours computes something, and says where it is",
    r"run_numerical_p1000_out_of_range =\.error(_message)?": "its plug-in had a text of its own; ours is that of all bounds",
    # What is said more, less or otherwise on purpose.
    r"\w+ =\.cdci_data_analysis_version(_details)?": "our own version",
    r"\w+ \+\.products\.left_out": "what was too large for an answer is named",
    r"run_failing \+\.products\.input_prod_list": "all answers that describe a job have it",
    r"\w+ -\.products\.analysis_parameters\.(p_list|selected_catalog|allow_unknown_args|extra|api|oda_api_version|job_id)": "only what the job computes with",
    r"run_allow_unknown_args =\.exit_status\.comment": "what nobody knows reaches no instrument, and that is said",
    r"run_restricted_bad =\.error(_message)?": "a bound of whole numbers is told as one",
    r"run_restricted_instrument =\.error(_message)?": "which role is missing is said",
    r"run_unknown_(instrument|product) =\.error(_message)?": "names are sorted, and those of queries are the product's",
    r"run_unnecessary_wrong_job_id =\.error(_message)?": "the name of a job that is not there is not told",
    r"(run|async)_\w+ -\.debug_message": "it is there where it says something",
    r"async_other_user_same_jobid =\.exit_status\.debug_message": "the name that another's job has is not told",
    r"async_\w+ [-+]\.job_monitor\.full_report_dict(_list)?": "it is there as soon, and as long, as there are reports",
    r"async_\w+ =\.exit_status\.message": "what the instrument said last is told",
    r"meta_instr_list =": "sorted",
    r"api_instr_list_redirect (status 200|media application/json|location.*)": "the answer itself, and not where it is",
    r"\w+ media text/plain": "a text is called one: a browser reads it as nothing else",
    r"report_incident_ok =.*\.res_content_incident_reports": "which chats it will reach is not known yet",
    r"update_email_opts_\w+ (=\.error|status 200|media text/plain|=)": "all errors of a request have one name; options for chats are taken",
    _INSPECTED + r".*(aliased_marker|fn|scratch_dir_fn|ctime_isot|request_completed|email_history|file_list)": "there are no folders of sessions, and one job for equal requests",
    _INSPECTED + r".*(query_status|query_type|status_query_output)": "how it was asked is not kept with what was asked",
    _INSPECTED + r".*job_monitor_content\.(message|call_back_status|full_report_dict|full_report_dict_list)": "one entry for each change of state; its reports are in their own",
    r"download_products_noarchive -\.\w+": "its file of parameters has what the old one put there; ours is a product of the job",
}  # fmt: skip


class OldInstrument:
    """Computes nothing, at once; or, where it `waits`, when it is told to."""

    most_at_once = 100
    poll_seconds = 0.05
    makes_folders = True

    def __init__(self, name, roles=(), *, waits=False):
        self.declaration = replace(DECLARATION, name=name, roles=roles)
        self.is_ready = not waits
        self.work = None

    async def submit(self, work):
        self.work = work
        work.changed()
        return work.key

    async def poll(self, work, handle):
        if not self.is_ready:
            return Progress(None, "", is_running=False)
        if work.product == "failing":
            return Failed("failing query")
        out = Output(work.folder, MOST_CONTENTS)
        out.json("analysis_parameters", dict(work.values))
        out.close()
        return Done(contents=out.contents)

    async def cancel(self, work, handle): ...

    async def find(self, work):
        return work.key

    async def close(self): ...


@pytest.fixture
def settings(tmp_path):
    oda = {"secret": SECRET, "incidents_to": "carol", "products_url": "https://products.example.org"}
    return load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {}, "oda": oda})


@pytest.fixture
async def site(bench, house, outside):
    """The instruments that the old one had."""
    await bench.person("carol")
    roles = {"empty-development": ("oda workflow developer",)}
    for name in (
        "empty",
        "empty-async",
        "empty-semi-async",
        "empty-development",
        "empty-async-return-progress",
        "empty-with-conf",
        "empty-with-posix-path",
    ):
        house.dispatcher.instruments[name] = OldInstrument(name, roles.get(name, ()), waits=name == "empty-async")
    task = asyncio.create_task(house.work())
    yield outside
    house.stop()
    await task


def token(said):
    if said["is"] == "garbage":
        return "garbage"
    until = datetime.now(UTC).timestamp() + (-10 if said["is"] == "expired" else 600)
    claims = {key: said[key] for key in ("sub", "roles") if key in said} | {
        "exp": until,
        "name": "Alice",
        "tem": 0,
        "mstout": True,
        "mssub": True,
        "intsub": 5,
    }
    return SiteTokens("another secret" if said["is"] == "forged" else SECRET).sign(claims)


def differences(theirs, ours, at=""):
    """Where two answers are not the same: `-` for what ours has not, `+` for what is only ours, `=` for another value."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"-{at}.{key}" for key in theirs.keys() - ours.keys()] + [f"+{at}.{key}" for key in ours.keys() - theirs.keys()]
        for key in theirs.keys() & ours.keys() - CHANGING:
            found += differences(theirs[key], ours[key], f"{at}.{key}")
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and (not theirs or not ours or not isinstance(theirs[0], (dict, list))):
        return [] if theirs == ours else [f"={at}"]
    if isinstance(theirs, list) and isinstance(ours, list):
        return differences(theirs[0], ours[0], f"{at}[]")
    return [] if theirs == ours else [f"={at}"]


class Known:
    """Names of jobs and sessions in the transcript, and ours for them."""

    def __init__(self):
        self.names = {}

    def learn(self, theirs, ours):
        if isinstance(theirs, dict) and isinstance(ours, dict):
            for key in theirs.keys() & ours.keys():
                if key in ("job_id", "session_id") and isinstance(ours[key], str):
                    self.names.setdefault(theirs[key], ours[key])
                    self.names.setdefault(theirs[key][:8], ours[key][:8])  # what begins so is looked for, too
                self.learn(theirs[key], ours[key])

    def ours(self, text):
        return self.names.get(text, text)


async def asked(api, one, known, house):
    """(status, media type, body, where it leads) of our answer."""
    params = {key: known.ours(value) for key, value in one["params"].items()}
    if one["token"] is not None:
        params["token"] = token(one["token"])
    if one["path"] == "/call_back" and (work := house.dispatcher.instruments["empty-async"].work) is not None:
        params["secret"] = work.callback_secret
        house.dispatcher.instruments["empty-async"].is_ready |= params.get("action") == "done"
    answer = await api.request(one["method"], f"/dispatch-data{one['path']}", params=params, follow_redirects=False)
    media = answer.headers.get("content-type", "").partition(";")[0]
    body = answer.json() if "json" in media else "packed" if "gzip" in media else answer.text
    return answer.status_code, media, "a token" if isinstance(body, str) and body.startswith("eyJ") else body, answer.headers.get("location", "")


async def test_transcripts(site, house):
    known, found, seen = Known(), [], set()
    for one in CAPTURED:
        status, media, body, location = await asked(site, one, known, house)
        async with asyncio.timeout(60):
            while one["name"] in FOLLOWED and body["query_status"] != one["body"]["query_status"]:
                status, media, body, location = await asked(site, one, known, house)
        known.learn(one["body"], body)
        told = [f"status {status}"] if status != one["status"] else []
        told += [f"media {media}"] if media != one["media"] else []
        if one["body"] != "a page":
            told += differences(one["body"], json.loads(json.dumps(body).replace("https://products.example.org", "PRODUCTS_URL")))
        if "location" in one:
            told += leads(one["location"], location.replace("https://products.example.org", "PRODUCTS_URL"))
        for difference in (f"{one['name']} {difference}" for difference in told):
            stated = {pattern for pattern in DEVIATIONS if re.fullmatch(pattern, difference)}
            seen |= stated
            found += [] if stated else [difference]
    assert found == []
    assert DEVIATIONS.keys() - seen == set()


def leads(theirs, ours):
    one, other = urlsplit(theirs), urlsplit(ours)
    told = [f"location {other.path}"] if one.path != other.path else []
    lacking = dict(parse_qsl(one.query)).keys() - dict(parse_qsl(other.query)).keys()
    return told + [f"location lacks {name}" for name in sorted(lacking)]
