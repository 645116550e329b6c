"""Sending from scripts: what can't be sent now waits in a folder, and is sent once."""

import asyncio
import json
import os
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import angelia
from angelia.client import AsyncClient, Client, NotAllowed, Receipt, Refused, Spool, receipt_of
from angelia.stores.sql import upgrade
from angelia_testing import warm
from angelia_testing.hub import Hub
from angelia_testing.peers.process import ENVIRONMENT, free_port


def cli(folder: Path, *arguments: str, code: int = 0) -> str:
    done = warm.run(["--data-dir", str(folder), *arguments], ENVIRONMENT)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout + done.stderr


def subjects(folder: Path) -> list[str]:
    return [message["subject"] for message in reversed(listed(folder))]


def listed(folder: Path) -> list[dict[str, str]]:
    """Newest first."""
    return json.loads(cli(folder, "--json", "messages", "--limit", "1000"))["items"]


@pytest.fixture
def hub(tmp_path):
    made = Hub(tmp_path / "hub")
    yield made
    made.stop()


PATIENCE = 30.0  # seconds, on both sides of it: a hub that answers late on a busy machine is not cut


class Cutter:
    """Between client and hub: lets every request through, and cuts the connection in place of the first answers."""

    def __init__(self, port: int, cuts: int) -> None:
        self._target, self.cuts = port, cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self._target), PATIENCE) as hub:
                client.settimeout(PATIENCE)
                hub.settimeout(PATIENCE)
                try:
                    hub.sendall(self._message(client))
                    answer = self._message(hub)  # head and body may come one after the other
                    if self.cuts > 0:
                        self.cuts -= 1
                        continue
                    client.sendall(answer)
                except OSError:
                    continue

    def _message(self, client: socket.socket) -> bytes:
        data = self._more(client)
        while b"\r\n\r\n" not in data:
            data += self._more(client)
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        while len(body) < length:
            body += self._more(client)
        return head + b"\r\n\r\n" + body

    def _more(self, client: socket.socket) -> bytes:
        if not (data := client.recv(65_536)):
            raise ConnectionError("it is gone")
        return data

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


def waiting(spool: Path) -> list[str]:
    return [json.loads(path.read_text())["subject"] for path in sorted(spool.glob("*.json"))]


def test_a_lost_answer_makes_no_second_message(hub, tmp_path):
    spool, cutter = tmp_path / "spool", Cutter(hub.port, cuts=4)  # each is asked for twice
    try:
        with Client(cutter.url, spool=spool, timeout=PATIENCE) as client:
            assert client.send(type="a.b", subject="one").status == "spooled"
            assert subjects(hub.folder) == ["one"]  # it had come through
            assert client.send(type="a.b", subject="two").status == "spooled"
            assert waiting(spool) == ["one", "two"]
            assert client.send(type="a.b", subject="three").status == "accepted"
    finally:
        cutter.stop()
    assert subjects(hub.folder) == ["one", "two", "three"]
    assert waiting(spool) == []


async def test_a_connection_that_ends_is_no_hub_that_is_away(hub):
    cutter = Cutter(hub.port, cuts=1)
    try:
        with Client(cutter.url, timeout=PATIENCE) as client:
            assert await asyncio.to_thread(client.send, type="a.b", subject="one") == Receipt(
                "repeat", (await asyncio.to_thread(listed, hub.folder))[0]["id"]
            )
            cutter.cuts = 1
        async with AsyncClient(cutter.url, timeout=PATIENCE) as client:
            assert (await client.send(type="a.b", subject="two")).status == "repeat"
    finally:
        await asyncio.to_thread(cutter.stop)
    assert await asyncio.to_thread(subjects, hub.folder) == ["one", "two"]


async def test_the_async_client_spools_too_and_sends_once(hub, tmp_path):
    spool, cutter = tmp_path / "spool", Cutter(hub.port, cuts=2)
    async with AsyncClient(cutter.url, spool=spool, timeout=PATIENCE) as client:
        assert (await client.send(type="a.b", subject="one")).status == "spooled"
        receipts = await asyncio.gather(*(client.send(type="a.b", subject=f"more {n}") for n in range(10)))
        await client.flush()
        assert {receipt.status for receipt in receipts} <= {"accepted", "spooled"}
        with pytest.raises(Refused):
            await client.send(type="not a type")
    await asyncio.to_thread(cutter.stop)
    found = await asyncio.to_thread(subjects, hub.folder)
    assert sorted(found) == sorted(["one", *(f"more {n}" for n in range(10))])
    assert found[0] == "one"
    assert waiting(spool) == []


