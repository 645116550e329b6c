"""What a caller may give for a job: all kinds, units, bounds, defaults; every fault at once; roles."""

import json
import math
import subprocess
import sys

import jsonschema_rs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from angelia.model.declaration import Declaration, DeclaredProduct, Parameter, ParameterKind, RoleRange
from angelia.model.errors import InvalidInput, NotFound
from angelia.parameters import BadParameters, checked, missing_roles, needed_roles, schema_of
from angelia.wire.problems import problem_of

K = ParameterKind
ISOT = "2017-03-06T13:26:48.000"


def of(*parameters: Parameter, roles=(), instrument_roles=()) -> Declaration:
    return Declaration("probe", parameters=parameters, products=(DeclaredProduct("p", roles=roles),), roles=instrument_roles)


def one(parameter: Parameter, value, **more):
    return checked(of(parameter), "p", {parameter.name: value, **more}).values[parameter.name]


def refused(parameter: Parameter, value, **more) -> str:
    with pytest.raises(BadParameters) as caught:
        one(parameter, value, **more)
    assert caught.value.field == parameter.name
    return str(caught.value)


def test_units_and_formats_as_the_old_dispatcher_converts_them():
    declaration = of(
        Parameter("T1", K.TIME, default=ISOT, unit_name="T_format"),
        Parameter("T2", K.TIME, default=ISOT, unit_name="T_format"),
        Parameter("ang", K.ANGLE, "arcsec", 1.0),
        Parameter("ang_deg", K.ANGLE, "deg", 1.0, canonical_unit="arcsec"),
        Parameter("energ", K.ENERGY, "MeV", 1.0, canonical_unit="keV", unit_name="energy_units"),
    )
    given = {
        "ang": 2.0,
        "ang_deg": 2.0,
        "energ": 2.0,
        "T1": 57818.560277777775,
        "T2": 57819.560277777775,
        "T_format": "mjd",
        "energy_units": "MeV",
        "unknown": 2.0,
    }
    found = checked(declaration, "p", given)
    assert found.values == {
        "T1": "2017-03-06T13:26:48.000", "T2": "2017-03-07T13:26:48.000", "T_format": "isot",
        "ang": 2.0, "ang_deg": 7200.0, "energ": 2000.0, "energy_units": "keV",
    }  # fmt: skip
    assert found.unused == ("unknown",)


def test_defaults_stay_in_their_own_unit_whatever_the_caller_says_of_hers():
    declaration = of(Parameter("T1", K.TIME, default=ISOT, unit_name="T_format"), Parameter("T2", K.TIME, default=ISOT, unit_name="T_format"))
    assert checked(declaration, "p", {"T1": "57818.5", "T_format": "mjd"}).values == {"T1": "2017-03-06T12:00:00.000", "T2": ISOT, "T_format": "isot"}


def test_every_fault_is_said_at_once_each_by_its_field():
    declaration = of(
        Parameter("a", K.INTEGER, default=5, minimum=2, maximum=8),
        Parameter("b", K.STRING, default="spam", allowed=("spam", "eggs")),
        Parameter("c", K.FLOAT, default=1.0),
        Parameter("d", K.FLOAT),
        Parameter("t", K.TIME, default=ISOT, unit_name="T_format"),
        Parameter("s", K.STRUCTURED, default={}, schema={"type": "object"}),
    )
    with pytest.raises(InvalidInput) as caught:
        checked(declaration, "p", {"a": "40", "b": "cheese", "c": "\0", "t": "57818.56", "s": "[1]"})
    faults = {fault.field: fault.text for fault in caught.value.faults}
    assert list(faults) == ["a", "b", "c", "d", "t", "s"]
    assert faults["a"] == "Parameter a wrong value 40: should be lower or equal than 8"
    assert faults["b"] == "Parameter b wrong value cheese: should be one of ['spam', 'eggs']"
    assert faults["c"] == "Non-optional parameter c is set to None"
    assert faults["d"] == "Parameter d is missing, and has no default"
    assert faults["t"] == "Parameter t wrong value 57818.56: can't be parsed as Time of isot format"
    assert faults["s"].startswith("Wrong value of structured parameter s")


