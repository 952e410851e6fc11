"""A proxy of the environment is for the internet: what runs on this machine is asked without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.stack.health import health_of
from fleetmeter_jobs.settings import Settings


class _Somebody(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer(b'{"ready": true}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(b"not ClickHouse", status=404)

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_said: Any) -> None:
        pass


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Of a server on this machine, while the environment names a proxy at which nobody listens."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Somebody) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_workers_are_asked_how_they_are(address: str) -> None:
    assert health_of(address) == {"ready": True}


def test_the_embedded_clickhouse_is_asked(address: str) -> None:
    with pytest.raises(CommandError, match=r"HTTP 404; is that ClickHouse's address\?"):
        connect(Settings.load(clickhouse_url=address))
