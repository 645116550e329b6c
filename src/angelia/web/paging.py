"""Lists that go on: where the next page is, as a link in the head of the answer (RFC 8288), beside the cursor in its body; and what may be asked."""

import inspect
import json
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from angelia.model.errors import InvalidInput

Item = TypeVar("Item")
_NEXT = b'"next":'
_LONGEST = 2_000  # bytes of a cursor; it is the last that an answer says
_CURSORS = frozenset({"before", "after"})


class PagedRoute(APIRoute):
    """A route whose answer may end in `"next": <cursor>`. The cursor goes into the query as `after` or `before`, whichever the route has."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As the framework's; then with the link."""
        handle = super().get_route_handler()
        cursors = _CURSORS & inspect.signature(self.endpoint).parameters.keys()

        async def answered(request: Request) -> Response:
            answer = await handle(request)
            body = getattr(answer, "body", b"")  # a file has none, and no page behind it
            following = next_of(bytes(body)) if request.method == "GET" and answer.status_code == 200 else None
            if following is not None:
                query = {name: text for name, text in request.query_params.items() if name not in _CURSORS}
                query[_cursor(cursors, query)] = str(following)
                answer.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
            return answer

        return answered


async def only_known(request: Request) -> None:
    """InvalidInput where the query holds a name that the route does not know: a filter that is misspelt must not mean all."""
    known = sorted(_names(request.scope["route"].dependant))
    for name in request.query_params:
        if name not in known:
            raise InvalidInput(f"there is no such name in this query, only {', '.join(known)}", name[:255])


def _names(dependant: Dependant) -> set[str]:
    """Of the query, by the route itself and by all that it depends on."""
    return {parameter.alias for parameter in dependant.query_params}.union(*map(_names, dependant.dependencies))


def page_of(found: Sequence[Item], limit: int, cursor: Callable[[Item], str | int]) -> tuple[list[Item], str | int | None]:
    """The first `limit` of what was found, and the cursor of the page after them; one more than `limit` was asked for, so as to know of it."""
    shown = list(found[:limit])
    return shown, cursor(shown[-1]) if len(found) > limit else None


def _cursor(cursors: frozenset[str], query: dict[str, str]) -> str:
    """A list that runs in both directions has both: on from the newest it goes to what was before."""
    if len(cursors) == 1:
        return next(iter(cursors))
    return "before" if query.get("sort", "-").startswith("-") else "after"


def next_of(body: bytes) -> str | int | None:
    """The cursor at the end of an object in JSON. Looked for from the end, where it stands by itself: to read all of a list again takes as long as
    to write it.
    """
    place = body.rfind(_NEXT, max(0, len(body) - _LONGEST))
    if place < 0:
        return None
    try:
        found = json.loads(body[place + len(_NEXT) : -1])
    except ValueError:  # something deeper in the answer is called so, and is not its last
        return None
    return found if isinstance(found, str | int) else None
