"""Settings of the brainlife dialect; every start and every command reads them, so nothing else is loaded here."""

from dataclasses import dataclass

from angelia.model.setting import say


@dataclass(frozen=True, slots=True)
class BrainlifeSettings:
    """The services around brainlife."""

    exchange: str = say("wf.task", "the exchange on which amaretti tells what becomes of tasks")
    auth_url: str = say("", "the auth service: <auth_url>/user/<sub> is asked for the mail address of who asked")
    token: str = say("", "the service token for auth_url")
    issuer: str = say("brainlife", "under which issuer people are known to the hub by their sub")
