"""Every page of a hub: by the routes that there are, and by the links that lead there."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx2
from fastapi.routing import APIRoute
from starlette.routing import Match, Mount

from angelia.web.pages.rooms import ROOMS
from angelia_testing.peers.hub import SampleHub

_NOT_PAGES = ("/static/", "/api/", "/inbox/live")
MOST_OF_A_KIND = 4
MOST = 400


@lru_cache(maxsize=1)
def routes() -> list[APIRoute | Mount]:
    """The routes that somebody opens in a browser; pages that are mounted a second time elsewhere count there as one."""
    every = [route for room in ROOMS for route in room.router.routes]
    found = [route for route in every if isinstance(route, Mount) or (isinstance(route, APIRoute) and "GET" in (route.methods or ()))]
    return [route for route in found if not route.path.startswith(_NOT_PAGES)]


@lru_cache(maxsize=10_000)
def pattern_of(path: str) -> str | None:
    """The route that a path leads to, as it was written down, None for what is no page."""
    if path.startswith(_NOT_PAGES):
        return None
    for route in routes():
        if route.matches({"type": "http", "path": path, "method": "GET"})[0] is Match.FULL:
            return route.path
    return None


class _Links(HTMLParser):
    """Where links, parts and forms that only ask lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [given[name] or "" for name in ("href", "hx-get") if name in given and tag != "link"]
        if tag == "iframe":
            self.found.append(given.get("src") or "")
        if tag == "form" and (given.get("method") or "get").lower() == "get":
            self.found.append(given.get("action") or "")


@dataclass
class Tour:
    """What one person can reach: `pages` are paths with queries that gave HTML, by the pattern of their route; `others` gave something else."""

    pages: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)

    def paths(self) -> Iterator[str]:
        """All paths."""
        for found in self.pages.values():
            yield from found


def tour(hub: SampleHub, login: str | None, most_of_a_kind: int = MOST_OF_A_KIND) -> Tour:
    """Follow every link from every page that needs no parameter; of many pages of a kind only the first few."""
    made, seen = Tour(), set[str]()
    starts = [route.path for route in routes() if "{" not in route.path]
    queue = deque(sorted(starts))
    counts: dict[str, int] = {}
    cookies = dict([hub.cookie(login)]) if login else {}
    with httpx2.Client(base_url=hub.url, cookies=cookies, timeout=60) as client:
        while queue and len(seen) < MOST:
            place = queue.popleft()
            if place in seen:
                continue
            pattern = pattern_of(urlsplit(place).path)
            if pattern is None or counts.get(pattern, 0) >= most_of_a_kind:
                continue
            seen.add(place)
            counts[pattern] = counts.get(pattern, 0) + 1
            # Only what is a page is read to its end: a stream of news has none.
            with client.stream("GET", place) as answer:
                if answer.status_code != 200 or "text/html" not in answer.headers.get("content-type", ""):
                    made.others[place] = answer.status_code
                    continue
                text = answer.read().decode()
            made.pages.setdefault(pattern, []).append(place)
            links = _Links()
            links.feed(text)
            for link in links.found:
                whole = urlsplit(urldefrag(urljoin(hub.url + place, link)).url)
                if f"{whole.scheme}://{whole.netloc}" == hub.url:
                    queue.append(whole.path + (f"?{whole.query}" if whole.query else ""))
    return made
