"""Declarations in files: what is read, and what is said of what is wrong, by file and key."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angelia.instruments.samples import FOLDER
from angelia.model.declaration import Limits, ParameterKind, ProductKind, RoleRange
from angelia.model.errors import BadSettings
from angelia.parameters import checked, schema_of
from angelia.parameters.reading import declaration_of, read_declaration, read_folder

WHOLE = """
name = "probe-1"
version = "2"
adapter = "function"
roles = ["developer"]
is_repeatable = true
[settings]
target = "mine.fits:run"
[limits]
seconds = 60
has_network = true
[[parameters]]
name = "RA"
kind = "angle"
default = 83.6
minimum = 0
maximum = 360
[[products]]
name = "image"
kind = "image"
[[products.parameters]]
name = "p"
kind = "float"
unit = "W"
default = 10
canonical_unit = "kW"
[[products.parameters.roles]]
role = "hpc"
maximum = 50
why = "for p above 50"
[[products.parameters]]
name = "s"
kind = "structured"
default = {a = 1}
schema = {type = "object"}
"""


def test_a_whole_file(tmp_path):
    path = tmp_path / "probe.toml"
    path.write_text(WHOLE)
    found = read_declaration(path)
    assert (found.name, found.version, found.adapter, found.roles, found.is_repeatable) == ("probe-1", "2", "function", ("developer",), True)
    assert found.limits == Limits(seconds=60, has_network=True)
    assert found.settings == {"target": "mine.fits:run"}
    (product,) = found.products
    assert product.kind is ProductKind.IMAGE
    assert product.parameters[0].roles == (RoleRange("hpc", maximum=50, why="for p above 50"),)
    assert checked(found, "image", {}).values == {"RA": 83.6, "p": 0.01, "s": {"a": 1}}


def test_the_same_in_yaml(tmp_path):
    path = tmp_path / "probe.yaml"
    path.write_text("name: probe\nadapter: function\nproducts: [{name: p, parameters: [{name: x, kind: energy, default: 2}]}]\n")
    assert checked(read_declaration(path), "p", {}).values == {"x": 2.0}
    path.write_text("name: [")
    with pytest.raises(BadSettings, match=r"probe\.yaml: while parsing"):
        read_declaration(path)
    path.write_text("!!python/object/apply:os.system [true]")
    with pytest.raises(BadSettings, match="could not determine a constructor"):
        read_declaration(path)


def minimal(**parameter):
    return {"name": "probe", "adapter": "function", "products": [{"name": "p", "parameters": [{"name": "x", "kind": "float", **parameter}]}]}


@pytest.mark.parametrize(("fields", "says"), [
    ([], "probe.toml: is no table"),
    ({"adapter": "function", "products": [{"name": "p"}]}, "name: is needed"),
    (minimal() | {"name": "A/B"}, "name: should have"),
    (minimal() | {"adaptor": "x"}, "adaptor: there is no such key; is adapter meant?"),
    (minimal() | {"products": []}, "products: at least one is needed"),
    (minimal() | {"limits": {"seconds": 0}}, "limits.seconds: should be more than 0"),
    (minimal() | {"limits": {"seconds": "long"}}, "limits.seconds: should be a finite number"),
    (minimal() | {"roles": "developer"}, "roles: should be a list of texts"),
    (minimal(kind="enrgy"), "products.p.parameters.x.kind: should be one of angle"),
    (minimal(kind="enrgy"), "is energy meant?"),
    (minimal(name="token"), "and none of"),
    (minimal(minimum=2, maximum=1), "products.p.parameters.x.minimum: is above the maximum"),
    (minimal(minimum=float("nan")), "products.p.parameters.x.minimum: should be a finite number"),
    (minimal(kind="string", maximum=1), "only numbers have bounds"),
    (minimal(kind="string", unit="m"), "a string has no unit"),
    (minimal(kind="energy", unit="kg"), "products.p.parameters.x.unit: kg can't be converted to keV"),
    (minimal(kind="energy", canonical_unit="kg"), "canonical_unit: keV can't be converted to kg"),
    (minimal(unit="parrot"), "parrot is no unit"),
    (minimal(kind="time", unit="lunar"), "lunar is no format of a time; there are "),
    (minimal(default=5.0, maximum=4), "products.p.parameters.x.default: Parameter x wrong value 5.0: should be lower or equal than 4"),
    (minimal(kind="integer", default=5.5), "default: Parameter x wrong value 5.5: is not an integer"),
    (minimal(kind="string", default="c", allowed=["a", "b"]), "should be one of ['a', 'b']"),
    (minimal(kind="structured", schema={"type": "objekt"}), "schema: this is no JSON schema"),
    (minimal(kind="structured", schema={"$ref": "http://127.0.0.1:9/x.json"}), "schema: this is no JSON schema"),
    (minimal(unit_name="x"), "x is the name of something else"),
])  # fmt: skip
def test_what_is_wrong_is_said_by_key(fields, says):
    with pytest.raises(BadSettings) as caught:
        declaration_of(fields, "probe.toml")
    assert says in str(caught.value)
    assert all(line.startswith("probe.toml: ") for line in str(caught.value).splitlines())


def test_all_faults_of_a_file_are_said_at_once():
    with pytest.raises(BadSettings) as caught:
        declaration_of(minimal(kind="enrgy", minimum="x") | {"adaptor": 1, "version": 2}, "probe.toml")
    assert len(str(caught.value).splitlines()) == 4


def test_files_that_are_none(tmp_path):
    path = tmp_path / "probe.toml"
    with pytest.raises(BadSettings, match=r"probe\.toml: it can't be read: No such file"):
        read_declaration(path)
    path.write_bytes(b"\xff")
    with pytest.raises(BadSettings, match=r"probe\.toml"):
        read_declaration(path)
    path.write_text("a = ")
    with pytest.raises(BadSettings, match=r"probe\.toml: Invalid value"):
        read_declaration(path)
    path.write_text("#" * 2_000_000)
    with pytest.raises(BadSettings, match="more than"):
        read_declaration(path)


def test_two_of_one_name_in_a_folder(tmp_path):
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(WHOLE)
    with pytest.raises(BadSettings, match=r"b\.toml: name: .*a\.toml has an instrument probe-1 already"):
        read_folder(tmp_path)


def test_our_own_declarations_can_be_used():
    names = {declaration.name: declaration for declaration in read_folder(FOLDER)}
    assert set(names) == {"periodogram", "smoothing", "spectrum-fit"}
    for declaration in names.values():
        for product in declaration.products:
            assert set(checked(declaration, product.name, {}).values) >= {parameter.name for parameter in declaration.parameters_of(product)}
            assert schema_of(declaration, product.name)["required"] == []


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
KEYS = st.sampled_from(
    ["name", "kind", "unit", "default", "minimum", "maximum", "allowed", "schema", "roles", "unit_name", "canonical_unit", "meanings", "label"]
)


@settings(max_examples=50)
@given(
    st.dictionaries(KEYS, JUNK | st.sampled_from([kind.value for kind in ParameterKind])),
    st.dictionaries(st.sampled_from(["name", "adapter", "limits", "settings", "roles", "products", "parameters"]), JUNK),
)
def test_junk_is_bad_settings_or_a_declaration_that_works(parameter, more):
    fields = minimal(**parameter) | more
    try:
        declaration = declaration_of(fields, "probe.toml")
    except BadSettings:
        return
    for product in declaration.products:
        schema_of(declaration, product.name)


def test_the_example_of_the_how_to_can_be_used(tmp_path):
    text = (Path(__file__).parents[2] / "docs/how-to/declare-an-instrument.md").read_text()
    path = tmp_path / "example.toml"
    path.write_text(text.split("```toml\n")[1].split("```")[0])
    found = read_declaration(path)
    assert checked(found, "spectrum", {"energy": "6 MeV"}).values == {"T1": "2026-03-01T00:00:00.000", "energy": 6000.0, "T_format": "isot"}
    assert all(f"`{kind}`" in text for kind in ParameterKind)
