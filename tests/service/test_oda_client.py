"""The unmodified client of PyPI against the sample site as it is started: it lists, describes, computes, polls, inspects and refreshes."""

import asyncio

import pytest

from angelia.dialects.oda_wire import wire_id
from angelia.front import Front
from angelia.house import House
from angelia.instrument import Progress
from angelia.model.job import JobState, Principal, callback_secret
from angelia.settings import load
from angelia.wire.site_tokens import SiteTokens
from angelia_testing.databases import with_schema
from angelia_testing.hub import Hub
from angelia_testing.live import served
from angelia_testing.peers.oda_client import run_client
from angelia_testing.scripted import ScriptedInstrument

SCRIPT = """
import base64, io, json, logging, sys, time
from contextlib import redirect_stdout
import numpy as np
from oda_api.api import DispatcherAPI, RequestNotUnderstood, Unauthorized
import oda_api.token

given = json.load(sys.stdin)
said = {}
with redirect_stdout(io.StringIO()):
    disp = DispatcherAPI(url=given["url"])
    said["instruments"] = disp.get_instruments_list()
    said["description"] = str(disp.get_instrument_description("periodogram"))
    said["product"] = str(disp.get_product_description("periodogram", "light_curve"))

    # Waiting: as most people call it.
    asked = dict(instrument="periodogram", product="light_curve", product_type="Real", token=given["token"])
    found = disp.get_product(**asked, time_bin=1200.0, T_format="isot", extra="unknown")
    numbers = [one.get_data_unit(0) for one in found._p_list if hasattr(one, "get_data_unit")]
    (unit,) = [one for one in numbers if "TIME" in one.data.dtype.names]
    said["columns"] = list(unit.data.dtype.names)
    said["rows"] = len(unit.data)
    said["is_finite"] = bool(np.isfinite(unit.data["TIME"]).all())
    said["units"] = unit.units_dict

    # Polling by hand.
    patient = DispatcherAPI(url=given["url"], wait=False)
    steps = []
    patient.get_product(**asked, time_bin=900.0)
    for _ in range(200):
        steps.append(patient.query_status)
        if patient.is_complete:
            break
        time.sleep(0.1)
        patient.poll()
    said["steps"] = steps
    said["job"] = patient.job_id

    # An image from another instrument.
    smooth = disp.get_product(instrument="smoothing", product="image", product_type="Real", token=given["token"])
    pictures = [one.get_data_unit(0).data for one in smooth._p_list if hasattr(one, "get_data_unit")]
    said["images"] = [[*picture.shape, bool(np.isfinite(picture).all())] for picture in pictures if picture.ndim == 2]

    # A long request goes as a form.
    posted = disp.get_product(**asked, time_bin=1200.0, src_name="x" * 2000)
    said["posted"] = len(posted._p_list) > 0

    for name, wrong in (("bad", dict(time_bin="soon")), ("out_of_range", dict(time_bin=-5.0))):
        try:
            disp.get_product(**asked, **wrong)
        except RequestNotUnderstood as error:
            said[name] = str(error)
    try:
        disp.get_product(**{**asked, "token": given["token"][:-3] + "abc"})
    except Unauthorized as error:
        said["unauthorized"] = str(error)

    said["inspected"] = inspected = None
    manager = DispatcherAPI(url=given["url"])
    import os
    os.environ["ODA_TOKEN"] = given["token"]
    state = manager.inspect_state(job_id=said["job"][:8])
    said["inspected"] = [record["job_id"] for record in state["records"]]
    said["refreshed"] = manager.refresh_token(given["token"], write_token=False)
    said["quiet"] = manager.disable_email_token(given["token"], write_token=False)
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """What `make run` starts: the sample site, with its instruments and its token."""
    made = Hub(tmp_path_factory.mktemp("sample") / "hub", "--sample")
    yield made
    made.stop()


def test_a_script_as_people_write_it(hub):
    secret, token = ((hub.folder / name).read_text().strip() for name in ("analyses.secret", "alice.jwt"))
    tokens = SiteTokens(secret)
    said = run_client(SCRIPT, {"url": f"{hub.url}/dispatch-data", "token": token})
    assert {"periodogram", "smoothing", "spectrum-fit"} <= set(said["instruments"])
    assert "light_curve" in said["description"]
    assert "time_bin" in said["product"]
    assert "TIME" in said["columns"]
    assert said["rows"] > 10
    assert said["is_finite"] is True
    assert said["units"]
    assert said["images"] and all(image == [256, 256, True] for image in said["images"])
    assert said["steps"][0] == "submitted"
    assert said["steps"][-1] == "done"
    assert len(said["job"]) == 16
    assert said["posted"] is True
    assert "time_bin" in said["bad"]
    assert "time_bin" in said["out_of_range"]
    assert "not valid" in said["unauthorized"]
    assert said["inspected"] == [said["job"]]
    assert tokens.read_any(said["refreshed"])["exp"] > tokens.read_any(token)["exp"]
    assert tokens.read_any(said["quiet"])["msdone"] is False


# Each command in the same process: to read its libraries takes longer than all that it does.
COMMANDS = """
import io, json, logging, os, sys, tempfile
from click.testing import CliRunner
from oda_api.cli import cli

