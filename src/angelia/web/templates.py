"""The site's own templates: versions, and previews by the code that renders letters."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from angelia.agent import Letter
from angelia.model.delivery import Delivery, State
from angelia.model.errors import InvalidInput, NotFound
from angelia.model.message import Message, checked_type
from angelia.model.moments import to_text
from angelia.model.person import Person
from angelia.planning.digest import DigestItem, assemble
from angelia.rendering.render import Content, check_template, render_digest, render_message
from angelia.store import Store
from angelia.web.access import Admin, House
from angelia.web.context import Context
from angelia.web.forms import PreviewForm, RestoreForm, TemplateForm, number

router = APIRouter(prefix="/api/v1/templates", tags=["site"])
Body = dict[str, Any]
Key = Annotated[str, Query(max_length=300)]
_DIGEST_ITEMS = 12


@router.get("")
async def templates(_: Admin, house: House) -> Body:
    """The site's own templates."""
    return {"items": [{"key": key, "source": source} for key, source in sorted((await house.store.templates()).items())]}


@router.put("")
async def put_template(form: TemplateForm, caller: Admin, house: House) -> Body:
    """Add or replace one; refused if it can't be used. The text that it had stays as a version."""
    fault = check_template(form.source, is_html=form.key.endswith("/html"))
    if fault:
        raise InvalidInput(fault, "source")
    now = house.now()
    await house.store.put_template(form.key, form.source, caller.name, now)
    await house.store.audit(caller.name, "template.put", form.key, {}, now)
    await house.refresh()
    house.changed("people")
    return form.model_dump()


@router.delete("", status_code=204)
async def delete_template(caller: Admin, house: House, key: Key) -> None:
    """Back to the built-in one; its versions stay."""
    now = house.now()
    await house.store.put_template(key, None, caller.name, now)
    await house.store.audit(caller.name, "template.delete", key, {}, now)
    await house.refresh()
    house.changed("people")


@router.get("/versions")
async def versions(_: Admin, house: House, key: Key) -> Body:
    """All that a template was, newest first; `source` is null where it was taken away."""
    found = await house.store.template_versions(key)
    return {"items": [{"version": one.version, "source": one.source, "actor": one.actor, "at": to_text(one.at)} for one in found]}


@router.post("/restore")
async def restore(form: RestoreForm, caller: Admin, house: House) -> Body:
    """Make an old version the newest again."""
    found = next((one for one in await house.store.template_versions(form.key, 1_000) if one.version == form.version), None)
    if found is None or found.source is None:
        raise NotFound("there is no such version of this template")
    return await put_template(TemplateForm(key=form.key, source=found.source), caller, house)


@router.post("/preview")
async def preview(form: PreviewForm, caller: Admin, house: House) -> Body:
    """What a letter would say: by the stored templates, with `source` in the place of the one named `key`. Nothing is saved or sent."""
    content = await previewed(form, caller.person, house)
    return {"subject": content.subject, "text": content.text, "html": content.html}


async def previewed(form: PreviewForm, person: Person | None, house: Context) -> Content:
    """The content of the letter of a recent message, or of a digest of recent ones; NotFound where there was none."""
    scope, agent, shape, language, _ = form.key.split("/")
    known = dict(await house.store.templates())
    if form.source is not None:
        fault = check_template(form.source, is_html=form.key.endswith("/html"))
        if fault:
            raise InvalidInput(fault, "source")
        known[form.key] = form.source
    messages = await _recent(house.store, scope, form.message)
    if not messages:
        raise NotFound("no message of this type has come yet: a preview needs one")
    reader = Person(person_id=0, login="preview", language=language, time_zone=person.time_zone if person is not None else "UTC")
    return _digest(messages, reader, agent, known, house) if shape == "digest" else _single(messages[0], reader, agent, shape, known, house)


async def _recent(store: Store, scope: str, message_id: str) -> list[Message]:
    if message_id:
        key = number("msg", message_id)
        return list((await store.messages([key])).values())
    subtree = "" if scope in ("*", "digest") else checked_type(scope)
    return await store.list_messages(person_id=None, subtree=subtree, limit=_DIGEST_ITEMS)


def _single(message: Message, reader: Person, agent: str, shape: str, known: Mapping[str, str], house: Context) -> Content:
    delivery = _delivery(agent, shape, house, message_id=message.message_id)
    return render_message(Letter(delivery=delivery, person=reader, address=None, message=message, because=("to",)), agent, shape, lambda: known)


def _digest(messages: list[Message], reader: Person, agent: str, known: Mapping[str, str], house: Context) -> Content:
    items = [
        DigestItem(
            delivery_id=message.message_id, message_id=message.message_id, type=message.type, subject=message.subject, severity=message.severity,
            occurred_at=message.occurred_at, object=message.object, object_url=message.object_url, collapse_key=message.collapse_key,
        )
        for message in messages
    ]  # fmt: skip
    digest = assemble(items, house.now()).digest
    if digest is None:
        raise NotFound("these messages make no digest")
    delivery = _delivery(agent, "digest", house, digest_id=1)
    return render_digest(Letter(delivery=delivery, person=reader, address=None, digest=digest, slot_at=house.now()), agent, lambda: known)


def _delivery(agent: str, shape: str, house: Context, *, message_id: int | None = None, digest_id: int | None = None) -> Delivery:
    return Delivery(
        delivery_id=1, person_id=0, agent=agent, address_id=0, state=State.SENDING, due_at=house.now(), form=shape, message_id=message_id,
        digest_id=digest_id, schedule="daily",
    )  # fmt: skip


def sandboxed(document: str) -> Response:
    """Foreign markup as a document of its own: no script, nothing loaded, no forms, shown only inside our own pages (checklist S8, S9)."""
    policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
    return Response(
        document, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": policy, "Cache-Control": "private, no-store"}
    )
