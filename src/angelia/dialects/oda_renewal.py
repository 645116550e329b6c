"""The ODA dialect's renewal: a token of hers made anew, with the wishes that she has here, for places that read them from the token."""

from collections.abc import Mapping
from datetime import datetime

from angelia.dialects.oda_people import CHAT, MAIL
from angelia.model.claims import NewsWish, read_claims
from angelia.model.errors import InvalidInput, NotAuthenticated
from angelia.wire.site_tokens import Expired, SiteTokens

REFRESHERS = "refresh-tokens"
"""The role that may move the end of a token."""
_CLAIMS = {
    MAIL: {"on_submit": "mssub", "on_done": "msdone", "on_failure": "msfail", "is_end_timed": "mstout", "interval": "intsub", "threshold": "tem"},
    CHAT: {"on_submit": "mxsub", "on_done": "mxdone", "on_failure": "mxfail", "is_end_timed": "mxstout", "interval": "mxintsub", "threshold": "tmx"},
}


def renewed(tokens: SiteTokens, token: str, login: str, wishes: Mapping[str, NewsWish], now: datetime) -> str:
    """The same token with these wishes, by agent; with a later end where its roles allow that. InvalidInput for one that is not good or not hers."""
    try:
        claims = read_claims(tokens.read(token, now))
    except Expired:
        raise InvalidInput("this token has ended; ask for another one where you got it", "token") from None
    except NotAuthenticated:
        raise InvalidInput("this is no token of this site", "token") from None
    if claims.login.strip() != login:
        raise InvalidInput("this token is not yours", "token")
    options = {
        claim: value
        for agent, names in _CLAIMS.items()
        for name, claim in names.items()
        if (value := getattr(wishes.get(agent, NewsWish()), name)) is not None
    }
    made = tokens.changed(token, now, options)
    is_for_longer = REFRESHERS in (claims.roles or ()) and claims.expires_at is not None
    return tokens.refreshed(made, now) if is_for_longer else made
