"""How often one person may have the hub send something for her (checklist S31, S32), and how often a source may ping."""

from dataclasses import dataclass, field

from angelia.web.signin.tries import Tries


@dataclass(frozen=True, slots=True)
class Limits:
    """Counted in memory by each process, with the login as key; pings by their expectation."""

    pings: Tries = field(default_factory=lambda: Tries(60, 60.0, "pings"))
    codes: Tries = field(default_factory=lambda: Tries(10, 3_600.0))
    tests: Tries = field(default_factory=lambda: Tries(3, 60.0))
    passwords: Tries = field(default_factory=lambda: Tries(10, 600.0))