async def test_the_async_clients_loop_is_not_held_up_by_files(tmp_path, monkeypatch):
    spool = tmp_path / "spool"
    real = os.fsync

    def slow(number):
        time.sleep(0.3)
        real(number)

    monkeypatch.setattr("os.fsync", slow)
    longest = 0.0

    async def watch():
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    async with AsyncClient(f"http://127.0.0.1:{free_port()}", spool=spool) as client:
        assert (await client.send(type="a.b", subject="kept")).status == "spooled"
    watching.cancel()
    assert longest < 0.25
    assert waiting(spool) == ["kept"]


async def test_without_a_spool_the_caller_hears_of_it():
    async with AsyncClient(f"http://127.0.0.1:{free_port()}") as client:
        with pytest.raises(OSError, match="does not answer"):
            await client.send(type="a.b")


def test_a_folder_that_two_share_sends_everything_once(hub, tmp_path):
    spool = tmp_path / "spool"
    with Client(f"http://127.0.0.1:{free_port()}", spool=spool) as client:
        for number in range(30):
            client.send(type="a.b", subject=str(number))
    failures = []

    def flush():
        try:
            with Client(hub.url, spool=spool) as client:
                client.flush()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=flush) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(subjects(hub.folder), key=int) == [str(number) for number in range(30)]
    assert waiting(spool) == []


def test_the_command_spools_against_a_locked_database_and_a_hub_that_is_away(tmp_path):
    folder, spool = tmp_path / "hub", tmp_path / "spool"
    path = folder / "angelia.db"
    send = ("send", "a.b", "text", "--spool", str(spool), "--subject")
    assert "spooled" in cli(folder, *send, "before there is a database")
    upgrade(f"sqlite:///{path}")
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    assert "spooled" in cli(folder, *send, "locked")
    assert "would wait there" in cli(folder, "send", "a.b", "text", code=1)
    lock.execute("ROLLBACK")
    lock.close()
    assert "spooled" in cli(folder, "--url", f"http://127.0.0.1:{free_port()}", *send, "away")
    assert "accepted" in cli(folder, *send, "now")
    assert subjects(folder) == ["before there is a database", "locked", "away", "now"]
    assert waiting(spool) == []
    cli(folder, "send", "not a type", "text", "--spool", str(spool), code=3)
    assert waiting(spool) == []


def test_the_command_flushes_into_the_store_of_the_data_folder(tmp_path):
    folder, spool = tmp_path / "hub", tmp_path / "spool"
    upgrade(f"sqlite:///{folder / 'angelia.db'}")
    receipt = angelia.send("x", type="a.b", subject="s", url=f"http://127.0.0.1:{free_port()}", spool=str(spool))
    assert receipt.status == "spooled"
    assert "sent: 1" in cli(folder, "spool", "flush", str(spool))
    assert subjects(folder) == ["s"]


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, "<html>sign in</html>"),
        (200, '{"items": []}'),
        (201, "null"),
        (301, ""),
        (302, "<html>moved</html>"),
        (400, "<html>plain HTTP request was sent to HTTPS port</html>"),
        (404, '{"detail": "Not Found"}'),
        (405, "<html>not allowed</html>"),
        (410, "[]"),
    ],
)
def test_a_page_that_is_not_the_hub_is_taken_for_later(status, text):
    with pytest.raises(OSError, match=r"not the hub|the hub answered 40[45]"):
        receipt_of(status, text)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (422, '{"detail": "must be dotted", "errors": [{"field": "type"}]}', Refused),
        (409, '{"detail": "the key came with another message"}', Refused),
        (413, "<html>too large</html>", Refused),
        (401, "<html>who are you?</html>", NotAllowed),
        (403, '{"detail": "this source may post a, not b"}', NotAllowed),
    ],
)
def test_what_is_refused_for_good_is_told(status, text, kind):
    with pytest.raises(Refused) as told:
        receipt_of(status, text)
    assert type(told.value) is kind


def test_a_system_that_opens_no_folders_spools_once_each(tmp_path, monkeypatch):
    """Windows says no to whoever opens a folder. The message is there by then: who took that for a failure would put it there again and again."""
    opening = os.open

    def as_on_windows(path, *arguments, **named):
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return opening(path, *arguments, **named)

    monkeypatch.setattr(os, "open", as_on_windows)
    with Client(f"http://127.0.0.1:{free_port()}", spool=tmp_path / "spool") as client:
        assert client.send(type="a.b", subject="kept") == Receipt("spooled")
    assert waiting(tmp_path / "spool") == ["kept"] and len(Spool(tmp_path / "spool").waiting()) == 1
