"""Browsers without JavaScript: what pages are for people, over the app in process."""

import re
from itertools import count
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from angelia.front import app_of

FROM_OWN_PAGE = {"Sec-Fetch-Site": "same-origin", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}
WORDS = "correct horse battery"
_PLACES = count(1)  # each browser in a place of its own: tries to sign in are counted by place


class Browser:
    """One person's browser."""

    def __init__(self, api):
        self.api = api

    async def sign_in(self, login, password=WORDS):
        answer = await self.api.post("/sign-in", data={"login": login, "password": password})
        assert answer.status_code == 303, answer.text

    async def get(self, path, status=200):
        answer = await self.api.get(path)
        assert answer.status_code == status, answer.text
        return answer.text

    async def post(self, path, status=303, **fields):
        answer = await self.api.post(path, data=fields)
        assert answer.status_code == status, answer.text
        return answer.headers["location"] if status == 303 else answer.text


@pytest.fixture
async def browsers(bench, house):
    """Makes a signed-in browser of a login, or, of "", one of nobody."""
    made, people = [], set()
    house.agents["mail"] = bench.mail

    async def make(login):
        if login and login not in people:
            people.add(login)
            await bench.person(login, mail=False, is_admin=login == "root")
            await bench.call("PUT", f"/api/v1/people/{login}/password", {"password": WORDS}, 204)
        number = next(_PLACES)
        transport = httpx2.ASGITransport(app, client=(f"10.0.{number // 250}.{number % 250}", 1024))
        api = httpx2.AsyncClient(transport=transport, base_url="http://hub", headers=FROM_OWN_PAGE)
        made.append(api)
        browser = Browser(api)
        if login:
            await browser.sign_in(login)
        return browser

    app = app_of(house)
    yield make
    for api in made:
        await api.aclose()


@pytest.fixture
async def alice(browsers):
    return await browsers("alice")


async def add_address(browser, value="alice@example.org"):
    place = await browser.post("/addresses", agent="mail", value=f" {value} ")
    assert place.startswith("/addresses?done=added&at=")
    return int(parse_qs(urlsplit(place).query)["at"][0])


def code_of(bench):
    return re.search(r"is (\d{6})\.", bench.mail.letters[-1].message.body)[1]


def link_of(bench):
    link = urlsplit(re.search(r"http\S+", bench.mail.letters[-1].message.body)[0])
    return f"{link.path}?{link.query}"
