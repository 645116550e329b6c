"""A sample site to play with: people, defaults, a source with history."""

import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from angelia.flow.first_site import FIRST
from angelia.front import app_of
from angelia.house import House
from angelia.instruments.samples import sample_tables
from angelia.sample.history import LASTS, Played, play
from angelia.settings import Settings
from angelia.wire.site_tokens import SiteTokens

SITE: dict[str, Any] = {
    "preferences": {
        "*": {"web": "now", "feed": "now", "mail": "now"},
        "obs.build": {"mail": "hourly"},
        "obs.build.success": {"web": "off", "feed": "off", "mail": "off"},
        "obs.request": {"mail": "now"},
    },
    "audience": {"obs.build.fail": ["maintainer"], "obs.request": ["reviewer", "creator"]},
    "locks": {"account.security": ["web", "mail"]},
    "schedules": FIRST["schedules"],
    "presets": {
        "my-failed-builds": {
            "title": "My failed builds",
            "explanation": "Builds that fail in packages that you maintain, at once by mail.",
            "group": "Builds",
            "rule": {"type": "obs.build.fail", "role": "maintainer", "do": {"mail": "now"}},
        }
    },
}
PEOPLE = (
    {"login": "alice", "name": "Alice", "time_zone": "Europe/Berlin", "language": "en"},
    {"login": "bob", "name": "Bob", "time_zone": "America/New_York", "language": "de"},
    {"login": "carol", "name": "Carol", "time_zone": "Asia/Kolkata", "language": "en"},
    {"login": "root", "name": "Administrator", "time_zone": "UTC", "language": "en", "is_admin": True},
)
SOURCES = {"build service": "The build service", "yumo": "The instrument YuMO", "data portal": "The data portal"}
PASSWORD = "sample-{}"  # noqa: S105 - to play with, on this machine
"""What signs a person of the sample site in; the site listens on this machine only."""
KEPT = "analyses.secret"
"""What shows that a folder is the sample's."""
TOKEN_LASTS = timedelta(days=30)
"""How long a token for the sample's instruments is good, from each start on."""


def with_analyses(settings: Settings) -> Settings:
    """The sample's instruments, and a secret with which tokens for them are signed; alice's token is in the data folder."""
    instruments = {**sample_tables(), **settings.instruments}
    secret = settings.oda.secret or _kept_secret(settings.data_dir / KEPT)
    claims = {"sub": "alice", "name": "Alice", "roles": "general, job manager, refresh-tokens", "tem": 0}
    ends_at = int(time.time() + TOKEN_LASTS.total_seconds())
    _note(settings.data_dir, "alice.jwt", SiteTokens(secret).sign({**claims, "exp": ends_at}))
    return replace(settings, instruments=instruments, oda=replace(settings.oda, secret=secret))


def _kept_secret(path: Path) -> str:
    """The one of the first start: tokens stay good."""
    if not path.exists():
        _note(path.parent, path.name, secrets.token_hex(32))
    return path.read_text("utf-8").strip()


async def fill(settings: Settings) -> None:
    """Make the sample site, if nobody is there yet: as if it had begun two weeks ago."""
    time_of_play = Played(datetime.now(UTC) - LASTS)
    async with House.open(settings, time_of_play.clock) as house:
        if await house.store.list_people(limit=1):
            return
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
            await _people(client)
            tokens = {source: await _source(client, source, title) for source, title in SOURCES.items()}
            _note(settings.data_dir, "build-service.token", tokens["build service"])
            for login in ("alice", "bob", "root"):
                scopes = ["read", "write", "admin"] if login == "root" else ["read", "write"]
                made = await _call(client, "POST", f"/api/v1/people/{login}/tokens", {"title": "sample", "scopes": scopes})
                _note(settings.data_dir, f"{login}.token", made["secret"])
            for person in PEOPLE:
                await _call(client, "PUT", f"/api/v1/people/{person['login']}/password", {"password": PASSWORD.format(person["login"])})
            feed = await _call(client, "POST", "/api/v1/people/alice/feeds", {"title": "Everything for Alice"})
            _note(settings.data_dir, "alice.feed", feed["atom"])
            await play(house, time_of_play, tokens)
            backup = {"title": "Backup of the archive", "every": "24h", "grace": "2h"}
            expected = await _call(client, "POST", "/api/v1/people/alice/expectations", backup)
            _note(settings.data_dir, "alice.ping", expected["ping"])