@pytest.mark.parametrize(("kind", "unit", "given", "value"), [
    (K.ANGLE, "", "17h45m40.0409s", 266.416837083333),
    (K.ANGLE, "", "-29d00m28.1s", -29.0078055555556),
    (K.ANGLE, "", "30 arcmin", 0.5),
    (K.ENERGY, "", "2 MeV", 2000.0),
    (K.ENERGY, "", "1e3 eV", 1.0),
    (K.SPECTRAL_BOUNDARY, "GHz", "1 THz", 1000.0),
    (K.TIME_INTERVAL, "", "2 hour", 7200.0),
    (K.TIME_INTERVAL, "d", {"value": 12, "unit": "hour"}, 0.5),
    (K.FLOAT, "mJy", "1e-3 Jy", 1.0),
    (K.FLOAT, "sigma", "3", 3.0),
    (K.FLOAT, "", 7, 7.0),
    (K.INTEGER, "", " 12 ", 12),
    (K.TIME, "mjd", {"value": "2017-03-06T12:00:00", "unit": "isot"}, 57818.5),
    (K.TIME, "unix", 1488801600, 1488801600.0),
    (K.TIME, "isot", "2017-03-06T12:00:00Z", "2017-03-06T12:00:00.000"),
    (K.BOOLEAN, "", "yes", True), (K.BOOLEAN, "", "False", False), (K.BOOLEAN, "", 1, True),
    (K.STRING, "", 12, "12"),
    (K.PRODUCT_LIST, "", "a, b,,c", ["a", "b", "c"]), (K.PRODUCT_LIST, "", '["a,b"]', ["a,b"]),
    (K.STRUCTURED, "", '{"b": [1, null]}', {"b": [1, None]}),
    (K.CATALOGUE, "", '{"cat_frame": "fk5"}', {"cat_frame": "fk5"}), (K.CATALOGUE, "", "none", "none"),
    (K.FILE, "", "http://example.org/f.fits", "http://example.org/f.fits"),
])  # fmt: skip
def test_each_kind_reads_what_it_should(kind, unit, given, value):
    found = one(Parameter("x", kind, unit), given)
    assert found == (pytest.approx(value, rel=1e-14) if isinstance(value, float) else value)
    assert type(found) is type(value)


@pytest.mark.parametrize(("kind", "given"), [
    (K.INTEGER, 5.0), (K.INTEGER, "5.0"), (K.INTEGER, True), (K.INTEGER, "9" * 400), (K.INTEGER, "१"), (K.INTEGER, 1 << 80),
    (K.FLOAT, "nan"), (K.FLOAT, math.nan), (K.FLOAT, math.inf), (K.FLOAT, "1e999"), (K.FLOAT, 10**400), (K.FLOAT, [1]), (K.FLOAT, True), (K.FLOAT, ""),
    (K.FLOAT, "1 keV"), (K.ENERGY, "1 kg"), (K.ENERGY, "1 m**99999999"), (K.ENERGY, {"value": 1, "unit": "(99keV)**999"}), (K.ENERGY, {"value": 1, "unit": "((9e-99keV)**9)"}), (K.ENERGY, "0 m"), (K.ANGLE, "1h60m0s"), (K.ANGLE, {"value": 1, "unit": "keV"}),
    (K.TIME, "yesterday"), (K.TIME, 57818.5), (K.TIME, None), (K.TIME, "2017-02-30T00:00:00"), (K.TIME, {"value": "nan", "unit": "mjd"}),
    (K.TIME, {"value": 1, "unit": "datetime"}), (K.TIME, {"value": "1" * 100, "unit": "mjd"}),
    (K.BOOLEAN, "maybe"), (K.BOOLEAN, 2), (K.BOOLEAN, 1.0), (K.STRING, {}), (K.STRING, "a\0b"), (K.STRING, "\ud800"), (K.STRING, "a" * 70_000),
    (K.STRUCTURED, "{"), (K.STRUCTURED, "[NaN]"), (K.STRUCTURED, "[1e999]"), (K.STRUCTURED, "[" * 100_000), (K.STRUCTURED, "[" * 70 + "]" * 70),
    (K.CATALOGUE, "{'a': 1}"), (K.CATALOGUE, 3), (K.PRODUCT_LIST, {"a": 1}),
])  # fmt: skip
def test_each_kind_refuses_what_it_should(kind, given):
    refused(Parameter("x", kind), given)


