"""What the dialect says of instruments, against what the old dispatcher said of the same ones."""

import json
from pathlib import Path

import pytest

from angelia.dialects.oda_description import instr_list, meta_data, meta_data_src, par_names
from angelia.model.declaration import Declaration, DeclaredProduct, Parameter, ParameterKind
from angelia.model.errors import NotFound

GOLDEN = Path(__file__).parent / "golden" / "oda"
K = ParameterKind
P = Parameter("p", K.FLOAT, "W", 10.0)
EMPTY = Declaration(
    "empty",
    parameters=(
        Parameter("src_name", K.STRING, default="1E 1740.7-2942"),
        Parameter("RA", K.ANGLE, default=265.97845833),
        Parameter("DEC", K.ANGLE, default=-29.74516667),
        Parameter("T1", K.TIME, default="2017-03-06T13:26:48.000", unit_name="T_format"),
        Parameter("T2", K.TIME, default="2017-03-06T15:32:27.000", unit_name="T_format"),
    ),
    products=(
        DeclaredProduct("dummy"),
        DeclaredProduct("numerical", parameters=(P,)),
        DeclaredProduct("file_dummy", parameters=(P, Parameter("dummy_file", K.FILE, is_optional=True))),
        DeclaredProduct("failing"),
        DeclaredProduct("parametrical", parameters=(Parameter("sb", K.SPECTRAL_BOUNDARY, default=10),)),
        DeclaredProduct(
            "echo",
            parameters=(
                Parameter("ang", K.ANGLE, "arcsec", 1.0),
                Parameter("ang_deg", K.ANGLE, "deg", 1.0, canonical_unit="arcsec"),
                Parameter("energ", K.ENERGY, "MeV", 1.0, canonical_unit="keV"),
            ),
        ),
        DeclaredProduct(
            "restricted",
            parameters=(
                Parameter("bounded_int_par", K.INTEGER, default=5, minimum=2, maximum=8),
                Parameter("bounded_float_par", K.FLOAT, default=5.0, minimum=2.2, maximum=7.7),
                Parameter("string_select_par", K.STRING, default="spam", allowed=("spam", "eggs", "ham")),
            ),
        ),
        DeclaredProduct("structured", parameters=(Parameter("struct", K.STRUCTURED, default={"a": [1, 2]}, schema={"oneOf": [{"type": "object"}, {"type": "array"}]}),)),
        DeclaredProduct(
            "optional",
            parameters=(Parameter("optional_def_float", K.FLOAT, default=5.0, is_optional=True), Parameter("optional_def_none", K.FLOAT, is_optional=True)),
        ),
    ),
)  # fmt: skip


def golden(name: str):
    """Names of queries are the instrument's own affair; all else is compared."""
    text = (GOLDEN / f"{name}.json").read_text()
    for old, new in (
        ("empty_parameters", "dummy"),
        ("file_parameters", "file_dummy"),
        ("structured_param", "structured"),
        ("optional_param", "optional"),
    ):
        text = text.replace(f"{old}_dummy_query", f"{new}_query")
    return json.loads(text.replace("_parameters_dummy_query", "_query"))


def test_meta_data():
    assert json.loads(json.dumps(meta_data(EMPTY))) == golden("meta-data")
    assert [list(entry) for entry in meta_data(EMPTY)[0][3]] == [list(entry) for entry in golden("meta-data")[0][3]]


def test_meta_data_of_one_product():
    assert json.loads(json.dumps(meta_data(EMPTY, "numerical"))) == golden("meta-data-product")
    with pytest.raises(NotFound):
        meta_data(EMPTY, "numeric")


def test_meta_data_of_the_source():
    assert meta_data_src(EMPTY) == golden("meta-data-src")


def test_par_names():
    assert par_names(EMPTY, "numerical") == golden("par-names")
    assert set(par_names(EMPTY)) > {"p", "dummy_file", "struct", "T_format"}
    assert par_names(EMPTY).count("p") == 1


def test_labels_and_helps_are_told():
    declared = Declaration(
        "i", products=(DeclaredProduct("p", parameters=(Parameter("x", K.FLOAT, default=1.0, label="X", help="what x is", group="g"),)),)
    )
    assert meta_data(declared, "p")[0][-1][-1]["extra_metadata"] == {"label": "X", "description": "what x is", "group": "g"}


def test_a_name_is_told_to_those_who_may_see_it():
    secret = Declaration("secret", roles=("developer",))
    assert instr_list([EMPTY, secret], ()) == ["empty"]
    assert instr_list([EMPTY, secret], {"developer", "general"}) == ["empty", "secret"]
