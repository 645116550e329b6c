"""The page of the API: it says what the document says, to everybody, and its examples are requests that the API understands."""

import html
import re
import shlex
from urllib.parse import quote

import pytest

from angelia.web.reference import METHODS, reference_of


@pytest.fixture
async def api(bench):
    return reference_of(await bench.call("GET", "/api/v1/openapi.json", status=200), bench.house.settings.house.base_url)


async def test_every_operation_stands_there_with_all_that_it_takes(bench, api, outside):
    document = await bench.call("GET", "/api/v1/openapi.json")
    index = html.unescape((await outside.get("/reference")).text)
    said = [one for operations in api.rooms.values() for one in operations]
    assert len(said) == sum(method in METHODS for operations in document["paths"].values() for method in operations) > 130
    assert len({(one.room, one.anchor) for one in said}) == len(said)
    for room, operations in api.rooms.items():
        page = await outside.get(f"/reference/{quote(room)}")
        assert page.status_code == 200 and "script-src 'self'" in page.headers["content-security-policy"]
        assert "<script>" not in page.text and " style=" not in page.text and "onclick" not in page.text
        text = html.unescape(page.text)
        for one in operations:
            assert f"{one.method} {one.path}" in index and f'id="{one.anchor}"' in text and one.curl in text
            for method_said in document["paths"][one.path][one.method.lower()].get("parameters", ()):
                assert f"<code>{method_said['name']}</code>" in text, one.path
            assert one.text and one.answers
    for kind in ("urn:angelia:rate-limited", "urn:angelia:invalid-input"):
        assert kind in index


async def test_words_of_code_are_set_as_such(outside):
    page = (await outside.get("/reference/expectations")).text
    assert "<code>ping</code> is its address, shown this once" in page and "`" not in page


async def test_who_is_not_there(outside):
    assert (await outside.get("/reference/nothing", headers={"Accept": "text/html"})).status_code == 404


OF_ITS_OWN = ("/unsubscribe/", "/callback")
"""These want a signature or a secret of their own."""
UNDERSTOOD = {200, 201, 204, 404, 409, 412, 422, 428}


async def test_each_example_is_a_request_that_the_api_understands(bench, api):
    """As the operator, with the words that stand for what only a reader knows; of most there is nothing of that name."""
    asked, faults = 0, []
    for operations in api.rooms.values():
        for one in operations:
            words, method, headers, body = shlex.split(one.curl), None, {}, None
            assert words.pop(0) == "curl"
            place = words.pop()
            while words:
                match words.pop(0):
                    case "-X":
                        method = words.pop(0)
                    case "--head":
                        method = "HEAD"
                    case "-H":
                        name, _, value = words.pop(0).partition(": ")
                        headers[name] = value
                    case "-d":
                        body = words.pop(0)
                    case other:
                        raise AssertionError(other)
            method = method or ("GET" if body is None else "POST")
            assert method == one.method, one.curl
            headers.pop("Authorization", None)
            place = place.removeprefix(bench.house.settings.house.base_url)
            if re.search("/stream|/live", place):
                continue
            answer = await bench.api.request(method, place, headers=headers, content=body)
            if answer.status_code not in UNDERSTOOD and not (answer.status_code == 403 and any(part in place for part in OF_ITS_OWN)):
                faults.append((one.curl, answer.status_code, answer.text))
            asked += 1
    assert faults == [] and asked > 130
