"""Notebook services: the promises, what their options mean, what comes of their results, and what happens when they are down or lie."""

import base64
import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from angelia.flow.job_files import collect
from angelia.instrument import CantTell, Done, Failed, Lent, NotStarted, Progress, Rejected
from angelia.instruments.nb2workflow import NotebookInstrument, NotebookSettings
from angelia.instruments.nb2workflow.options import annotations, declaration_from
from angelia.model.declaration import Declaration, Limits, ParameterKind
from angelia.model.errors import BadSettings
from angelia.outbound import Outbound
from angelia.parameters import checked
from angelia.products.files import read_table, read_units
from angelia.products.inert import NoArray, array_from
from angelia_testing.peers.notebooks import OPTIONS, NotebookService
from angelia_testing.suites.instrument import Bed, InstrumentSuite, outcome_of

GOOD = {"n": 3, "limit": None, "sources": {"a": [1]}, "fail": False}


@pytest.fixture(scope="module")
def _service():
    made = NotebookService()
    yield made
    made.stop()


@pytest.fixture
def service(_service):
    _service.forget()
    _service.starts, _service.options, _service.is_mute = 0, OPTIONS, False
    _service.faults.clear()
    _service.seen.clear()
    return _service


@pytest.fixture
async def bed(service, tmp_path):
    outbound = Outbound("127.0.0.0/8")

    def make():
        return NotebookInstrument(NotebookInstrument.declares, NotebookSettings(service.url, timeout=5), Lent(outbound, tmp_path / "own"))

    made = Bed(make(), make, tmp_path, GOOD, slow=GOOD | {"seconds": 60.0}, bad=GOOD | {"fail": True})
    assert await made.instrument.learn()
    yield made
    await made.close()
    await outbound.close()


class TestNotebooks(InstrumentSuite):
    """With the fixture `bed` of this module."""


def shown(bed):
    return replace(bed.work({}), product="views")


async def result_of(bed, service, **outputs):
    service.outputs = outputs
    work = shown(bed)
    said = await outcome_of(bed.instrument, work, await bed.instrument.submit(work))
    return said, work, {product.name: product for product in collect(work.folder, work.limits)} if said == Done() else {}


def test_options_become_products_with_kinds_units_and_bounds():
    made, faults = declaration_from(OPTIONS, "far", Declaration(name="far"))
    assert faults == []
    assert [product.name for product in made.products] == ["square", "views"]
    found = {parameter.name: parameter for parameter in made.product("square").parameters}
    kinds = {name: (parameter.kind.value, parameter.in_unit) for name, parameter in found.items()}
    assert kinds == {
        "n": ("integer", ""), "seconds": ("time_interval", "s"), "fail": ("boolean", ""), "Emin": ("energy", "TeV"), "band": ("string", ""),
        "T1": ("time", "isot"), "RA": ("angle", "deg"), "limit": ("float", ""), "sources": ("structured", ""),
    }  # fmt: skip
    assert (found["n"].minimum, found["n"].maximum, found["n"].label, found["n"].default) == (0, 100, "Number", 2)
    assert found["band"].allowed == ("g", "r", "z")
    assert (found["limit"].is_optional, found["n"].is_optional) == (True, False)
    assert found["Emin"].meanings == ("http://odahub.io/ontology#Energy_TeV_noted",)
    assert checked(made, "square", {"Emin": "200 GeV"}).values["Emin"] == pytest.approx(0.2)
    other, _ = declaration_from({"square": OPTIONS["square"]}, "far", Declaration(name="far"))
    assert other.version != made.version


@pytest.mark.parametrize(
    ("term", "kind", "unit"),
    [
        ("Energy_keV", "energy", "keV"), ("AngleSeconds", "angle", "arcsec"), ("TimeIntervalDays", "time_interval", "d"), ("EndTimeMJD", "time", "mjd"),
        ("TimeInstantISOT", "time", "isot"), ("Percentage", "float", "percent"), ("Frequency_GHz", "float", "GHz"), ("POSIXPath", "file", ""),
        ("RightAscensionDegrees", "angle", "deg"), ("DetectionThreshold", "float", "sigma"), ("Unheard", "string", ""),
    ],
)  # fmt: skip
def test_terms_of_the_ontology(term, kind, unit):
    entry = {
        "default_value": None,
        "python_type": {"type_object": "<class 'str'>"},
        "owl_type": f"http://odahub.io/ontology#{term}",
        "extra_ttl": None,
    }
    made, faults = declaration_from({"w": {"parameters": {"p": entry}}}, "far", Declaration(name="far"))
    assert not faults
    (parameter,) = made.products[0].parameters
    assert (parameter.kind, parameter.in_unit) == (ParameterKind(kind), unit)


