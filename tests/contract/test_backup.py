"""A backup taken under load: consistent, complete to its start, and a hub starts on it."""

import asyncio
import shutil
import subprocess
from datetime import timedelta

import pytest

from angelia.model.delivery import Reason, State
from angelia.planning.decision import Decision, Verdict
from angelia.store import LedgerRow, Plan, Settlement
from angelia.stores.sql import make_store
from angelia_testing.suites.store import NOW, delivery, row

LEASE = timedelta(seconds=60)


class Load:
    """Messages are taken in, planned and delivered, until told to stop; `accepted` are those whose writer was answered."""

    def __init__(self, store):
        self.store, self.accepted, self.is_over = store, [], False

    async def post(self, first):
        number = first
        while not self.is_over:
            await self.store.add_messages([row(number, f"key{number}", body="x" * 500)])
            self.accepted.append(number)
            number += 1

    async def plan(self):
        while not self.is_over:
            for item in await self.store.claim_messages(20, LEASE, NOW):
                number = item.message.message_id
                ledger = LedgerRow(number, 1, ("to",), (Decision("mail", Verdict.NOW, Reason.CHOSEN, "site:*"),), NOW)
                await self.store.record_plans([Plan(item.message, item.fence, [ledger], [delivery(number, number)])], [], [], NOW)
            await asyncio.sleep(0)

    async def send(self):
        while not self.is_over:
            sent = await self.store.claim_deliveries(["mail"], 10, LEASE, NOW)
            await self.store.settle([Settlement(one.delivery_id, one.fence, State.DELIVERED, Reason.CHOSEN) for one in sent], NOW)
            await asyncio.sleep(0)


def restored(store, path, postgresql):
    """The URL of a store made from the backup, as docs/how-to/run-for-real.md says."""
    if store.engine.dialect == "sqlite":
        return f"sqlite:///{path}"
    url = postgresql.database()
    subprocess.run([shutil.which("pg_restore"), "--exit-on-error", f"--dbname={url}", str(path)], check=True, capture_output=True)
    return url


async def test_a_backup_under_load_is_consistent(store, tmp_path, request):  # F58
    load = Load(store)
    running = [asyncio.create_task(one) for one in (*(load.post(first) for first in (1, 1_000_001, 2_000_001)), load.plan(), load.send())]
    while len(load.accepted) < 300:
        await asyncio.sleep(0.01)
    before = list(load.accepted)
    await store.backup(str(tmp_path / "copy"))
    after = len(load.accepted)
    load.is_over = True
    await asyncio.gather(*running)
    assert after > len(before), "nothing was written meanwhile"
    postgresql = request.getfixturevalue("postgresql") if store.engine.dialect == "postgresql" else None
    copy = make_store(await asyncio.to_thread(restored, store, tmp_path / "copy", postgresql))
    await copy.open()
    there = set(await copy.messages(load.accepted))
    assert set(before) <= there and len(there) <= len(load.accepted)
    assert await copy.check() == []
    assert sum((await copy.conservation()).values()) > 0
    again = await copy.add_messages([row(number + 5_000_000, f"key{number}", body="x" * 500) for number in sorted(there)[:50]])
    assert {receipt.message_id for receipt in again} == set(sorted(there)[:50])
    await copy.close()


async def test_a_backup_is_for_nobody_else(store, tmp_path):
    await store.backup(str(tmp_path / "copy"))
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600


async def test_a_backup_never_overwrites(store, tmp_path):
    path = tmp_path / "copy"
    path.write_text("precious")
    with pytest.raises(Exception, match="new file"):
        await store.backup(str(path))
    assert path.read_text() == "precious"
