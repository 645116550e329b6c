"""Prometheus Alertmanager, which posts to a hub as docs/how-to/webhooks.md sets it up."""

import re
import shutil
from pathlib import Path
from typing import Any

import httpx2

from angelia_testing.peers.process import Server, free_port, missing, scratch

PROGRAM = Path("/usr/bin/prometheus-alertmanager")
_AROUND = """route: { receiver: angelia, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1s }
%s
"""


class Alertmanager:
    """One that posts to `hook` with a token; `page` shows its set-up."""

    def __init__(self, page: Path, hook: str, token: str) -> None:
        if not PROGRAM.exists():
            missing("prometheus-alertmanager")
        self._folder, port = scratch("alertmanager"), free_port()
        self.url = f"http://127.0.0.1:{port}"
        found = re.search(r"```yaml\n(receivers:.*?)```", page.read_text(), re.DOTALL)
        assert found, f"{page} shows no set-up"
        said = found[1]
        (self._folder / "token").write_text(token)
        for theirs, ours in (("https://hub.example.org/api/v1/hooks/alerts", hook), ("/etc/alertmanager/angelia.token", f"{self._folder}/token")):
            assert said.count(theirs) == 1, f"{page} does not say {theirs}"
            said = said.replace(theirs, ours)
        config = self._folder / "alertmanager.yml"
        config.write_text(_AROUND % said)
        argv = [str(PROGRAM), f"--config.file={config}", f"--storage.path={self._folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
        self._server = Server("alertmanager", [*argv, "--cluster.listen-address="], [port], self._folder)

    def put(self, labels: dict[str, str], **more: Any) -> None:
        """An alert fires, or is over where `endsAt` has passed."""
        httpx2.post(f"{self.url}/api/v2/alerts", json=[{"labels": labels} | more], timeout=30).raise_for_status()

    def stop(self) -> None:
        """Stop it and forget it."""
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)
