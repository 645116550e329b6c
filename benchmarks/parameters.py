"""How long does it take to check 20 parameters with units?"""

import json
import statistics
import time

from angelia.model.declaration import Declaration, DeclaredProduct, Parameter, ParameterKind
from angelia.parameters import checked

K = ParameterKind
RUNS = 500
ISOT = "2026-03-06T13:26:48.000"
PARAMETERS = (
    *(Parameter(f"time{n}", K.TIME, default=ISOT) for n in range(2)),
    *(Parameter(f"angle{n}", K.ANGLE, default=1.0, minimum=-360, maximum=360, unit_name=f"angle{n}_unit") for n in range(4)),
    *(Parameter(f"energy{n}", K.ENERGY, "MeV", 1.0, canonical_unit="keV", minimum=0) for n in range(4)),
    *(Parameter(f"interval{n}", K.TIME_INTERVAL, default=1.0) for n in range(2)),
    *(Parameter(f"float{n}", K.FLOAT, "mJy", 1.0) for n in range(2)),
    *(Parameter(f"integer{n}", K.INTEGER, default=5, minimum=2, maximum=8) for n in range(2)),
    *(Parameter(f"choice{n}", K.STRING, default="spam", allowed=("spam", "eggs", "ham")) for n in range(2)),
    Parameter("boolean", K.BOOLEAN, default=False),
    Parameter("structured", K.STRUCTURED, default={}, schema={"type": "object", "additionalProperties": {"type": "number"}}),
)
DECLARATION = Declaration("probe", parameters=PARAMETERS, products=(DeclaredProduct("p"),))
PLAIN = {parameter.name: parameter.default for parameter in PARAMETERS}
CONVERTED = (
    PLAIN
    | {f"energy{n}": f"{n + 1}.5 GeV" for n in range(4)}
    | {f"angle{n}": f"{n + 1}.5" for n in range(4)}
    | {f"angle{n}_unit": "arcmin" for n in range(4)}
    | {f"interval{n}": f"{n + 1} hour" for n in range(2)}
    | {f"float{n}": f"{n + 1}e-3 Jy" for n in range(2)}
    | {"time0": {"value": 61100.5, "unit": "mjd"}, "time1": {"value": 61101.5, "unit": "mjd"}, "structured": '{"a": 1.5}', "boolean": "yes"}
)


def took(given: dict) -> list[float]:
    seen = []
    for _ in range(RUNS):
        began = time.perf_counter()
        checked(DECLARATION, "p", given)
        seen.append((time.perf_counter() - began) * 1e3)
    return sorted(seen)


def main() -> None:
    assert len(PARAMETERS) == 20
    began = time.perf_counter()
    checked(DECLARATION, "p", CONVERTED)
    print(f"the first one, with the library of units read for it: {(time.perf_counter() - began) * 1e3:.0f} ms")
    began = time.perf_counter()
    for _ in range(RUNS):
        json.loads(json.dumps(CONVERTED))
    print(f"reference, to JSON and back: {(time.perf_counter() - began) / RUNS * 1e3:.3f} ms")
    for name, given in (("in the declared units", PLAIN), ("each in another unit", CONVERTED)):
        seen = took(given)
        print(f"20 parameters, {name}: p50 {statistics.median(seen):.2f} ms, p99 {seen[int(RUNS * 0.99)]:.2f} ms")


if __name__ == "__main__":
    main()
