"""A sample site to play with: people, defaults, a source with history."""

import asyncio
import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from angelia.front import app_of
from angelia.house import House
from angelia.instruments.samples import sample_tables
from angelia.settings import Settings
from angelia.store import Store
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
    "schedules": {
        "hourly": {"every": "hour"},
        "daily": {"every": "day", "at": ["08:00"]},
        "weekly": {"every": "week", "at": ["08:00"], "on": ["mon"]},
    },
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
PASSWORD = "sample-{}"  # noqa: S105 - to play with, on this machine
"""What signs a person of the sample site in; the site listens on this machine only."""
KEPT = "analyses.secret"
"""What shows that a folder is the sample's."""
TOKEN_LASTS = timedelta(days=30)
"""How long a token for the sample's instruments is good, from each start on."""
HISTORY: tuple[dict[str, Any], ...] = (
    {"type": "obs.build.fail", "object": "KDE/okular", "subject": "okular failed to build on x86_64", "severity": "high",
     "params": {"project": "KDE", "package": "okular", "arch": "x86_64"}, "collapse_key": "KDE/okular/x86_64",
     "body": "ld: cannot find -lpoppler-qt6\nSee https://build.example.org/KDE/okular"},
    {"type": "obs.build.fail", "object": "KDE/kate", "subject": "kate failed to build on s390x",
     "params": {"project": "KDE", "package": "kate", "arch": "s390x"}, "collapse_key": "KDE/kate/s390x"},
    {"type": "obs.build.success", "object": "KDE/kate", "subject": "kate builds again",
     "params": {"project": "KDE", "package": "kate", "arch": "s390x"}},
    {"type": "obs.request.review", "object": "request/1024", "subject": "Please review request 1024", "to": ["carol"], "actor": "bob",
     "thread": "request/1024", "body": "Update okular to 26.08"},
    {"type": "instrument.measurement.end", "object": "yumo/2211", "subject": "Measurement 2211 has ended", "to": ["alice", "bob"],
     "tags": [["instrument", "yumo"]], "body": "12 hours, 48 files."},
)  # fmt: skip


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
    """Make the sample site, if nobody is there yet."""
    async with House.open(settings) as house:
        if await house.store.list_people(limit=1):
            return
        transport = httpx2.ASGITransport(app_of(house, trusts_caller=True))
        async with httpx2.AsyncClient(transport=transport, base_url="http://hub") as client:
            await _people(client)
            secret = await _source(client)
            _note(settings.data_dir, "build-service.token", secret)
            for login in ("alice", "bob", "root"):
                scopes = ["read", "write", "admin"] if login == "root" else ["read", "write"]
                made = await _call(client, "POST", f"/api/v1/people/{login}/tokens", {"title": "sample", "scopes": scopes})
                _note(settings.data_dir, f"{login}.token", made["secret"])
            for person in PEOPLE:
                await _call(client, "PUT", f"/api/v1/people/{person['login']}/password", {"password": PASSWORD.format(person["login"])})
            feed = await _call(client, "POST", "/api/v1/people/alice/feeds", {"title": "Everything for Alice"})
            _note(settings.data_dir, "alice.feed", feed["atom"])
            await _history(secret, house)


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


async def _source(client: httpx2.AsyncClient) -> str:
    await _call(client, "PUT", "/api/v1/sources/build service", {"title": "The build service"})
    made = await _call(client, "POST", "/api/v1/sources/build service/tokens", {"title": "sample"})
    return str(made["secret"])


async def _history(secret: str, house: House) -> None:
    """History comes in as everything does, and is worked off before the hub opens."""
    transport = httpx2.ASGITransport(app_of(house))
    async with httpx2.AsyncClient(transport=transport, base_url="http://hub", headers={"Authorization": f"Bearer {secret}"}) as source:
        await _call(source, "POST", "/api/v1/messages", [dict(message) for message in HISTORY])
    working = asyncio.create_task(house.work())
    async with asyncio.timeout(20):
        while await _is_waiting(house.store):
            await asyncio.sleep(0.02)
    house.stop()
    await working


async def _is_waiting(store: Store) -> bool:
    planned = await store.list_messages(person_id=None, limit=len(HISTORY))
    rows = [await store.ledger_rows(message.message_id, limit=1) for message in planned if message.type != "obs.build.success"]
    return not all(rows) or any(item.due or item.sending for item in await store.backlog())


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

  # an event: open {base}/live as root, choose "events", and see it come
  .venv/bin/angelia --data-dir {folder} event events job.1.done '{{"status": "finished"}}'

Stop with Ctrl-C.
"""
