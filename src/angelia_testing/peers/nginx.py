"""nginx in front of a hub, as docs/how-to/behind-nginx.md sets it up: TLS at `https://localhost`, with a certificate of our own authority."""

import os
import re
import shutil
from pathlib import Path

from angelia_testing.peers.certificates import issue
from angelia_testing.peers.process import Server, free_port, missing, scratch

NGINX = Path("/usr/sbin/nginx")
_AROUND = """daemon off; worker_processes 1; pid nginx.pid; error_log error.log info;%s
events { worker_connections 256; }
http {
client_body_temp_path tmp-body; proxy_temp_path tmp-proxy; fastcgi_temp_path tmp-fastcgi; uwsgi_temp_path tmp-uwsgi; scgi_temp_path tmp-scgi;
%s
}
"""


class Nginx:
    """One nginx; `say` makes it known where the hub listens, since the hub must be told first where people reach it."""

    def __init__(self) -> None:
        if not NGINX.exists():
            missing("nginx")
        self.folder = scratch("nginx")
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.authority = self.folder / "ca.crt"
        issue(self.folder, "localhost")
        self._server: Server | None = None

    def say(self, page: Path, hub_port: int) -> None:
        """Start it with the set-up that a page of the documentation shows."""
        found = re.search(r"```nginx\n(.*?)```", page.read_text(), re.DOTALL)
        assert found, f"{page} shows no set-up"
        said = found[1]
        for theirs, ours in (
            ("listen 443 ssl", f"listen 127.0.0.1:{self.port} ssl"),
            ("server_name hub.example.org", "server_name localhost"),
            ("/etc/ssl/hub.example.org.crt", f"{self.folder}/server.crt"),
            ("/etc/ssl/private/hub.example.org.key", f"{self.folder}/server.key"),
            ("/var/log/nginx/angelia.log", f"{self.folder}/access.log"),
            ("http://127.0.0.1:8080", f"http://127.0.0.1:{hub_port}"),
        ):
            assert said.count(theirs) == 1, f"{page} does not say {theirs}"
            said = said.replace(theirs, ours)
        config = self.folder / "nginx.conf"
        config.write_text(_AROUND % (" user root;" if os.geteuid() == 0 else "", said))
        argv = [str(NGINX), "-p", str(self.folder), "-e", "error.log", "-c", str(config)]
        self._server = Server("nginx", argv, [self.port], self.folder)

    def log(self) -> str:
        """What it wrote of the requests."""
        return (self.folder / "access.log").read_text()

    def stop(self) -> None:
        """Stop it and forget it."""
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
