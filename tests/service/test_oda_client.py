"""The unmodified client of PyPI against a served hub: it lists, describes, computes, polls, inspects and refreshes."""

import asyncio
from datetime import UTC, datetime
from importlib.resources import files

import pytest

from angelia.settings import load
from angelia.wire.site_tokens import SiteTokens
from angelia_testing.live import served
from angelia_testing.peers.oda_client import run_client

SECRET = "secretkey_test"
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


@pytest.fixture
def settings(tmp_path):
    declaration = files("angelia.instruments.samples") / "periodogram.toml"
    instruments = {"periodogram": {"declaration": str(declaration)}, "echo": {}}
    overrides = {"house": {"data_dir": str(tmp_path)}, "instruments": instruments, "oda": {"secret": SECRET}}
    return load(environment={}, overrides=overrides)


async def test_a_script_as_people_write_it(house):
    tokens = SiteTokens(SECRET)
    token = tokens.sign(
        {
            "sub": "alice@example.org",
            "name": "Alice",
            "roles": "general, job manager, refresh-tokens",
            "exp": int(datetime.now(UTC).timestamp()) + 600,
        }
    )
    working = asyncio.create_task(house.work())
    async with served(house.app()) as port:
        given = {"url": f"http://127.0.0.1:{port}/dispatch-data", "token": token}
        said = await asyncio.to_thread(run_client, SCRIPT, given)
    house.stop()
    await working
    assert said["instruments"] == ["periodogram", "echo"] or said["instruments"] == ["echo", "periodogram"]
    assert "light_curve" in said["description"]
    assert "time_bin" in said["product"]
    assert "TIME" in said["columns"]
    assert said["rows"] > 10
    assert said["is_finite"] is True
    assert said["steps"][-1] == "done"
    assert len(said["job"]) == 16
    assert said["posted"] is True
    assert "time_bin" in said["bad"]
    assert "time_bin" in said["out_of_range"]
    assert "not valid" in said["unauthorized"]
    assert said["inspected"] == [said["job"]]
    assert tokens.read_any(said["refreshed"])["exp"] > tokens.read_any(token)["exp"]
    assert tokens.read_any(said["quiet"])["msdone"] is False
