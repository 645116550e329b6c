"""Settings of the ODA dialect; every start reads them, so nothing else is loaded here."""

from dataclasses import dataclass

from angelia.model.errors import BadSettings
from angelia.model.setting import say

BEFORE = frozenset({"ids", "pickles", "reruns", "codes"})
"""What can be as it was: clients were seen that rely on it."""


@dataclass(frozen=True, slots=True)
class OdaSettings:
    """The analysis service."""

    port: int = say(0, "a port on which it is served alone, at its root as well as below /dispatch-data; 0 for none; web.host is the address")
    secret: str = say("", "what all who sign tokens for this site share; empty: everybody is the public")
    longest_refresh: float = say(604_800, "seconds that one refresh may add to a token")
    products_url: str = say("", "where people see results; /dispatch-data is below it; empty: house.base_url")
    incidents_to: str = say("", "logins or group:<name> who hear of incident reports, with commas")
    as_before: str = say("", "what is to be as in the old dispatcher, with commas: ids, pickles, reruns, codes")
    cors_origins: str = say("", "pages of other sites that may ask, with commas; * for any; empty for none")
    cors_headers: str = say("content-type", "headers that they may send, with commas")
    cors_methods: str = say("GET,POST", "methods that they may use, with commas")
    cors_paths: str = say("*", "paths below /dispatch-data for which that holds, with commas; * for all")

    def __post_init__(self) -> None:
        """A word that means nothing is told at the start."""
        if unknown := self.before - BEFORE:
            raise BadSettings(f"oda.as_before: there is no {', '.join(sorted(unknown))}; there are {', '.join(sorted(BEFORE))}")
        if not 0 <= self.port < 65_536:
            raise BadSettings("oda.port is a port, or 0")

    @property
    def before(self) -> frozenset[str]:
        """The words of `as_before`."""
        return frozenset(word for part in self.as_before.split(",") if (word := part.strip()))
