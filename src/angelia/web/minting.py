"""Tokens made and revoked, whoever owns them: a person or a source."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from angelia.model.errors import NotFound
from angelia.store import Token
from angelia.web.context import Context
from angelia.web.forms import NewToken
from angelia.web.shapes import token_out
from angelia.wire.callers import Caller, new_secret, secret_hash


async def mint(
    house: Context, caller: Caller, owner: str, form: NewToken, scopes: frozenset[str], noted: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A new token of `owner`, with its secret, which is never shown again; `noted` goes into the audit log beside its id."""
    secret, now = new_secret(), house.now()
    expires_at = None if form.expires_in_days is None else now + timedelta(days=form.expires_in_days)
    token = Token(owner=owner, title=form.title, scopes=scopes, created_at=now, expires_at=expires_at)
    made = await house.store.add_token(token, secret_hash(secret))
    await house.store.audit(caller.name, "token.add", owner, {"id": made.token_id, **(noted or {})}, now)
    return {"secret": secret} | token_out(made)


async def revoke(house: Context, caller: Caller, owner: str, token_id: int) -> None:
    """Every process refuses it within 5 s; NotFound where it is nobody's, or somebody else's."""
    if token_id not in {token.token_id for token in await house.store.list_tokens(owner)}:
        raise NotFound("there is no such token")
    await house.store.revoke_token(token_id)
    house.rights_changed()
    await house.store.audit(caller.name, "token.revoke", owner, {"id": token_id}, house.now())
