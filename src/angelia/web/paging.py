"""Lists that go on: where the next page is, as a link in the head of the answer (RFC 8288), beside the cursor in its body."""

import inspect
import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute

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
