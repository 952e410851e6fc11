"""A proxy before a real ClickHouse that answers some statements itself, as a server or a gateway in trouble would."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_PASSED_ON = ("X-ClickHouse-User", "X-ClickHouse-Key", "Content-Type")
_SILENCE_LIMIT_S = 60.0
_PASSED_BACK = ("X-ClickHouse-Exception-Code", "X-ClickHouse-Summary", "Content-Type")


@dataclass(frozen=True)
class Trouble:
    """An answer in the place of ClickHouse's; `code` is ClickHouse's error number, 0 for one of a proxy in between."""

    status: int
    code: int
    text: str


@dataclass
class StoreProxy:
    """`trouble(first_line)` is asked for every statement; its answer, if any, takes the place of the real one."""

    url: str
    trouble: Callable[[bytes], Trouble | None]
    refused: int = 0
    """Statements that got trouble for an answer."""
    silent: bool = False
    """Whether statements get no answer at all; those that waited when it ends are dropped, with their connection."""
    unanswered: int = 0


@contextmanager
def store_proxy(clickhouse_url: str) -> Iterator[StoreProxy]:
    """A proxy that passes everything on until it is given a trouble."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if proxy.silent:
                proxy.unanswered += 1
                deadline = time.monotonic() + _SILENCE_LIMIT_S
                while proxy.silent and time.monotonic() < deadline:
                    time.sleep(0.02)
                self.close_connection = True
                return
            trouble = proxy.trouble(body.split(b"\n", 1)[0])
            if trouble is None:
                self._say(*_ask(f"{clickhouse_url}{self.path}", body, self.headers))
                return
            proxy.refused += 1
            headers = {"X-ClickHouse-Exception-Code": str(trouble.code)} if trouble.code else {}
            prefix = f"Code: {trouble.code}. DB::Exception: " if trouble.code else ""
            self._say(trouble.status, f"{prefix}{trouble.text}".encode(), headers)

        def _say(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = StoreProxy(f"http://127.0.0.1:{server.server_port}", lambda _statement: None)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join(10)


def _ask(url: str, body: bytes, headers: Any) -> tuple[int, bytes, dict[str, str]]:
    passed = {name: headers[name] for name in _PASSED_ON if name in headers}
    request = urllib.request.Request(url, body, passed, method="POST")  # noqa: S310  (the test's own ClickHouse)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            back = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
            return answer.status, answer.read(), back
    except urllib.error.HTTPError as error:
        back = {name: error.headers[name] for name in _PASSED_BACK if name in error.headers}
        return error.code, error.read(), back