def test_a_caller_of_the_api_sees_all_faults():
    declaration = of(Parameter("a", K.INTEGER, default=1), Parameter("b", K.ENERGY, default=1.0))
    with pytest.raises(BadParameters) as caught:
        checked(declaration, "p", {"a": "x", "b": "1 kg"})
    status, body, _ = problem_of(caught.value)
    assert status == 422
    assert [error["field"] for error in json.loads(body)["errors"]] == ["a", "b"]


def test_unset_is_for_optional_ones_only():
    parameter = Parameter("x", K.FLOAT, default=5.0, is_optional=True)
    assert one(parameter, "\0") is None
    assert one(parameter, None) is None
    assert checked(of(parameter), "p", {}).values == {"x": 5.0}
    assert refused(Parameter("x", K.FLOAT, default=5.0), "\0") == "Non-optional parameter x is set to None"


def test_bounds_and_allowed_values_are_in_the_own_unit():
    parameter = Parameter("e", K.ENERGY, "MeV", 1.0, minimum=0.5, maximum=2.0, canonical_unit="keV")
    assert one(parameter, "2000 keV") == 2000.0
    assert "lower or equal than 2.0" in refused(parameter, "2000.1 keV")
    choice = Parameter("a", K.ANGLE, "arcmin", 30.0, allowed=(30.0, 60.0))
    assert one(choice, "0.5 deg") == 30.0
    assert "should be one of" in refused(choice, "0.4 deg")


def test_a_product_s_own_parameter_stands_for_a_shared_one():
    own = DeclaredProduct("p", parameters=(Parameter("x", K.INTEGER, default=2),))
    declaration = Declaration("probe", parameters=(Parameter("x", K.STRING, default="a"),), products=(own, DeclaredProduct("q")))
    assert checked(declaration, "p", {}).values == {"x": 2}
    assert checked(declaration, "q", {}).values == {"x": "a"}
    with pytest.raises(NotFound, match="it has p, q"):
        checked(declaration, "r", {})
    with pytest.raises(NotFound, match="it has none"):
        checked(Declaration("probe"), "r", {})


def test_roles_of_instrument_product_and_range():
    parameter = Parameter("p", K.FLOAT, "W", 10.0, maximum=800.0, canonical_unit="kW", roles=(RoleRange("hpc", maximum=50.0, why="for p above 50"),))
    declaration = of(parameter, roles=("general",), instrument_roles=("developer",))
    low, high = (checked(declaration, "p", {"p": value}).values for value in (50, 55))
    assert needed_roles(declaration, "p", low) == {"developer": "", "general": ""}
    assert needed_roles(declaration, "p", high)["hpc"] == "for p above 50"
    assert missing_roles(declaration, "p", high, {"general", "developer"}) == ("hpc",)
    assert missing_roles(declaration, "p", high, {"general", "developer", "hpc"}) == ()
    assert missing_roles(declaration, "p", low, set()) == ("developer", "general")


UNITS = {
    K.ANGLE: ["deg", "arcmin", "arcsec", "rad"],
    K.ENERGY: ["eV", "keV", "MeV", "GeV", "TeV", "Hz", "GHz", "THz", "J"],
    K.TIME_INTERVAL: ["s", "minute", "hour", "day", "year"],
}
NUMBER = st.floats(1e-6, 1e6)


@given(st.sampled_from(list(UNITS)), st.data(), NUMBER)
def test_there_and_back_is_the_same_number(kind, data, number):
    first, second = data.draw(st.sampled_from(UNITS[kind])), data.draw(st.sampled_from(UNITS[kind]))
    there = one(Parameter("x", kind, second), {"value": number, "unit": first})
    assert one(Parameter("x", kind, first), {"value": there, "unit": second}) == pytest.approx(number, rel=1e-12)


