"""What a notebook service says of itself (`/api/v1.0/options`) as a declaration: terms of the ontology become kinds, units and bounds. Pure."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from angelia.model.declaration import DEFAULT_UNITS, NUMBERS, Declaration, DeclaredProduct, ParameterKind
from angelia.model.errors import BadSettings
from angelia.model.job import canonical
from angelia.parameters.reading import declaration_of

ONTOLOGY = "http://odahub.io/ontology#"
_TYPE = re.compile(r"<class '(\w+)'>")
_PLAIN = {
    "int": ParameterKind.INTEGER, "float": ParameterKind.FLOAT, "bool": ParameterKind.BOOLEAN, "dict": ParameterKind.STRUCTURED,
    "list": ParameterKind.STRUCTURED,
}  # fmt: skip
"""By the type of Python, where the ontology says nothing."""
_KINDS = (
    (re.compile(r"(PointOfInterest(RA|DEC)|RightAscension.*|Declination.*|Angle.*|Radius.*)"), ParameterKind.ANGLE),
    (re.compile(r"Energy.*"), ParameterKind.ENERGY),
    (re.compile(r"(StartTime|EndTime|TimeInstant).*"), ParameterKind.TIME),
    (re.compile(r"TimeInterval.*"), ParameterKind.TIME_INTERVAL),
    (re.compile(r"Integer"), ParameterKind.INTEGER),
    (re.compile(r"(Float|Percentage|DetectionThreshold|Frequency.*)"), ParameterKind.FLOAT),
    (re.compile(r"Boolean"), ParameterKind.BOOLEAN),
    (re.compile(r"(POSIXPath|FileReference|FileURL)"), ParameterKind.FILE),
    (re.compile(r"(StructuredParameter|PhosphorosFiltersTable)"), ParameterKind.STRUCTURED),
)
_BEGINNING = re.compile(
    r"^(PointOfInterest(RA|DEC)|RightAscension|Declination|Angle|Radius|TimeInterval|Energy|Frequency|StartTime|EndTime|TimeInstant)_?"
)
_UNITS = {
    "Degrees": "deg", "Minutes": "arcmin", "Arcmin": "arcmin", "Seconds": "arcsec", "Arcsec": "arcsec", "Radians": "rad", "HourAngle": "hourangle",
}  # fmt: skip
_LENGTHS = {"Seconds": "s", "Minutes": "min", "Hours": "h", "Days": "d", "Years": "yr"}
_WORDS = re.compile(r'"((?:[^"\\]|\\.)*)"(?:\^\^\S+|@\w+)?|<([^>]*)>|([;,.])(?=\s|$)|([^\s;,"<>]+[^\s;,."<>]|[^\s;,."<>])')
"""A text, an address, a mark, or a word, as turtle has them."""


def declaration_from(options: Any, name: str, base: Declaration) -> tuple[Declaration, list[str]]:
    """The instrument that these options mean, and why each workflow that can't be used is left out. `base` gives what options don't say.

    Its version is a sum of all that the service says: what another version computed is never taken for this one's.
    """
    products: list[DeclaredProduct] = []
    faults: list[str] = []
    for workflow, said in sorted(options.items()) if isinstance(options, Mapping) else ():
        try:
            fields = {"name": workflow, "parameters": [_parameter(key, entry) for key, entry in said["parameters"].items()]}
            products += declaration_of({"name": "notebook", "products": [fields]}, workflow).products
        except BadSettings as error:
            faults.append(str(error))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            faults.append(f"{workflow}: its options can't be read: {error!r}")
    version = hashlib.sha256(canonical(options).encode()).hexdigest()[:16]
    made = Declaration(
        name=name, version=version, title=base.title, help=base.help, products=tuple(products), roles=base.roles, adapter=base.adapter,
        settings=base.settings, limits=base.limits, is_repeatable=True,
    )  # fmt: skip
    return made, faults


def _parameter(name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """One parameter as a table of a declaration file."""
    found = _TYPE.search(str((entry.get("python_type") or {}).get("type_object", "")))
    kind = _PLAIN.get(found[1] if found else "", ParameterKind.STRING)
    said = annotations(str(entry.get("extra_ttl") or ""))
    address = str(entry.get("owl_type") or "")
    term = (said.get("subClassOf") or [address])[0].removeprefix("oda:").removeprefix(ONTOLOGY)
    kind = next((better for pattern, better in _KINDS if pattern.fullmatch(term)), kind)
    default = entry.get("default_value")
    fields: dict[str, Any] = {
        "name": name,
        "kind": kind.value,
        "unit": _unit(kind, term, said),
        # What has no default is not refused for that: the notebook says what it makes of it.
        "is_optional": bool(entry.get("is_optional")) or default is None,
        "meanings": [address] if address else [],
        "allowed": [_number(text) if kind in NUMBERS else text for text in said.get("allowed_value", ())],
        **{key: said[word][0] for key, word in (("label", "label"), ("help", "description"), ("group", "group")) if word in said},
    }
    if default is not None:
        fields["default"] = default
    if kind in NUMBERS:
        fields |= {key: _number(said[word][0]) for key, word in (("minimum", "lower_limit"), ("maximum", "upper_limit")) if word in said}
    return fields


def annotations(turtle: str) -> dict[str, list[str]]:
    """What a notebook's author noted beside a parameter, by the last part of each predicate: `lower_limit`, `unit`, `allowed_value` ..."""
    found: dict[str, list[str]] = {}
    place, key = 0, ""
    for match in _WORDS.finditer("\n".join(line for line in turtle.splitlines() if not line.startswith("@"))):
        text, address, mark, word = match.groups()
        if mark:
            # A dot ends a subject, a semicolon a predicate, a comma one of its objects.
            place = {".": 0, ";": 1, ",": 2}[mark]
            continue
        value = re.sub(r"\\(.)", r"\1", text) if text is not None else address if address is not None else word
        if place == 1:
            key = re.split(r"[:#/]", value)[-1]
        elif place == 2:
            found.setdefault(key, []).append(value)
        place = min(place + 1, 2)
    return found


def _unit(kind: ParameterKind, term: str, said: Mapping[str, list[str]]) -> str:
    """As it is noted, or as the term says; "" is the kind's own."""
    if noted := said.get("format" if kind is ParameterKind.TIME else "unit"):
        return re.split(r"[:#/]", noted[0])[-1] if noted[0].startswith(("oda:", "unit:", "http")) else noted[0]
    end = _BEGINNING.sub("", term)
    match kind:
        case ParameterKind.ANGLE:
            return _UNITS.get(end, "")
        case ParameterKind.TIME_INTERVAL:
            return _LENGTHS.get(end, "")
        case ParameterKind.TIME:
            return end.lower() if end.lower() in ("isot", "mjd", "jd", "iso", "unix") else ""
        case ParameterKind.ENERGY:
            return end
        case ParameterKind.FLOAT if term.startswith("Frequency"):
            return end
        case _:
            return "" if kind in DEFAULT_UNITS else {"Percentage": "percent", "DetectionThreshold": "sigma"}.get(term, "")


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and "." not in text else number