given = json.load(sys.stdin)
os.chdir(tempfile.mkdtemp())
said = []
for words in given["commands"]:
    log = io.StringIO()
    listening = logging.StreamHandler(log)
    logging.getLogger().addHandler(listening)
    ran = CliRunner().invoke(cli, ["-u", given["url"], *words], obj={}, env={"ODA_TOKEN": given["token"]})
    logging.getLogger().removeHandler(listening)
    said.append([ran.exit_code, ran.output + log.getvalue() + str(ran.exception or "")])
has_state = os.path.exists("dispatcher-state.json")
print(json.dumps({"said": said, "state": json.load(open("dispatcher-state.json")) if has_state else None}))
"""


def test_its_command_line(hub):
    """Section 6.3. Its `get` breaks by itself on what is no array, after it has everything."""
    secret, token = ((hub.folder / name).read_text().strip() for name in ("analyses.secret", "alice.jwt"))
    wishes = ("--disable-email", "--disable-matrix", "--matrix-room-id", "!r:s", "--new-validity-hours", "5")
    commands = (
        ("get",),
        ("get", "-i", "smoothing"),
        ("get", "-i", "smoothing", "-p", "image", "-a", "size=64", "-T", "oda_env_var"),
        ("inspect", "--group-by-job"),
        ("token", "inspect"),
        ("token", "-s", secret, "modify", *wishes),
        ("token", "modify", *wishes),
    )
    told = run_client(COMMANDS, {"url": f"{hub.url}/dispatch-data", "token": token, "commands": commands})
    listed, described, got, inspected, looked_at, changed, refused = told["said"]
    assert [status for status, _ in (listed, described, inspected, looked_at, changed)] == [0] * 5, told
    assert "found instruments: ['periodogram', 'smoothing', 'spectrum-fit']" in listed[1]
    assert "image_query" in described[1]
    assert "got product:" in got[1], got
    assert "request completed successfully" in inspected[1]
    assert {len(record["job_id"]) for record in told["state"]["records"]} == {16}
    assert '"sub": "alice"' in looked_at[1]
    signed = SiteTokens(secret).read_any(changed[1].rpartition("your new token (secret!): ")[2].split()[0])
    assert [signed[name] for name in ("mssub", "msdone", "mxsub", "mxdone", "mxroomid")] == [False, False, False, False, "!r:s"]
    assert "without valid secret key" in refused[1]


# As a program that a back end runs: it finds its call-back in a file of its folder.
REPORTS = """
import json, os, sys, tempfile
from oda_api.api import ProgressReporter

given = json.load(sys.stdin)
os.chdir(tempfile.mkdtemp())
with open(".oda_api_context", "w") as file:
    json.dump({"callback": given["callback"]}, file)
reporter = ProgressReporter()
reporter.report_progress(stage="reading", progress=30, substage="frames", subprogress=5, message="30 of 100 frames")
reporter.report_progress(stage="fitting", progress=15, progress_max=20, message="nearly")
print(json.dumps("told"))
"""
ALICE = Principal("alice")


@pytest.fixture
async def house(tmp_path):
    made = load(environment={}, overrides={"house": {"data_dir": str(tmp_path)}, "instruments": {}})
    with_schema(made.database)
    async with House.open(made) as house:
        working = asyncio.create_task(house.work())
        yield house
        house.stop()
        await working


@pytest.mark.parametrize("path", ["/dispatch-data/call_back?job_id={wire}&secret={secret}", "/api/v1/jobs/{job}/callback?secret={secret}"])
async def test_its_progress_reporter_is_heard(house, path):
    scripted = house.dispatcher.instruments["scripted"] = ScriptedInstrument()
    scripted.poll_seconds, scripted.on_poll = 3_600, lambda work: Progress(None, "computing")
    job = await house.dispatcher.submit(ALICE, "scripted", "one", {})
    async with asyncio.timeout(30):
        while (job := await house.dispatcher.job(ALICE, job.job_id)).state is not JobState.RUNNING:
            await asyncio.sleep(0.02)
    address = path.format(wire=wire_id(job.job_id), job=job.public_id, secret=callback_secret(house.secret, job))
    async with served(Front(house).app()) as port:
        assert await asyncio.to_thread(run_client, REPORTS, {"callback": f"http://127.0.0.1:{port}{address}"}) == "told"
    job = await house.dispatcher.job(ALICE, job.job_id)
    assert (job.state, job.progress, job.message) == (JobState.RUNNING, 0.75, "nearly")
    first, second = [row for row in await house.dispatcher.history(ALICE, job.job_id) if row.report]
    assert (first.progress, first.report["stage"], first.report["substage"], first.message) == (0.3, "reading", "frames", "30 of 100 frames")
    assert (second.progress, second.report["stage"]) == (0.75, "fitting")
