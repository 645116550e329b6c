"""Start and rest: help, serving, memory and processor while nothing happens."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from angelia_testing.peers.process import Server, free_port


def main() -> None:
    began = time.perf_counter()
    for _ in range(5):
        subprocess.run([sys.executable, "-m", "angelia", "--help"], check=True, capture_output=True)
    helped = (time.perf_counter() - began) / 5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(2):
            port, began = free_port(), time.perf_counter()
            server = Server("angelia", [sys.executable, "-m", "angelia", "serve", "--data-dir", f"{name}/hub", "--port", str(port)], [port], folder)
            served = time.perf_counter() - began
            time.sleep(3)
            ticks = cpu(server.process.pid)
            time.sleep(10)
            share = (cpu(server.process.pid) - ticks) / os.sysconf("SC_CLK_TCK") / 10
            memory = next(line for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
            server.stop()
    print("| what | |\n|---|---|")
    print(f"| `angelia --help` | {helped:.3f} s |\n| serving after | {served:.2f} s |")
    print(f"| memory at rest | {int(memory.split()[1]) / 1024:.0f} MB |\n| processor at rest | {share:.1%} |")


def cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    main()
