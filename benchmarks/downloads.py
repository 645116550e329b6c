"""How fast does a large product come down, and how much memory does that take? A whole `serve` process beside nginx with the same file.

python benchmarks/downloads.py [--megabytes 100] [--rounds 7]
"""

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx2

from angelia.sandbox.processes import children_of, processor_seconds
from angelia_testing.hub import Hub
from angelia_testing.peers.process import Server, free_port

FUNCTION = '''
"""A job that leaves one large file."""


def run(values, out):
    with open("large.bin", "wb") as file:
        for _ in range(int(values["megabytes"])):
            file.write(bytes(range(256)) * 4096)
    out.file("large", "large.bin")
'''
DECLARATION = """
name = "large"
adapter = "function"
parameters = [{name = "megabytes", kind = "integer"}]
products = [{name = "large"}]
settings = {target = "large_product:run"}
"""
NGINX = """
daemon off; pid %(folder)s/nginx.pid; error_log %(folder)s/error.log; worker_processes 1; user root;
events { worker_connections 64; }
http {
    access_log off; sendfile on; tcp_nopush on;
    client_body_temp_path %(folder)s; proxy_temp_path %(folder)s; fastcgi_temp_path %(folder)s; uwsgi_temp_path %(folder)s; scgi_temp_path %(folder)s;
    server { listen 127.0.0.1:%(port)d; location / { root %(root)s; } }
}
"""
PIECE = bytearray(1 << 20)


def spent(pids):
    """Seconds of processor time of these processes so far."""
    return sum(map(processor_seconds, pids))


def fetch(port, path, token=""):
    """Seconds until all bytes of the body are there, and how many they are."""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n" + (f"Authorization: Bearer {token}\r\n" if token else "") + "Connection: close\r\n\r\n"
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), 60) as peer:
        peer.sendall(head.encode())
        size, said = 0, b""
        while count := peer.recv_into(PIECE):
            if b"\r\n\r\n" not in said:
                said += bytes(PIECE[:count])
                count = len(said.partition(b"\r\n\r\n")[2]) if b"\r\n\r\n" in said else 0
            size += count
    assert said.startswith(b"HTTP/1.1 200"), said[:200]
    return time.perf_counter() - began, size


class Watch(threading.Thread):
    """The most memory of a process meanwhile."""

    def __init__(self, hub):
        super().__init__(daemon=True)
        self.hub, self.most, self.is_over = hub, 0.0, False
        self.start()

    def run(self):
        while not self.is_over:
            self.most = max(self.most, self.hub.megabytes())
            time.sleep(0.005)


def made(hub, token, megabytes):
    """The path of a product of so many megabytes, and its file."""
    with httpx2.Client(base_url=hub.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as api:
        answer = api.post("/api/v1/jobs", json={"instrument": "large", "product": "large", "parameters": {"megabytes": megabytes}})
        assert answer.status_code == 202, answer.text
        job_id, until = answer.json()["id"], time.monotonic() + 60
        while (state := api.get(f"/api/v1/jobs/{job_id}").json()["state"]) != "done":
            assert time.monotonic() < until, state
            time.sleep(0.05)
        (product,) = api.get(f"/api/v1/jobs/{job_id}/products").json()["items"]
    (path,) = hub.folder.rglob("large.bin")
    return product["url"], path


def measure(hub, token, url, file, nginx_port, nginx_pid, rounds):
    fetch(hub.port, url, token), fetch(nginx_port, f"/{file.name}")
    rest = hub.megabytes()
    kinds = {
        "nginx": (lambda: fetch(nginx_port, f"/{file.name}"), lambda: [nginx_pid, *children_of(nginx_pid)]),
        "the hub": (lambda: fetch(hub.port, url, token), lambda: [hub.server.process.pid]),
    }
    times = {name: [] for name in kinds}
    processor = {name: [] for name in kinds}
    watch = Watch(hub)
    for _ in range(rounds):
        for name, (ask, pids) in kinds.items():
            before = spent(pids())
            seconds, size = ask()
            assert size == file.stat().st_size
            times[name].append(size / 1e6 / seconds)
            processor[name].append((spent(pids()) - before) * 1e3)
    watch.is_over = True
    print(f"{file.stat().st_size / 1e6:.0f} MB, {rounds} rounds in turn\n\n| who | MB/s, median (most) | processor ms, mean |\n|---|---|---|")
    for name in kinds:
        print(f"| {name} | {statistics.median(times[name]):.0f} ({max(times[name]):.0f}) | {statistics.mean(processor[name]):.0f} |")
    ratios = [ours / theirs for ours, theirs in zip(times["the hub"], times["nginx"], strict=True)]
    print(f"\nratio, median of the rounds: {statistics.median(ratios):.2f} (aim: 0.7)")
    print(f"memory: {rest:.0f} MB before, at most {watch.most:.0f} MB: +{watch.most - rest:.0f} MB (aim: +50)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "large_product.py").write_text(FUNCTION)
        (folder / "large.toml").write_text(DECLARATION)
        path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
        hub = Hub(folder / "data", ANGELIA__INSTRUMENTS__LARGE__DECLARATION=str(folder / "large.toml"), PYTHONPATH=path)
        nginx = None
        try:
            hub.cli("people", "add", "alice")
            token = json.loads(hub.cli("--json", "token", "add", "alice", "--scope", "write"))["secret"]
            url, file = made(hub, token, asked.megabytes)
            port = free_port()
            (folder / "nginx.conf").write_text(NGINX % {"folder": folder, "port": port, "root": file.parent})
            nginx = Server("nginx", ["nginx", "-c", str(folder / "nginx.conf")], [port], folder)
            measure(hub, token, url, file, port, nginx.process.pid, asked.rounds)
        except FileNotFoundError as error:
            print(f"nginx is not installed: {error}")
        finally:
            if nginx is not None:
                nginx.stop()
            hub.stop()


if __name__ == "__main__":
    sys.exit(main())
