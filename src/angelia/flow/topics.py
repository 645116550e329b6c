"""Public topics: types that anybody may read without signing in, kept as the inbox of somebody who is nobody.

The public is a person of its own, with a rule for each type that the operator marked. So what is public is decided, recorded and explained
as for everybody, a restricted message never comes near it, what came before the mark stays private, and reading costs what an inbox costs.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from angelia.flow.wants import save_wants
from angelia.model.message import Message, MessageType, ancestry
from angelia.model.person import Person
from angelia.model.preference import NOW, OFF, Site
from angelia.store import Store

PUBLIC = "public:topics"
"""Her login: none that a person can have, as it holds a colon."""
Marks = Mapping[str, bool]


def marks_of(types: Iterable[MessageType]) -> dict[str, bool]:
    """What the operator said of each type: public, or not."""
    return {entry.key: entry.is_public for entry in types if entry.is_public is not None}


def is_public(marks: Marks, key: str) -> bool:
    """The nearest type that says anything decides; where none does, nothing is public."""
    return next((marks[scope] for scope in ancestry(key) if scope in marks), False)


def topic_of(marks: Marks, key: str) -> str:
    """The topic under which a public type is shown: the farthest type above it that is marked public."""
    return next((scope for scope in reversed(ancestry(key)) if marks.get(scope)), "")


def is_shown(marks: Marks, message: Message) -> bool:
    """May anybody read it now? Asked at each reading: a mark that was taken back counts at once, also for what came before."""
    return is_public(marks, message.type) and not message.is_restricted and not message.is_test


def rules_of(marks: Marks) -> list[dict[str, object]]:
    """The rules of the public: the nearest type speaks first, and last."""
    nearest_first = sorted(marks, key=lambda key: (-key.count("."), key))
    return [{"id": key, "type": key, "do": {"web": NOW if marks[key] else OFF}} for key in nearest_first]


async def publish(store: Store, site: Site, now: datetime) -> None:
    """Bring what the public is told in line with the registry."""
    rules = rules_of(marks_of(await store.types(is_curated=True)))
    known = await store.person(PUBLIC)
    if known is None:
        if not rules:
            return
        await store.put_person(Person(person_id=0, login=PUBLIC, name="The public"))
    document, version = await store.wants(PUBLIC)
    if document.get("rules", []) != rules:
        await save_wants(store, PUBLIC, {"rules": rules}, version, site, now)
