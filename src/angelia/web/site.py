"""What the operator settles: the site's document, types, sources."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from angelia.flow.profiles import site_of
from angelia.flow.site_trial import try_site
from angelia.flow.topics import publish
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import MessageType, Severity, checked_type
from angelia.planning.defaults import check_template as check_key
from angelia.planning.document import parse_site
from angelia.planning.editing import documents_differ
from angelia.planning.naming import check_names, check_schedule
from angelia.store import Source
from angelia.web.access import Admin, House, Known
from angelia.web.context import Context
from angelia.web.forms import NewToken, RowId, SourceForm, TypeForm
from angelia.web.minting import mint, revoke
from angelia.web.shapes import source_out, token_out, type_out
from angelia.web.wants import version_of

router = APIRouter(prefix="/api/v1", tags=["site"])
Body = dict[str, Any]


@router.get("/site")
async def site(_: Known, house: House, response: Response) -> Body:
    """The site's defaults, audiences, locks, schedules and presets; the version is the ETag."""
    document, version = await house.store.site()
    response.headers["ETag"] = f'"{version}"'
    return dict(document)


@router.put("/site")
async def put_site(document: Body, caller: Admin, house: House, response: Response, if_match: Annotated[str | None, Header()] = None) -> Body:
    """Replace it; refused as a whole if any part is wrong."""
    parse_site(document)
    stored, _ = await house.store.site()
    _check_names(document, stored, house)
    version = await house.store.put_site(document, version_of(if_match))
    await house.store.audit(caller.name, "site.put", "site", {"version": version}, house.now())
    await house.refresh()
    house.changed("people")
    response.headers["ETag"] = f'"{version}"'
    return document


def _check_names(document: Body, stored: Mapping[str, Any], house: Context) -> None:
    check_names(document, house.site().agents, stored)
    check_schedule(document, stored)


@router.post("/site/plan")
async def plan_site(document: Body, _: Admin, house: House, days: int = Query(30, ge=1, le=90)) -> Body:
    """What a document would change, and what it would have done to a sample of people. Nothing is saved."""
    old, version = await house.store.site()
    parse_site(document)
    _check_names(document, old, house)
    loud = frozenset(name for name, agent in house.agents.items() if agent.is_interruptive)
    trial = await try_site(house.store, site_of(old, loud), site_of(document, loud), house.now(), days)
    return {"version": version, "changes": documents_differ(old, document), "days": days, "history": asdict(trial)}


@router.get("/types")
async def types(_: Known, house: House) -> Body:
    """All registered types, by key."""
    return {"items": [type_out(entry) for entry in await house.store.types()]}


@router.get("/types/{key}")
async def show_type(key: str, _: Known, house: House) -> Body:
    """One type."""
    found = await house.store.types([checked_type(key)])
    if not found:
        raise NotFound("there is no such type")
    return type_out(found[0])


@router.put("/types/{key}")
async def put_type(key: str, form: TypeForm, caller: Admin, house: House) -> Body:
    """Curate a type; it need not have been seen yet."""
    now = house.now()
    check_key(form.collapse_key, "collapse_key")
    check_key(form.thread_key, "thread_key")
    key = checked_type(key)
    known = await house.store.types([key])
    entry = MessageType(
        key=key,
        first_seen_at=now,
        last_seen_at=now,
        labels=form.labels,
        descriptions=form.descriptions,
        default_severity=None if form.default_severity is None else Severity.named(form.default_severity),
        collapse_key=form.collapse_key,
        thread_key=form.thread_key,
        retention_days=form.retention_days,
        aliases=tuple(form.aliases),
        params=known[0].params if known else (),
        is_public=form.is_public,
        state=form.state,
    )
    await house.store.put_type(entry)
    await publish(house.store, house.site(), now)
    await house.store.audit(caller.name, "type.put", entry.key, form.model_dump(exclude_none=True), now)
    await house.refresh()
    house.changed("people")
    return type_out((await house.store.types([entry.key]))[0])


@router.get("/sources")
async def sources(_: Admin, house: House) -> Body:
    """Who may post."""
    return {"items": [source_out(source) for source in await house.store.list_sources()]}


@router.put("/sources/{name}")
async def put_source(name: str, form: SourceForm, caller: Admin, house: House) -> Body:
    """Create or replace a source."""
    if not 0 < len(name) <= 128 or not name.isprintable() or name.startswith(("person:", "angelia")):
        raise InvalidInput("a source's name is a printable text of at most 128 characters, other than ours", "name")
    subtrees = tuple(checked_type(tree) for tree in form.subtrees)
    source = await house.store.put_source(Source(name=name, **(form.model_dump() | {"subtrees": subtrees})))
    await house.store.audit(caller.name, "source.put", name, form.model_dump(), house.now())
    house.rights_changed()
    return source_out(source)


@router.get("/sources/{name}")
async def show_source(name: str, _: Admin, house: House) -> Body:
    """One source."""
    source = await house.store.source(name)
    if source is None:
        raise NotFound("there is no such source")
    return source_out(source)


@router.get("/sources/{name}/tokens")
async def source_tokens(name: str, _: Admin, house: House) -> Body:
    """A source's tokens, without their secrets."""
    return {"items": [token_out(token) for token in await house.store.list_tokens(f"source:{name}")]}


@router.post("/sources/{name}/tokens", status_code=201)
async def add_source_token(name: str, form: NewToken, caller: Admin, house: House) -> Body:
    """A new token for a source; its secret is shown this once. It can post; with the scope publish it may also publish events, with
    transitions report what happens to experiments; and nothing else.
    """
    if await house.store.source(name) is None:
        raise NotFound("there is no such source")
    return await mint(house, caller, f"source:{name}", form, frozenset({"post", *({"publish", "transitions"} & set(form.scopes))}))


@router.delete("/sources/{name}/tokens/{token_id}", status_code=204)
async def revoke_source_token(name: str, token_id: RowId, caller: Admin, house: House) -> None:
    """Revoke it; every process refuses it within 5 s."""
    await revoke(house, caller, f"source:{name}", token_id)