@given(st.floats(42000, 62000))
def test_times_go_there_and_back(number):
    """Since 1974: before, a day of UTC had odd lengths. The decimal year is left out: in a year with a leap second it is wrong by a share of that."""
    for name in ("jd", "unix", "gps", "jyear", "byear", "isot", "iso", "yday", "fits"):
        there = one(Parameter("t", K.TIME, name), {"value": number, "unit": "mjd"})
        assert one(Parameter("t", K.TIME, "mjd"), {"value": there, "unit": name}) == pytest.approx(number, abs=1e-7)


KINDS = st.sampled_from(list(K))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(KINDS, JUNK, st.text(max_size=12))
def test_junk_is_refused_or_becomes_plain_json_that_is_read_as_itself(kind, junk, unit):
    parameter = Parameter("x", kind, unit_name="u", is_optional=True)
    try:
        value = one(parameter, junk, u=unit)
    except BadParameters:
        return
    json.dumps(value, allow_nan=False).encode()
    if kind is not K.STRUCTURED or not isinstance(value, str):
        assert one(parameter, value) == value


LIKELY = {
    K.FLOAT: st.floats(-9, 9), K.ANGLE: st.integers(-9, 9), K.ENERGY: st.floats(), K.INTEGER: st.integers(-9, 9), K.STRING: st.text(), K.BOOLEAN: st.booleans(),
    K.FILE: st.text(), K.PRODUCT_LIST: st.lists(st.text()), K.STRUCTURED: st.dictionaries(st.text(), JUNK) | st.lists(JUNK), K.CATALOGUE: st.dictionaries(st.text(), JUNK),
}  # fmt: skip


@given(st.text("mskeVHzdgr0123456789*/^().-+ ", max_size=14), st.floats(-1e300, 1e300))
def test_anything_like_a_unit_is_read_or_refused(unit, number):
    for kind in (K.FLOAT, K.ENERGY):
        try:
            found = one(Parameter("x", kind, "keV"), {"value": number, "unit": unit})
        except BadParameters:
            continue
        assert math.isfinite(found)


@given(st.sampled_from(list(LIKELY)), st.data(), st.booleans())
def test_what_the_schema_lets_pass_is_taken(kind, data, is_optional):
    limits = {"minimum": -5, "maximum": 5} if kind in (K.FLOAT, K.ANGLE, K.ENERGY, K.INTEGER) else {}
    declaration = of(Parameter("x", kind, is_optional=is_optional, **limits))
    schema = schema_of(declaration, "p")
    value = data.draw(LIKELY[kind] | st.none())
    try:
        text = json.dumps(value, allow_nan=False)
        passes = jsonschema_rs.is_valid(schema, {"x": value})
    except ValueError:  # what JSON can't hold
        return
    # A schema knows nothing of our NUL, and not of half characters.
    if passes and "\\u0000" not in text and "\\ud" not in text:
        assume(kind is not K.STRUCTURED or value is not None)
        checked(declaration, "p", {"x": value})


def outcome(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stdout.strip()


def test_nothing_heavy_is_loaded_before_it_is_needed():
    rooms = "angelia.parameters.reading, angelia.products.output, angelia.dialects.oda_description, angelia.dialects.oda_encoding"
    assert outcome(f"import sys, {rooms}; print({{'numpy', 'astropy', 'jsonschema_rs', 'yaml'}} & set(sys.modules))") == "set()"


def test_what_must_be_installed_is_said():
    """Plain kinds need nothing; the first unit says what is missing."""
    code = """
import sys
sys.modules["astropy"] = None
from angelia.model.errors import BadSettings
from angelia.parameters.reading import declaration_of
table = {"name": "x", "products": [{"name": "p", "parameters": [{"name": "a", "kind": "integer", "default": 1}]}]}
declaration_of(table, "x.toml")
table["products"][0]["parameters"][0]["kind"] = "energy"
try:
    declaration_of(table, "x.toml")
except BadSettings as error:
    print(error)
"""
    assert "pip install 'angelia[science]'" in outcome(code)
