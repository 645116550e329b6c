"""A small HTTP server of its own thread, for peers that are written from a protocol."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Served:
    """Serves on a free port of loopback from `serve` on."""

    def serve(self, requests: type[BaseHTTPRequestHandler]) -> None:
        """Take requests; where is `url`."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), requests)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
