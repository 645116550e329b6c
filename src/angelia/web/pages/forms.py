"""What was typed into a page as a form of the API, and what the API said of it."""

from typing import Any, TypeVar

from pydantic import ValidationError

from angelia.model.errors import AngeliaError, InvalidInput
from angelia.web.forms import Strict
from angelia.wire.problems import status_of

Form = TypeVar("Form", bound=Strict)


def made(form: type[Form], **values: object) -> Form:
    """The form, or InvalidInput that names the field; what was typed is not repeated."""
    try:
        return form(**values)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        raise InvalidInput(str(first["msg"]), field) from None


def told(error: AngeliaError) -> dict[str, Any]:
    """For a page that shows its form again: status, text, and the field that is meant."""
    return {"status": status_of(error), "problem": {"text": str(error), "field": getattr(error, "field", "")}}
