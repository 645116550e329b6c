"""A real OpenID provider: npm's oidc-provider on loopback, and a person who goes through its pages."""

import os
import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import httpx2

from angelia_testing.peers.http import ScriptedHttp
from angelia_testing.peers.process import Server, free_port, missing, scratch

SECRET = "a secret: of the hub/+"
_FOLDER = Path(__file__).parents[3] / "tests" / "browser"


class OpenidProvider:
    """Runs until `stop`. People are alice (verified address, group ops), bob, and carol, who claims to be alice. `told` keeps its logout notices,
    unless it tells the hub itself (`tells_hub`).
    """

    def __init__(self, base_url: str, name: str, *, tells_hub: bool = False) -> None:
        node = shutil.which("node")
        if node is None or not (_FOLDER / "node_modules" / "oidc-provider").exists():
            missing("oidc-provider (npm ci in tests/browser)")
        assert node is not None
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.told = ScriptedHttp()
        self._folder = scratch("provider")
        self._argv = [node, str(_FOLDER / "oidc.mjs")]
        self._env = {
            "PATH": os.environ["PATH"],
            "ISSUER": self.issuer,
            "CALLBACK": f"{base_url}/sign-in/{name}/callback",
            "LOGOUT": f"{base_url}/sign-in/{name}/logout" if tells_hub else f"{self.told.url}/told",
            "LEFT": f"{base_url}/sign-in",
        }
        self._server: Server | None = None
        self.start()

    def start(self) -> None:
        """Run it; what it knew is gone, its keys are the same."""
        self._server = Server("oidc", self._argv, [self.port], self._folder, self._env)

    def stop(self) -> None:
        """Its port refuses from now on."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def close(self) -> None:
        """For good."""
        self.stop()
        self.told.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


async def through_pages(browser: httpx2.AsyncClient, place: str, login: str, until: str) -> str:
    """Go on from page to page as `login`, following redirects and sending forms, up to an address that begins with `until`."""
    answer = await browser.get(place)
    for _ in range(20):
        if answer.is_redirect:
            place = urljoin(place, answer.headers["location"])
            if place.startswith(until):
                return place
            answer = await browser.get(place)
            continue
        form = re.search(r"<form[^>]*action=\"([^\"]+)\"", answer.text)
        if form is None:
            raise AssertionError(f"a page without a form at {place}: {answer.status_code} {answer.text[:300]}")
        fields = dict(re.findall(r"name=\"([^\"]+)\"[^>]*value=\"([^\"]*)\"", answer.text))
        if 'name="login"' in answer.text:
            fields |= {"login": login, "password": "any"}
        place = urljoin(place, unescape(form.group(1)))
        answer = await browser.post(place, data=fields)
    raise AssertionError(f"no end at {place}")