def test_notes_are_read_as_they_are_written():
    text = '@prefix oda: <http://x#> .\noda:a_b oda:label "Say \\"so\\"; now, please." ;\n  oda:unit unit:MeV ;\n  oda:lower_limit 0.5, 1e-3 .\n'
    assert annotations(text) == {"label": ['Say "so"; now, please.'], "unit": ["unit:MeV"], "lower_limit": ["0.5", "1e-3"]}


@pytest.mark.parametrize(
    "options", [[], {"w": None}, {"w": {"parameters": {"p": []}}}, {"w": {"parameters": {"job_id": OPTIONS["views"]["parameters"]["text"]}}}]
)
def test_a_workflow_that_can_not_be_used_is_left_out(options):
    good = {**options, "square": OPTIONS["square"]} if isinstance(options, dict) else options
    made, faults = declaration_from(good, "far", Declaration(name="far"))
    assert [product.name for product in made.products] == (["square"] if isinstance(options, dict) else [])
    assert len(faults) == (1 if isinstance(options, dict) else 0)


async def test_equal_wishes_are_one_run_there(bed, service):
    first, second = bed.work(GOOD), bed.work(GOOD)
    for work in (first, second):
        assert await outcome_of(bed.instrument, work, await bed.instrument.submit(work)) == Done()
    assert service.starts == 1
    (product,) = collect(second.folder, second.limits)
    assert json.loads((second.folder / product.path).read_text()) == 9


async def test_what_it_forgot_is_begun_anew_and_an_end_is_not_asked_twice(bed, service):
    slow = bed.work(GOOD | {"seconds": 60.0})
    handle = await bed.instrument.submit(slow)
    service.forget()
    assert isinstance(await bed.instrument.poll(slow, handle), Progress)
    assert service.starts == 2
    bad = bed.work(GOOD | {"fail": True})
    handle = await bed.instrument.submit(bad)
    ended = await outcome_of(bed.instrument, bad, handle)
    assert ended == Failed("ValueError: no such star")
    service.forget()
    assert await bed.restarted().poll(bad, handle) == ended


async def test_the_service_may_call_back_with_the_secret_of_the_job_alone(bed, service):
    work = replace(bed.work(GOOD), callback_url="http://hub.example.org/api/v1/jobs/job_1/callback", callback_secret="the secret")
    await bed.instrument.submit(work)
    (run,) = service.runs.values()
    assert run["call_back"] == "http://hub.example.org/api/v1/jobs/job_1/callback?secret=the+secret"
    quiet = NotebookInstrument(
        NotebookInstrument.declares, replace(bed.instrument._settings, call_back=False), Lent(bed.instrument._outbound, bed.folder)
    )
    await quiet.submit(replace(bed.work(GOOD | {"n": 4}), callback_url="http://hub.example.org/x", callback_secret="s"))
    assert [run["call_back"] for run in service.runs.values()][1:] == [""]
    await quiet.close()


@pytest.mark.parametrize(
    ("fault", "error"), [(503, NotStarted), (429, NotStarted), (500, CantTell), ("drop", CantTell), (403, Rejected), (404, Rejected)]
)
async def test_what_its_answers_to_a_submit_mean(bed, service, fault, error):
    service.faults.append(fault)
    with pytest.raises(error):
        await bed.instrument.submit(bed.work(GOOD))


async def test_an_answer_that_is_lost_is_found_by_asking_again(bed, service):
    work = bed.work(GOOD)
    service.faults.append("drop")
    with pytest.raises(CantTell):
        await bed.instrument.submit(work)
    handle = await bed.restarted().find(work)
    assert await outcome_of(bed.instrument, work, handle) == Done()
    assert service.starts == 1


async def test_what_it_refuses_to_say_later(bed, service):
    work = bed.work(GOOD)
    handle = await bed.instrument.submit(work)
    service.faults.append(503)
    with pytest.raises(CantTell) as told:
        await bed.instrument.poll(work, handle)
    assert not told.value.is_for_good
    service.faults.append(404)
    with pytest.raises(CantTell) as told:
        await bed.instrument.poll(work, handle)
    assert told.value.is_for_good


async def test_a_value_that_the_service_does_not_take_fails_with_its_words(bed):
    work = replace(bed.work({"nonsense": 1}), product="square")
    said = await outcome_of(bed.instrument, work, await bed.instrument.submit(work))
    assert isinstance(said, Failed)
    assert "found unexpected request parameters: nonsense" in said.why
    with pytest.raises(Rejected, match="RA"):
        await bed.instrument.submit(replace(bed.work({"RA": None}), product="square"))


def unit_of(array, **more):
    return {
        "data": None,
        "dt": "x",
        "name": "t",
        "header": {},
        "meta_data": {},
        "units_dict": None,
        "binarys": base64.b64encode(pickle.dumps(array, 2)).decode(),
        **more,
    }


def listed(*units):
    return json.dumps({"data_unit_list": list(units), "name": "n", "meta_data": "{}"})


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n rest").decode()


