"""Types: every type that ever concerned her, how it is treated, and where that comes from; edited in place."""

from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response

from angelia.flow.wants import effective
from angelia.flow.wishes import Week, Wishes, wishes_of
from angelia.model.errors import InvalidInput
from angelia.model.person import AddressState
from angelia.model.preference import ANY_TYPE
from angelia.planning import editing
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.pages.grid import Cell, label_of, scope_cells
from angelia.web.pages.languages import language_of
from angelia.web.pages.tree import MOST_OPEN, Tree, seen_of, toggled, visible
from angelia.web.pages.wishes import Wrong, back, columns_of, known_agent, ways_of, wish_page, wrong_of
from angelia.web.signin.guard import Visiting, Visitor
from angelia.web.wishes import changed, scope_of

router = APIRouter(include_in_schema=False)
Text = Annotated[str, Form(max_length=1_024)]
Words = Annotated[str, Query(max_length=255)]


class View(NamedTuple):
    """What is shown: all of it stands in the URL."""

    q: str = ""
    open: str = ""
    type: str = ""
    own: str = ""
    room: str = "/types"

    def place(self, **changes: str) -> str:
        """The URL of this view with something changed."""
        said = self._replace(**changes)._asdict()
        query = urlencode([(name, value) for name, value in said.items() if value and name != "room"])
        return f"{self.room}?{query}" if query else self.room


@router.get("/types")
async def types(
    request: Request,
    visitor: Visiting,
    house: House,
    q: Words = "",
    open: Annotated[str, Query(max_length=20_000)] = "",
    type: Words = "",
    own: Words = "",
) -> Response:
    """The tree, or what a search finds; `type` is open for editing."""
    return await _tree(request, visitor, house, View(q.strip(), ",".join(open.split(",")[:MOST_OPEN]), type.lower().strip(), own))


async def _tree(request: Request, visitor: Visitor, house: Context, view: View, wrong: Wrong | None = None) -> Response:
    site, view = house.site(), view._replace(room=visitor.at("/types"))
    wishes = await wishes_of(house.store, visitor.person, site)
    at, wrong = _checked(view.type, wrong)
    week = await Week.of(house.store, wishes.profile, house.now())
    last_seen = {key: last for key, _, last, _ in await house.store.user_types(visitor.person.person_id)}
    own = {scope for scope in wishes.profile.wants.preferences if scope != ANY_TYPE}
    seen = seen_of(last_seen, week.by_type, [*own, at] if at else own)
    tree = visible(seen, own, text=view.q.lower(), opened=[key for key in view.open.split(",") if key], at=at, only_own=bool(view.own))
    known = {entry.key: entry for entry in await house.store.types([at])} if at else {}
    treated = _treated(tree, wishes, house)
    said = [found for treatment in treated.values() for found in treatment.values()]
    return await wish_page(
        request, visitor, house, "types.html", wishes, wrong=wrong,
        tree=tree, total=len(seen), filters=view, at=at, treated=treated,
        said_whens={found["when"] for found in said}, said_origins={found["from"] for found in said},
        toggles={row.key: view.place(open=toggled(tree.rows, row.key), type="") for row in tree.rows if row.is_open is not None},
        label=label_of(known.get(at), language_of(request, visitor)),
        is_shown=any(row.key == at for row in tree.rows),
        editor=_editor(at, wishes, house) if at else [], at_row=seen.get(at),
    )  # fmt: skip


def _checked(text: str, wrong: Wrong | None) -> tuple[str, Wrong | None]:
    try:
        return (scope_of(text) if text and text != ANY_TYPE else ""), wrong
    except InvalidInput as error:
        return "", wrong or wrong_of(error)


def _treated(tree: Tree, wishes: Wishes, house: Context) -> dict[str, dict[str, dict[str, str]]]:
    site = house.site()
    return {row.key: effective(wishes.profile, site, row.key) for row in tree.rows}


def _editor(key: str, wishes: Wishes, house: Context) -> list[Cell]:
    """A line an agent, and one for each further address that is hers or that is spoken of."""
    targets = [target for way in columns_of(ways_of(house, wishes), wishes) for target in _targets(way.agent, key, wishes)]
    cells = {cell.agent: cell for cell in scope_cells(key, wishes, house.site(), [target for target in targets if ":" not in target])}
    said = editing.statements_of(wishes.document, key)
    return [cells.get(target) or Cell(target, editing.when_of(said.get(target)), "", form=editing.form_of(said.get(target))) for target in targets]


def _targets(agent: str, key: str, wishes: Wishes) -> Iterable[str]:
    own = [address.value for address in wishes.row.addresses if address.agent == agent and address.state is AddressState.OK]
    spoken = [target for target in editing.statements_of(wishes.document, key) if target.startswith(f"{agent}:")]
    return dict.fromkeys([agent, *(f"{agent}:{value}" for value in own if len(own) > 1), *spoken])


@router.post("/types/cell")
async def put_cell(
    request: Request, visitor: Visiting, house: House, scope: Text, agent: Text, when: Text = "", form: Text = "", view: Text = ""
) -> Response:
    """One agent (or one address) of a type: inherit, off, now, a schedule; short or full."""

    def change(document: dict[str, Any]) -> None:
        editing.put_cell(document, key, target, when, form)

    try:
        key, target = scope_of(scope), known_agent(house, agent)
        version = await changed(house, visitor.person, change)
    except InvalidInput as error:
        return await _tree(request, visitor, house, View(type=scope[:255].lower()), wrong_of(error))
    return back(view, visitor.at("/types"), version)


@router.post("/types/reset")
async def reset(request: Request, visitor: Visiting, house: House, scope: Text, view: Text = "") -> Response:
    """Say nothing of a type any more: all of it is inherited."""
    try:
        key = scope_of(scope)
    except InvalidInput as error:
        return await _tree(request, visitor, house, View(), wrong_of(error))
    version = await changed(house, visitor.person, lambda document: editing.put_statements(document, key, {}))
    return back(view, visitor.at("/types"), version)
