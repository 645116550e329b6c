"""Jobs that a back end computes over HTTP: the promises, and what happens when it is down, slow, or lies."""

import json
from dataclasses import replace

import pytest

from angelia.flow.job_files import collect
from angelia.instrument import CantTell, Done, Failed, Gone, Lent, NotStarted, Rejected
from angelia.instruments.http_service import HttpServiceInstrument, HttpServiceSettings
from angelia.model.declaration import Declaration, DeclaredProduct, Limits
from angelia.model.errors import BadSettings
from angelia.outbound import Outbound
from angelia_testing.peers.backend import Backend
from angelia_testing.suites.instrument import Bed, InstrumentSuite, outcome_of

DECLARATION = Declaration(name="far", products=(DeclaredProduct("square"),), limits=Limits(output_bytes=10_000, files=10))
GOOD = {"n": 3}


@pytest.fixture(scope="module")
def _backend():
    made = Backend()
    yield made
    made.stop()


@pytest.fixture
def backend(_backend):
    _backend.jobs.clear()
    _backend.seen.clear()
    _backend.faults.clear()
    return _backend


@pytest.fixture
async def bed(backend, tmp_path):
    outbound = Outbound("127.0.0.0/8")

    def make():
        return HttpServiceInstrument(DECLARATION, HttpServiceSettings(backend.url, token="the token", timeout=5), Lent(outbound))

    made = Bed(make(), make, tmp_path, GOOD, slow=GOOD | {"seconds": 60}, bad=GOOD | {"fail": True})
    yield made
    await made.close()
    await outbound.close()


class TestHttpService(InstrumentSuite):
    """With the fixture `bed` of this module."""


async def test_what_it_is_sent_and_what_comes_back(bed, backend):
    work = replace(bed.work(GOOD), callback_url="http://hub/x", callback_secret="s")
    handle = await bed.instrument.submit(work)
    assert await outcome_of(bed.instrument, work, handle) == Done("squared")
    (product,) = collect(work.folder, work.limits)
    assert (product.name, product.kind.value, product.title, product.content_type) == ("square", "json", "The square", "application/json")
    assert json.loads((work.folder / product.path).read_text()) == {"square": 9}
    (job,) = backend.jobs.values()
    assert job["asked"] == {
        "key": work.key, "product": "square", "parameters": GOOD, "callback_url": "http://hub/x", "callback_secret": "s",
        "limits": {"seconds": 3600.0, "memory_bytes": 2 << 30, "cpu_seconds": 3600.0, "output_bytes": 10_000, "files": 10, "has_network": False},
    }  # fmt: skip
    assert {headers["authorization"] for _, _, headers in backend.seen} == {"Bearer the token"}


async def test_an_answer_that_is_lost_leaves_it_open(bed, backend):
    work = bed.work(GOOD)
    backend.faults["POST"] = ["drop"]
    with pytest.raises(CantTell):
        await bed.instrument.submit(work)
    handle = await bed.instrument.find(work)
    assert await outcome_of(bed.instrument, work, handle) == Done("squared")


@pytest.mark.parametrize(("status", "error"), [(503, NotStarted), (429, NotStarted), (500, CantTell), (400, Rejected), (403, Rejected)])
async def test_what_its_answers_mean(bed, backend, status, error):
    backend.faults["POST"] = [status]
    with pytest.raises(error):
        await bed.instrument.submit(bed.work(GOOD))


async def test_what_it_does_not_know_any_more_is_gone(bed, backend):
    work = bed.work(GOOD)
    handle = await bed.instrument.submit(work)
    backend.faults["GET"] = [503]
    with pytest.raises(CantTell):
        await bed.instrument.poll(work, handle)
    backend.jobs.clear()
    assert isinstance(await bed.instrument.poll(work, handle), Gone)


async def test_one_that_can_not_be_asked_for_a_key_says_so(bed, backend):
    backend.faults["GET"] = [404]
    with pytest.raises(CantTell) as told:
        await bed.instrument.find(bed.work(GOOD))
    assert told.value.is_for_good


@pytest.mark.parametrize(
    ("said", "fraction"), [(0.4, 0.4), (-1, 0.0), pytest.param(10**400, 1.0, id="huge"), (float("nan"), None), (True, None), ("half", None)]
)
async def test_any_number_may_stand_for_progress(bed, backend, said, fraction):
    work = bed.work(GOOD)
    handle = await bed.instrument.submit(work)
    backend.faults["GET"] = [{"state": "running", "progress": said}]
    assert (await bed.instrument.poll(work, handle)).fraction == fraction


LISTED = {"name": "x", "kind": "json", "url": "products/square"}


@pytest.mark.parametrize(
    ("answer", "is_limit"),
    [
        ({"state": "nonsense"}, False),
        ({"state": "done"}, False),
        ({"state": "done", "products": [{"name": "x"}]}, False),
        ({"state": "done", "products": [LISTED | {"kind": "pickle"}]}, False),
        ({"state": "done", "products": [LISTED | {"url": "http://169.254.169.254/latest"}]}, False),
        ({"state": "done", "products": [LISTED] * 500}, False),
        ([], False),
    ],
)
async def test_garbage_ends_the_job_and_nothing_else(bed, backend, answer, is_limit):
    work = bed.work(GOOD)
    handle = await bed.instrument.submit(work)
    backend.faults["GET"] = [answer]
    outcome = await bed.instrument.poll(work, handle)
    assert isinstance(outcome, Failed)
    assert outcome.is_limit is is_limit


async def test_a_product_that_is_too_large_is_not_taken(bed, backend):
    work = replace(bed.work(GOOD), limits=Limits(output_bytes=5))
    handle = await bed.instrument.submit(work)
    outcome = await bed.instrument.poll(work, handle)
    assert isinstance(outcome, Failed)
    assert outcome.is_limit


@pytest.mark.parametrize("fields", [{"url": "ftp://x"}, {"url": "http://x/"}, {"url": "http://x", "timeout": 0.0}])
def test_settings_that_can_not_work_are_told_at_the_start(fields):
    with pytest.raises(BadSettings):
        HttpServiceSettings(**fields)
