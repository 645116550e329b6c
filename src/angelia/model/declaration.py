"""Declaration, DeclaredProduct, Parameter, Limits: what an instrument says of itself; forms, checks and descriptions all come from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class ParameterKind(StrEnum):
    """What a value means, and so how it is read. The text is what stands in a declaration file."""

    ANGLE = "angle"
    """A number; default unit deg. Sexagesimal texts (`17h45m40s`, `-29d00m28s`) are read as well."""
    ENERGY = "energy"
    """A number; default unit keV. A frequency (Hz to THz) is read as the energy of its photons, and so the other way round."""
    SPECTRAL_BOUNDARY = "spectral_boundary"
    """The same as an energy: the lower or upper end of a band."""
    TIME = "time"
    """A moment, in the format that `unit` names (isot, mjd, jd, unix ...); default isot. The scale is UTC."""
    TIME_INTERVAL = "time_interval"
    """A length of time; default unit s."""
    FLOAT = "float"
    INTEGER = "integer"
    STRING = "string"
    BOOLEAN = "boolean"
    FILE = "file"
    """The address or the id of an uploaded file."""
    CATALOGUE = "catalogue"
    """Sources: an object with columns, as the tools of the field write it."""
    PRODUCT_LIST = "product_list"
    """Ids of input products: a list, or a text with commas."""
    STRUCTURED = "structured"
    """Any JSON, checked by `schema`."""


NUMBERS = frozenset(
    {
        ParameterKind.ANGLE,
        ParameterKind.ENERGY,
        ParameterKind.SPECTRAL_BOUNDARY,
        ParameterKind.TIME_INTERVAL,
        ParameterKind.FLOAT,
        ParameterKind.INTEGER,
    }
)
DEFAULT_UNITS: Mapping[ParameterKind, str] = {
    ParameterKind.ANGLE: "deg",
    ParameterKind.ENERGY: "keV",
    ParameterKind.SPECTRAL_BOUNDARY: "keV",
    ParameterKind.TIME: "isot",
    ParameterKind.TIME_INTERVAL: "s",
}


class ProductKind(StrEnum):
    """What a result is, and so how it is shown and encoded."""

    IMAGE = "image"
    LIGHT_CURVE = "light_curve"
    SPECTRUM = "spectrum"
    TABLE = "table"
    TEXT = "text"
    FILE = "file"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class RoleRange:
    """`role` is needed where the value of a parameter lies outside of what is free: below `minimum`, above `maximum`, not in `allowed`.

    Numbers are in the unit of the parameter; None and () mean no such end.
    """

    role: str
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input. A bare number of a caller is in `unit`, and so are `minimum` and `maximum` (both inclusive), `allowed` and `default`.

    `unit` is an astropy unit, or the format of a time; "" is the default unit of the kind. What an instrument gets is in `canonical_unit`,
    "" where that is the same. `unit_name` is the name of another argument by which a caller says in which unit or format hers is. `roles`
    say which role is needed for which values.
    """

    name: str
    kind: ParameterKind
    unit: str = ""
    default: Any = None
    is_optional: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] = ()
    label: str = ""
    help: str = ""
    schema: Mapping[str, Any] | None = None
    roles: tuple[RoleRange, ...] = ()
    canonical_unit: str = ""
    unit_name: str = ""
    group: str = ""
    meanings: tuple[str, ...] = ()
    """URIs of what it means in a vocabulary; a description hands them on."""

    @property
    def in_unit(self) -> str:
        """The unit or format that it has: its own, or that of its kind."""
        return self.unit or DEFAULT_UNITS.get(self.kind, "")

    @property
    def out_unit(self) -> str:
        """The unit or format of the values that an instrument gets."""
        return self.canonical_unit or self.in_unit


@dataclass(frozen=True, slots=True)
class DeclaredProduct:
    """One thing that an instrument can compute, its own parameters, and the roles that are all needed for it."""

    name: str
    title: str = ""
    help: str = ""
    parameters: tuple[Parameter, ...] = ()
    roles: tuple[str, ...] = ()
    kind: ProductKind | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use; lengths in seconds, sizes in bytes."""

    seconds: float = 3600.0
    memory_bytes: int = 2 << 30
    cpu_seconds: float = 3600.0
    output_bytes: int = 1 << 30
    files: int = 1000
    has_network: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """An instrument. `parameters` are shared by all its products; `roles` are all needed to see it; `settings` are for its adapter."""

    name: str
    version: str = "1"
    title: str = ""
    help: str = ""
    parameters: tuple[Parameter, ...] = ()
    products: tuple[DeclaredProduct, ...] = ()
    roles: tuple[str, ...] = ()
    adapter: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
    is_repeatable: bool = False

    def product(self, name: str) -> DeclaredProduct | None:
        """The product of that name."""
        return next((product for product in self.products if product.name == name), None)

    def parameters_of(self, product: DeclaredProduct) -> tuple[Parameter, ...]:
        """All that a request for it may give: the shared ones first; one of the product replaces a shared one of its name."""
        own = {parameter.name for parameter in product.parameters}
        return (*(parameter for parameter in self.parameters if parameter.name not in own), *product.parameters)
