"""What a form of a page sent, made into the API's strict forms; errors come back as words beside the form."""

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData

from angelia.model.errors import AngeliaError, InvalidInput
from angelia.web.pages.kit import page
from angelia.web.signin.guard import Visitor
from angelia.wire.problems import problem_of

F = TypeVar("F", bound=BaseModel)
MOST_FIELDS = 20_000


async def _form(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=MOST_FIELDS, max_part_size=request.app.state.context.max_body)


Asked = Annotated[FormData, Depends(_form)]


def text(asked: FormData, name: str, default: str = "") -> str:
    """One field, without the spaces around it."""
    value = asked.get(name, default)
    return value.strip() if isinstance(value, str) else default


def texts(asked: FormData, name: str) -> list[str]:
    """All fields of one name, the empty ones left out."""
    return [value for value in asked.getlist(name) if isinstance(value, str) and value]


def words(value: str) -> list[str]:
    """What stands between commas, spaces and line ends; each once, in order."""
    return list(dict.fromkeys(value.replace(",", " ").split()))


def number(asked: FormData, name: str) -> int | None:
    """A whole number, None where the field is empty."""
    value = text(asked, name)
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise InvalidInput("this is no whole number", name)
    return int(value)


def rows(asked: FormData, prefix: str) -> Iterable[str]:
    """The numbers of the rows `<prefix>.<n>.<column>` that a form sent, in order."""
    found = {name.split(".")[1] for name in asked if name.startswith(f"{prefix}.") and name.count(".") >= 2}
    return sorted((one for one in found if one.isascii() and one.isdigit() and len(one) < 9), key=int)


def made(kind: type[F], **values: Any) -> F:
    """One of the API's forms; InvalidInput names the field, as the API does."""
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(str(first["msg"]), ".".join(str(part) for part in first["loc"])) from None


def done(place: str, said: str) -> Response:
    """Back to a page, which then says what was done."""
    return RedirectResponse(f"{place}{'&' if '?' in place else '?'}said={said}", 303)


def told(request: Request, visitor: Visitor, template: str, error: AngeliaError, **values: Any) -> Response:
    """The page again, as she filled it in, with what is wrong."""
    status, _, _ = problem_of(error)
    field = getattr(error, "field", "")
    return page(request, visitor, template, status, fault=f"{field}: {error}" if field else str(error), **values)
