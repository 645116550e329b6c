"""Experiments as their owners see them: a list, and one with its resources, its history and the key that opens its events."""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from angelia.model.experiment import STATES
from angelia.web.access import House
from angelia.web.experiments import experiment as seen
from angelia.web.experiments import list_experiments
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting

router = APIRouter(include_in_schema=False)
A_PAGE = 50
Place = Annotated[str, Query(max_length=40)]


@router.get("/experiments")
async def experiments(
    request: Request, visitor: Visiting, house: House, state: Annotated[str, Query(max_length=20)] = "", after: Place = ""
) -> Response:
    """Hers and those of her groups, the youngest first; all of them for an administrator."""
    state = state if state in STATES else ""
    found = await list_experiments(visitor.caller, house, state, after=after, limit=A_PAGE)
    kept = {"state": state} if state else {}
    older = f"/experiments?{urlencode({**kept, 'after': found['next']})}" if found["next"] else ""
    first = f"/experiments?{urlencode(kept)}" if after else ""
    return page(request, visitor, "experiments.html", experiments=found["items"], states=list(STATES), state=state, older=older, first=first, at=_at)


@router.get("/experiments/{experiment_id}")
async def experiment(request: Request, visitor: Visiting, house: House, experiment_id: str, after: Place = "") -> Response:
    """One of them; those of others are not there."""
    shown = await seen(experiment_id, visitor.caller, house, after, A_PAGE)
    here = f"/experiments/{shown['id']}"
    return page(request, visitor, "experiment.html", experiment=shown, here=here, is_first=not after, at=_at)


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
