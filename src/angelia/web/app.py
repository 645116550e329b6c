"""The API as one application: routes from their rooms, errors as problems, headers on every answer."""

import json
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware

import angelia
from angelia import telemetry
from angelia.model.errors import AngeliaError
from angelia.web import (
    accounts,
    addresses,
    audit,
    events,
    exchanges,
    expectations,
    experiments,
    export,
    feeds,
    identities,
    inbox,
    job_news,
    jobs,
    keys,
    messages,
    operations,
    people,
    pings,
    plots,
    probes,
    rules,
    sessions,
    site,
    statistics,
    templates,
    topics,
    unsubscribe,
    wants,
    wishes,
)
from angelia.web.context import Context
from angelia.web.failures import TOO_LONG, invalid_of, is_too_long, problem_answer, told_answer
from angelia.web.headers import HEADERS
from angelia.web.openapi import Api
from angelia.web.pages.errors import error_page, is_page, to_sign_in
from angelia.web.pages.rooms import ROOMS
from angelia.web.signin.guard import SignInNeeded
from angelia.wire.problems import TITLES, problem_of
from angelia.wire.redaction import without_secrets


def make_api(context: Context) -> FastAPI:
    """The application behind the hot inlets."""
    # No redirects for a slash too many: their Location would be made of the request's Host.
    app = Api(
        title="Angelia",
        version=angelia.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
    )
    app.state.context = context
    api = (
        messages,
        people,
        rules,
        wants,
        addresses,
        inbox,
        keys,
        site,
        operations,
        unsubscribe,
        probes,
        accounts,
        templates,
        audit,
        statistics,
        wishes,
        sessions,
        identities,
        export,
        experiments,
        topics,
        events,
        exchanges,
        expectations,
        pings,
        plots,
        jobs,
        job_news,
    )
    # Feeds come last: their route takes any name, also that of the page /feeds/new.
    for room in (*api, *ROOMS, feeds):
        app.take(room.router)
    app.add_exception_handler(SignInNeeded, to_sign_in)
    app.add_exception_handler(AngeliaError, _told)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)
    # Within ours: it answers in words of its own where a request says that it holds more.
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=context.max_body)
    app.middleware("http")(_with_headers)
    return app


async def _with_headers(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    fault = _odd_query(request.scope["query_string"])
    if is_too_long(request):
        answer = await error_page(request, 413, TOO_LONG) if is_page(request) else problem_answer(413, TOO_LONG)
    elif "\x00" in request.scope["path"]:
        answer = problem_answer(404, "there is nothing of that name")
    elif fault:
        answer = problem_answer(422, fault)
    else:
        answer = await proceed(request)
    return _dressed(request, answer)


def _dressed(request: Request, answer: Response) -> Response:
    """With the headers that every answer has."""
    for name, value in HEADERS.items():
        answer.headers.setdefault(name, value)
    if request.app.state.context.base_url.startswith("https://"):
        answer.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    if request.url.path.startswith("/api/"):
        answer.headers.setdefault("Cache-Control", "private, no-store")
    return answer


def _odd_query(query: bytes) -> str:
    """What no query of ours can hold: a name that stands twice, NUL (PostgreSQL takes it in no text)."""
    if b"%00" in query:
        return "a query must not hold the character NUL"
    names = [unquote(part.partition(b"=")[0]) for part in query.split(b"&")] if b"&" in query else []
    return "" if len(names) == len(set(names)) else "a name stands twice in the query; which one should count?"


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, AngeliaError)
    if is_page(request):
        status, body, headers = problem_of(error)
        answer = await error_page(request, status, json.loads(body)["detail"])
        answer.headers.update({name.decode(): value.decode() for name, value in headers if name == b"retry-after"})
        return answer
    return told_answer(error)


async def _invalid(request: Request, error: Exception) -> Response:
    """What the framework found wrong, in our form; never what was sent."""
    assert isinstance(error, RequestValidationError)
    status, detail, place = invalid_of(error)
    if is_page(request):
        return await error_page(request, status, f"{place}: {detail}" if place else detail)
    return problem_answer(status, detail, place)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = TITLES.get(error.status_code, str(error.detail))
    answer = await error_page(request, error.status_code, detail) if is_page(request) else problem_answer(error.status_code, detail)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


async def _unforeseen(request: Request, error: Exception) -> Response:
    telemetry.log.error("request_failed", path=without_secrets(request.url.path), kind=type(error).__name__, exc_info=error)
    # The framework answers this outside of all else.
    said = "an operator will find it in the log"
    return _dressed(request, await error_page(request, 500, said) if is_page(request) else problem_answer(500, said))