async def _call(client: httpx2.AsyncClient, method: str, path: str, body: Any) -> Any:
    answer = await client.request(method, path, json=body)
    answer.raise_for_status()
    return answer.json() if answer.content else None


async def _people(client: httpx2.AsyncClient) -> None:
    await _call(client, "PUT", "/api/v1/site", SITE)
    for person in PEOPLE:
        await _call(client, "POST", "/api/v1/people", person)
        login = person["login"]
        address = {"agent": "mail", "value": f"{login}@example.org", "is_default": True, "is_verified": True}
        await _call(client, "POST", f"/api/v1/people/{login}/addresses", address)
    await _call(client, "PUT", "/api/v1/groups/qa", {"title": "Quality", "members": ["bob", "carol"]})
    roles = {"roles": {"maintainer": ["alice"], "reviewer": ["group:qa"]}}
    await _call(client, "PUT", "/api/v1/relations?object=KDE/okular", roles)
    await _call(client, "PUT", "/api/v1/relations?object=KDE/kate", {"roles": {"maintainer": ["alice", "carol"]}})
    await _call(client, "PUT", "/api/v1/people/bob/preferences", {"preferences": {"*": {"mail": "daily"}}, "follows": ["KDE/okular"]})
    quiet = {"quiet": ["22:00", "07:00"], "mutes": {"request/7": "normal"}}
    await _call(client, "PUT", "/api/v1/people/carol/preferences", quiet)
    await _call(client, "PUT", "/api/v1/types/obs.build.fail", {"labels": {"en": "A build failed"}, "aliases": ["OBS_BUILD_FAIL"]})


async def _source(client: httpx2.AsyncClient, name: str, title: str) -> str:
    await _call(client, "PUT", f"/api/v1/sources/{name}", {"title": title})
    made = await _call(client, "POST", f"/api/v1/sources/{name}/tokens", {"title": "sample"})
    return str(made["secret"])


def _note(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.touch(mode=0o600)
    path.write_text(f"{text}\n", encoding="utf-8")


def hello(house: House) -> str:
    """What to try, for somebody who has just started the sample site."""
    base, folder = house.settings.house.base_url, house.settings.data_dir
    moment = datetime.now(UTC).strftime("%H:%M:%S")
    return f"""
Angelia runs at {base}  ({moment} UTC). Everything is below {folder}/.

  Open {base} and sign in as alice with sample-alice, or as the administrator root with sample-root.

Try:

  # a message in one line, with the token of the sample's build service
  curl -H "Authorization: Bearer $(cat {folder}/build-service.token)" -d "it works" "{base}/api/v1/publish/test.hello?to=alice"

  # alice's inbox, her mail, her feed
  curl -s -H "Authorization: Bearer $(cat {folder}/alice.token)" {base}/api/v1/people/me/inbox
  ls {folder}/mail/alice@example.org/new/
  curl -s $(cat {folder}/alice.feed)

  # why did bob get it, or not?   (bob takes his mail as a daily digest)
  .venv/bin/angelia --data-dir {folder} messages
  .venv/bin/angelia --data-dir {folder} explain <id> bob

  # a light curve, computed: with alice's token for the instruments, as clients of PyPI (oda-api) and this line use it
  curl -s -G {base}/dispatch-data/run_analysis --data-urlencode "token=$(cat {folder}/alice.jwt)" -d instrument=periodogram \\
       -d product_type=light_curve -d query_type=Real -d query_status=new -d run_asynch=False

  # alice expects a backup each day: say that it began, and how it ended (7 is an exit code)
  curl $(cat {folder}/alice.ping)/start; curl -d "no space left" $(cat {folder}/alice.ping)/7

  # an event: open {base}/live as root, choose "events", and see it come
  .venv/bin/angelia --data-dir {folder} event events job.1.done '{{"status": "finished"}}'

Stop with Ctrl-C.
"""