async def test_all_forms_of_results_become_products(bed, service):
    curve = np.array([(58000.0, 1.0), (58001.0, 2.0)], dtype=[("TIME", ">f8"), ("FLUX", ">f4")])
    said, work, products = await result_of(
        bed, service, number=9, text="hello", values=[1, None], nothing="null",
        image=listed(unit_of(np.arange(6.0).reshape(2, 3))), curve=listed(unit_of(curve, units_dict={"TIME": "d", "FLUX": "mJy"})),
        plain=listed({"data": "[[1.5], [null]]", "dt": "[('data', '<f8')]", "binarys": None}),
        table=json.dumps({"binary": None, "ascii": "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: x, unit: keV, datatype: int64}\nx\n1\n2\n", "name": None, "meta_data": "{}"}),
        picture=json.dumps({"img_type": "png", "b64data": PNG, "name": "p"}), file="out/p.png", file_content=PNG,
        worded=json.dumps({"name": "w", "value": "so it is", "meta_data": {}}),
    )  # fmt: skip
    assert said == Done()
    kinds = {name: (product.kind.value, product.content_type.partition(";")[0]) for name, product in products.items()}
    assert kinds == {
        "number": ("json", "application/json"), "text": ("text", "text/plain"), "values": ("json", "application/json"),
        "image": ("image", "application/fits"), "curve": ("light_curve", "application/fits"), "plain": ("table", "application/x-ecsv"),
        "table": ("table", "application/x-ecsv"), "picture": ("file", "image/png"), "file": ("file", "image/png"), "worded": ("text", "text/plain"),
    }  # fmt: skip
    (unit,) = [
        part for part in read_units(work.folder / products["curve"].path, products["curve"].kind) if part.data is not None and part.data.dtype.names
    ]
    assert unit.data["FLUX"].tolist() == [1.0, 2.0]
    assert dict(unit.units)["TIME"] == "d"
    assert str(read_table(work.folder / products["table"].path)["x"].unit) == "keV"
    assert (work.folder / products["file"].path).read_bytes().startswith(b"\x89PNG")


def test_rows_of_a_fits_table_are_read():
    columns = [fits.Column(name="TIME", format="D", array=np.array([1.0, 2.0])), fits.Column(name="N", format="4A", array=np.array(["a", "b"]))]
    found = array_from(pickle.dumps(fits.BinTableHDU.from_columns(columns).data, 2))
    assert found["TIME"].tolist() == [1.0, 2.0]


def scaled():
    return fits.BinTableHDU.from_columns([fits.Column(name="T", format="J", bzero=2**31, array=np.array([1], dtype="u4"))]).data


class Evil:
    def __reduce__(self):
        return (exec, ("import pathlib; pathlib.Path('/tmp/angelia-evil').touch()",))


@pytest.mark.parametrize(
    "content",
    [pickle.dumps(Evil()), b"", b"\x80\x02", b"\x80\x02r\xff\xff\xff\x7f.", b"X\xff\xff\xff\xff.", pickle.dumps([1]), pickle.dumps(np.array([{}], dtype=object)),
     pickle.dumps(scaled(), 2), pickle.dumps(np.arange(3), 2).replace(b"K\x03\x85", b"K\x09\x85")],
)  # fmt: skip
def test_a_pickle_is_never_run_and_what_is_no_array_is_refused(content, tmp_path):
    with pytest.raises(NoArray):
        array_from(content)


@pytest.mark.parametrize(
    "outputs",
    [{"x": listed(unit_of(Evil()))}, {"x": listed({"binarys": "%%%"})}, {"x": json.dumps({"data_unit_list": 3})}, {"x": json.dumps({"ascii": None})},
     {"x": json.dumps({"b64data": "%"})}, {"f": "a", "f_content": "%"}],
)  # fmt: skip
async def test_results_that_can_not_be_read_end_the_job_and_nothing_else(bed, service, outputs):
    said, work, _ = await result_of(bed, service, **outputs)
    assert isinstance(said, Failed)
    assert said.is_crash
    assert not (work.folder / "products.json").exists()


async def test_results_that_are_too_large_are_not_taken(bed, service):
    service.outputs = {"text": "x" * 5_000}
    work = replace(shown(bed), limits=Limits(output_bytes=100))
    handle = await bed.instrument.submit(work)
    said = await bed.instrument.poll(work, handle)
    assert isinstance(said, Failed)
    assert said.is_limit


async def test_what_it_offers_is_known_also_while_it_is_down(bed, service):
    service.is_mute = True
    again = bed.restarted()
    assert {product.name for product in again.declaration.products} == {"square", "views"}
    assert not await again.learn()
    assert {product.name for product in again.declaration.products} == {"square", "views"}


@pytest.mark.parametrize("fields", [{"url": "ftp://x"}, {"url": "http://x/"}, {"url": "http://x", "timeout": 0.0}])
def test_settings_that_can_not_work_are_told_at_the_start(fields):
    with pytest.raises(BadSettings):
        NotebookSettings(**fields)
