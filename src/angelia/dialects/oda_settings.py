"""Settings of the ODA dialect; every start reads them, so nothing else is loaded here."""

from dataclasses import dataclass

from angelia.model.setting import say


@dataclass(frozen=True, slots=True)
class OdaSettings:
    """The analysis service."""

    secret: str = say("", "what all who sign tokens for this site share; empty: everybody is the public")
    longest_refresh: float = say(604_800, "seconds that one refresh may add to a token")
    products_url: str = say("", "where people see results; /dispatch-data is below it; empty: house.base_url")
    incidents_to: str = say("", "logins or group:<name> who hear of incident reports, with commas")
    cors_origins: str = say("", "pages of other sites that may ask, with commas; * for any; empty for none")
    cors_headers: str = say("content-type", "headers that they may send, with commas")
    cors_methods: str = say("GET,POST", "methods that they may use, with commas")
    cors_paths: str = say("*", "paths below /dispatch-data for which that holds, with commas; * for all")
