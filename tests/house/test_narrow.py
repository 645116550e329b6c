"""The API for one call has the same routes at its path as the whole one."""

import inspect

import httpx2
import pytest

from angelia.front import Front
from angelia.web.app import make_api
from angelia.web.narrow import OF_PERSON, ROOMS, make_narrow, rooms_of

NAMES = {name for names in (*ROOMS.values(), *OF_PERSON.values()) for name in names}


@pytest.fixture
def asked():
    async def ask(app, method, path, body):
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://hub") as client:
            content = {"content": body, "headers": {"content-type": "application/json"}} if isinstance(body, bytes) else {"json": body}
            return await client.request(method, path, **(content if body is not None else {}))

    return ask


@pytest.fixture
def whole(house):
    context = Front(house, trusts_caller=True)._context
    return context, [route for route in make_api(context).routes if route.path.startswith("/api/v1/")]


def test_a_path_of_the_table_finds_the_route_that_the_whole_api_has(whole):
    """The first in the same order, for each route below its paths; so none of another room is left out."""
    context, routes = whole
    known = 0
    for route in routes:
        path = route.path.replace("{login}", "alice")
        if not (rooms := rooms_of(path)):
            continue
        known += 1
        found = next((own for own in make_narrow(context, rooms).routes if (own.path, own.methods) == (route.path, route.methods)), None)
        assert found is not None, route.path
        assert found.endpoint is route.endpoint
    assert known > 60


def test_rooms_come_in_the_order_of_the_whole_api():
    source = inspect.getsource(make_api)
    for names in (*ROOMS.values(), *OF_PERSON.values()):
        assert list(names) == sorted(names, key=lambda name: source.index(f"        {name},"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/v1/people/nobody/preferences", None, 404),
        ("POST", "/api/v1/people", {"login": 5}, 422),
        ("POST", "/api/v1/people", b"{", 400),
        pytest.param("POST", "/api/v1/people", bytes(17 << 20), 413, id="too long"),
        ("DELETE", "/api/v1/people", None, 405),
        ("GET", "/api/v1/people", None, 200),
        ("POST", "/api/v1/messages", {"type": "a.b", "idempotency_key": "1"}, 201),
        ("GET", "/api/v1/export", None, 404),
    ],
)
async def test_it_answers_as_the_whole_one(house, asked, method, path, body, status):
    front = Front(house, trusts_caller=True)
    whole, narrow = [await asked(app, method, path, body) for app in (front.app(), front.narrow(path))]
    assert whole.status_code == status
    assert narrow.status_code == (200 if status == 201 else status)  # the second of two messages with one key
    if status >= 400:
        assert narrow.json() == whole.json()
        assert narrow.headers["content-type"] == whole.headers["content-type"]
