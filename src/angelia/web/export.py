"""All that the hub keeps of one person, for herself, as one JSON document; secrets are not in it, since nobody has them."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.store import InboxQuery
from angelia.web.access import House, Looking
from angelia.web.context import Context
from angelia.web.expectations import expectation_out, moment_out
from angelia.web.identities import bound_to, identity_out
from angelia.web.inbox import seen_by
from angelia.web.sessions import open_sessions, session_out
from angelia.web.shapes import address_out, feed_out, item_out, person_out, token_out

router = APIRouter(prefix="/api/v1/people/{login}", tags=["person"])
_PAGE = 500


@router.get("/export")
async def export(person: Looking, house: House) -> StreamingResponse:
    """Person, preferences, addresses, feeds, tokens, sessions, identities, expectations with their histories, seen types, and the whole inbox,
    archived messages included.
    """
    head = json.dumps(await _head(house, person), ensure_ascii=False)
    headers = {"Content-Disposition": f'attachment; filename="angelia-{person.person_id}.json"', "Cache-Control": "private, no-store"}
    return StreamingResponse(_parts(house, person, head), media_type="application/json", headers=headers)


async def _head(house: Context, person: Person) -> dict[str, Any]:
    store, person_id = house.store, person.person_id
    document, version = await store.wants(person.login)
    return {
        "exported_at": to_text(house.now()),
        "person": person_out(person),
        "preferences": dict(document),
        "preferences_version": version,
        "addresses": [address_out(address) for address in await store.addresses(person_id)],
        "feeds": [feed_out(feed) for feed in await store.list_feeds(person_id)],
        "tokens": [token_out(token) for token in await store.list_tokens(f"person:{person.login}")],
        "sessions": [session_out(session) for session in await open_sessions(house, person)],
        "identities": [identity_out(bound) for bound in await bound_to(house, person)],
        "expectations": [
            expectation_out(house, one) | {"history": [moment_out(line) for line in await store.expectation_history(one.expectation_id)]}
            for one, _ in await store.list_expectations(person_id)
        ],
        "types": [
            {"key": key, "first_seen_at": to_text(first), "last_seen_at": to_text(last), "messages": count}
            for key, first, last, count in await store.user_types(person_id)
        ],
    }


async def _parts(house: Context, person: Person, head: str) -> AsyncIterator[str]:
    """Page by page, so that a large inbox is never in memory as a whole."""
    yield head[:-1] + ', "inbox": ['
    separator = ""
    for state in ("", "snoozed", "archived"):
        view = await seen_by(house, person, InboxQuery(state=state, limit=_PAGE))
        before: int | None = None
        while items := await house.store.inbox(person.person_id, replace(view, before_id=before)):
            for item in items:
                yield separator + json.dumps(item_out(item), ensure_ascii=False)
                separator = ","
            before = items[-1].delivery_id
    yield "]}"
