"""What an operator's tools ask of a node over plain HTTP: `/metrics`, `/healthz` (it lives), `/readyz` (it can take tasks).

Nothing here tells about tasks, parties or data; it listens on loopback unless the settings say otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from tallystick.protocol.errors import Configuration

SECONDS = 5  # for one request


def serve(address: str, problems: Callable[[], list[str]]) -> ThreadingHTTPServer:
    """Serve in a thread until ``shutdown()``. ``problems``: why the node is not ready, empty when it is. Raises Configuration."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS

        def do_GET(self) -> None:
            """One request."""
            if self.path == "/metrics":
                self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
            elif self.path == "/healthz":
                self._answer(200, b"ok\n")
            elif self.path == "/readyz":
                found = problems()
                self._answer(503 if found else 200, "".join(f"{each}\n" for each in found or ["ready"]).encode())
            else:
                self._answer(404, b"there are /metrics, /healthz and /readyz\n")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - named by http.server
            """Probes are no news."""

    host, _, port = address.rpartition(":")
    try:
        server = ThreadingHTTPServer((host.strip("[]") or "127.0.0.1", int(port)), Handler)
    except (OSError, ValueError, OverflowError) as error:
        raise Configuration(
            f"{address} cannot be listened on ({type(error).__name__})",
            party="metrics",
            remedy="stop what uses the port, or set another `metrics`",
        ) from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
