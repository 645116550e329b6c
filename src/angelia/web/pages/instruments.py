"""Instruments: those that she may use, and a form for each of their products, made of its declaration."""

import asyncio
import re
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from angelia.flow.dispatcher import JobOptions
from angelia.model.declaration import Declaration, DeclaredProduct
from angelia.model.errors import AngeliaError, Forbidden, InvalidInput, NotFound, RateLimited
from angelia.model.job import Principal
from angelia.parameters import BadParameters
from angelia.web.access import House
from angelia.web.context import Context
from angelia.web.forms import number
from angelia.web.jobs import CAMPAIGN, principal_of
from angelia.web.pages.job_form import fields_of, files_in, request_of, typed_in, typed_of
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visiting, Visitor

router = APIRouter(include_in_schema=False)
_CAMPAIGN = re.compile(CAMPAIGN)


@router.get("/instruments")
async def instruments(request: Request, visitor: Visiting, house: House) -> Response:
    """What there is to compute, for her."""
    principal = await principal_of(visitor.caller, house)
    return page(request, visitor, "instruments.html", instruments=house.dispatcher.visible(principal))


def _declared(house: Context, principal: Principal, name: str, product: str) -> tuple[Declaration, DeclaredProduct]:
    """One that she may use: of others nobody tells her that they are there."""
    declaration = next((one for one in house.dispatcher.visible(principal) if one.name == name), None)
    found = declaration.product(product) if declaration is not None else None
    if declaration is None or found is None:
        raise NotFound("there is no such instrument")
    return declaration, found


@router.get("/instruments/{name}/{product}")
async def product_form(request: Request, visitor: Visiting, house: House, name: str, product: str, again: str = "") -> Response:
    """The form, with the defaults; with the id of a job of hers as `again`, with the values of that one."""
    principal = await principal_of(visitor.caller, house)
    declaration, found = _declared(house, principal, name, product)
    typed, campaign = None, ""
    if again:
        old = await house.dispatcher.job(principal, number("job", again))
        typed, campaign = typed_of(declaration.parameters_of(found), old.values), old.campaign if old.owner == principal.login else ""
    fields = fields_of(declaration, found, typed)
    return _form(request, visitor, declaration, found, fields=fields, is_again=bool(again), options=JobOptions(campaign=campaign))


@router.post("/instruments/{name}/{product}")
async def ask(request: Request, visitor: Visiting, house: House, name: str, product: str) -> Response:
    """Ask for it; what is wrong is told at its field, and all that was typed stays."""
    principal = await principal_of(visitor.caller, house, is_change=True)
    declaration, found = _declared(house, principal, name, product)
    parameters = declaration.parameters_of(found)
    async with request.form() as sent:
        form = {key: value for key, value in sent.items() if isinstance(value, str)}
        typed = typed_in(parameters, form)
        for parameter, file in files_in(parameters, sent).items():
            # Kept at once: where something else is wrong, its address stands in the field.
            key = await asyncio.to_thread(house.dispatcher.uploads.keep, file.file, principal.login)
            typed[parameter] = house.dispatcher.uploads.address(key)
    options = JobOptions(is_private="private" in form, is_fresh="fresh" in form, campaign=form.get("campaign", "").strip())
    if not _CAMPAIGN.fullmatch(options.campaign):
        told = {"fields": fields_of(declaration, found, typed), "wrong": "1", "campaign_fault": True, "status": 422}
        return _form(request, visitor, declaration, found, options=options, **told)
    try:
        done = await house.dispatcher.request(principal, name, product, request_of(parameters, typed), options)
    except BadParameters as error:
        told = {"fields": fields_of(declaration, found, typed, error.faults), "wrong": str(len(error.faults)), "status": 422}
    except (Forbidden, RateLimited, InvalidInput) as error:
        told = {"fields": fields_of(declaration, found, typed), "problem": str(error), "status": _status(error)}
    else:
        return RedirectResponse(f"/jobs/{done.job.public_id}", 303)
    return _form(request, visitor, declaration, found, options=options, **told)


def _status(error: AngeliaError) -> int:
    return 429 if isinstance(error, RateLimited) else 422 if isinstance(error, InvalidInput) else 403


def _form(request: Request, visitor: Visitor, declaration: Declaration, found: DeclaredProduct, **values: Any) -> Response:
    usual: dict[str, Any] = {"problem": "", "wrong": "", "campaign_fault": False, "options": JobOptions(), "is_again": False}
    return page(request, visitor, "instrument.html", declaration=declaration, product=found, **(usual | values))
