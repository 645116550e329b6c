"""The ODA dialect's words for an instrument: its list of names, `par-names` and `meta-data`, all from the declaration."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from angelia.model.declaration import NUMBERS, Declaration, DeclaredProduct, Parameter, ParameterKind
from angelia.model.errors import NotFound

_XSD, _ODA = "http://www.w3.org/2001/XMLSchema#", "http://odahub.io/ontology#"
_STRING = (f"{_XSD}str", f"{_ODA}String")
_MEANINGS: Mapping[ParameterKind, tuple[str, ...]] = {
    ParameterKind.STRING: _STRING,
    ParameterKind.FILE: (*_STRING, f"{_ODA}FileReference", f"{_ODA}FileURL"),
    ParameterKind.FLOAT: (f"{_XSD}float", f"{_ODA}Float"),
    ParameterKind.INTEGER: (f"{_XSD}int", f"{_ODA}Integer"),
    ParameterKind.BOOLEAN: (f"{_XSD}bool", f"{_ODA}Boolean"),
    ParameterKind.ANGLE: (f"{_ODA}Angle",),
    ParameterKind.ENERGY: (f"{_ODA}Energy", f"{_ODA}Frequency"),
    ParameterKind.SPECTRAL_BOUNDARY: (f"{_ODA}Energy", f"{_ODA}Frequency"),
    ParameterKind.TIME: (f"{_ODA}TimeInstant",),
    ParameterKind.TIME_INTERVAL: (f"{_ODA}TimeInterval",),
    ParameterKind.STRUCTURED: (f"{_ODA}StructuredParameter",),
    ParameterKind.PRODUCT_LIST: (f"{_ODA}InputProdList",),
}
_OBJECT = f"{_ODA}AstrophysicalObject"
_SOURCE = frozenset({"src_name", "RA", "DEC", "T1", "T2"})
"""Shared parameters of these names stand in the query about the source; all others in that about the instrument."""
_TOKEN = Parameter("token", ParameterKind.STRING, is_optional=True, meanings=(_OBJECT,))
_ALWAYS = (
    Parameter("user_catalog", ParameterKind.CATALOGUE, is_optional=True),
    Parameter("p_list", ParameterKind.PRODUCT_LIST, default=[], is_optional=True),
    Parameter("selected_catalog", ParameterKind.CATALOGUE, is_optional=True),
)
"""Clients know these of every instrument, so each says that it has them."""
_UPLOADED = frozenset({"user_catalog"})
"""Comes as a file, and is no argument."""
Described = dict[str, Any]


def instr_list(declarations: Iterable[Declaration], roles: Collection[str]) -> list[str]:
    """The names of the instruments that somebody with these roles may see, in their order."""
    return [declaration.name for declaration in declarations if set(declaration.roles) <= set(roles)]


def meta_data(declaration: Declaration, product: str = "") -> list[list[Any]]:
    """What `/api/meta-data` answers: one list in a list. NotFound for a product that there is not."""
    described: list[Any] = [
        {"instrumet": declaration.name},
        {"prod_dict": {found.name: _query_name(found) for found in declaration.products}},
        _source_query(declaration),
        _query(f"{declaration.name}_instrument_query", (*_shared(declaration, is_source=False), *_unless_declared(declaration))),
    ]
    for found in _products(declaration, product):
        described.append(_query(_query_name(found), found.parameters, {"product_name": found.name}))
    return [described]


def meta_data_src(declaration: Declaration) -> list[list[Described]]:
    """What `/meta-data-src` answers: the query about the source alone."""
    return [_source_query(declaration)]


def par_names(declaration: Declaration, product: str = "") -> list[str]:
    """What `/api/par-names` answers: all arguments that a request may have, each once. NotFound for a product that there is not."""
    parameters = [
        *_shared(declaration, is_source=True),
        _TOKEN,
        *_shared(declaration, is_source=False),
        *_unless_declared(declaration),
        *(parameter for found in _products(declaration, product) for parameter in found.parameters),
    ]
    names = (name for parameter in parameters for name in (parameter.name, parameter.unit_name))
    return [name for name in dict.fromkeys(names) if name and name not in _UPLOADED]


def _products(declaration: Declaration, product: str) -> Sequence[DeclaredProduct]:
    if not product:
        return declaration.products
    if (found := declaration.product(product)) is None:
        raise NotFound(f"{declaration.name} has no product {product[:100]}")
    return (found,)


def _query_name(product: DeclaredProduct) -> str:
    return f"{product.name}_query"


def _source_query(declaration: Declaration) -> list[Described]:
    return _query("src_query", (*_shared(declaration, is_source=True), _TOKEN))


def _shared(declaration: Declaration, *, is_source: bool) -> Iterator[Parameter]:
    return (parameter for parameter in declaration.parameters if (parameter.name in _SOURCE) is is_source)


def _unless_declared(declaration: Declaration) -> Iterator[Parameter]:
    declared = {parameter.name for parameter in declaration.parameters}
    return (parameter for parameter in _ALWAYS if parameter.name not in declared)


def _query(name: str, parameters: Iterable[Parameter], more: Described | None = None) -> list[Described]:
    once: dict[str, Described] = {}
    for parameter in parameters:
        for entry in _described(parameter):
            once.setdefault(entry["name"], entry)
    return [{"query_name": name}, *([more] if more else []), *once.values()]


def _described(parameter: Parameter) -> Iterator[Described]:
    entry: Described = {
        "name": parameter.name,
        "units": _unit(parameter),
        "value": _value(parameter),
        "restrictions": _restrictions(parameter),
    }
    texts = {"label": parameter.label, "description": parameter.help, "group": parameter.group}
    if extra := {key: text for key, text in texts.items() if text}:
        entry["extra_metadata"] = extra
    own = (_OBJECT,) if parameter.name == "src_name" else ()
    if meanings := list(dict.fromkeys((*_MEANINGS.get(parameter.kind, ()), *own, *parameter.meanings))):
        entry["owl_uri"] = meanings
    yield entry
    if parameter.unit_name:
        yield {"name": parameter.unit_name, "units": "str", "value": parameter.in_unit}


def _unit(parameter: Parameter) -> str | None:
    if parameter.kind in (ParameterKind.STRING, ParameterKind.FILE):
        return "str"
    return parameter.in_unit or None


def _value(parameter: Parameter) -> Any:
    """The default as it is declared; a number that was written without a point is one all the same."""
    if parameter.kind in NUMBERS and parameter.kind is not ParameterKind.INTEGER and type(parameter.default) is int:
        return float(parameter.default)
    return parameter.default


def _restrictions(parameter: Parameter) -> Described:
    rules: Described = {"is_optional": parameter.is_optional}
    if parameter.allowed:
        rules["allowed_values"] = list(parameter.allowed)
    if parameter.minimum is not None:
        rules["min_value"] = parameter.minimum
    if parameter.maximum is not None:
        rules["max_value"] = parameter.maximum
    if parameter.schema is not None:
        rules["schema"] = dict(parameter.schema)
    return rules
