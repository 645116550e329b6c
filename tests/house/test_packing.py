"""Fewer bytes: assets come packed to whoever takes that, and pages except those that another site asked for."""

import gzip

import pytest

from angelia.web.pages.kit import assets


@pytest.fixture
def style():
    return f"/static/{assets()['angelia.css']}"


@pytest.mark.parametrize("wish", ["gzip", "gzip, br", "br;q=1, GZIP;q=0.5", "*"])
async def test_an_asset_comes_packed(outside, style, wish):
    async with outside.stream("GET", style, headers={"Accept-Encoding": wish}) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    plain = (await outside.get(style, headers={"Accept-Encoding": "identity"})).content
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw) == plain
    assert len(raw) < len(plain) / 3


@pytest.mark.parametrize("wish", ["identity", "br", "gzip;q=0", "gzip; q=0.0", "gzipped", ""])
async def test_an_asset_comes_plain_to_others(outside, style, wish):
    answer = await outside.get(style, headers={"Accept-Encoding": wish})
    assert "content-encoding" not in answer.headers
    assert "--bs-body-color" in answer.text


async def test_what_is_packed_has_no_name_of_its_own(outside, style):
    assert (await outside.get(f"{style}.gz")).status_code == 404


@pytest.mark.parametrize(("site", "coding"), [("same-origin", "gzip"), ("none", "gzip"), ("cross-site", None), ("same-site", None), (None, None)])
async def test_a_page_that_another_site_asks_for_is_not_packed(outside, site, coding):
    headers = {"Accept-Encoding": "gzip"} | ({"Sec-Fetch-Site": site} if site else {})
    answer = await outside.get("/sign-in", headers=headers)
    assert answer.headers.get("content-encoding") == coding
    assert {"Accept-Encoding", "Sec-Fetch-Site"} <= set(answer.headers["vary"].split(", "))
    assert "password" in answer.text
