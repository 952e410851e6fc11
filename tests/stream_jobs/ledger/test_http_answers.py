"""What the HTTP client makes of each kind of answer, and of none."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from fleetmeter_jobs.ledger import ClickHouseHttp
from fleetmeter_jobs.ledger.errors import StoreRejectedError, StoreUnavailableError

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer(self, self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(10)


def saying(status: int, content: bytes, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("X-ClickHouse-Summary", "{}")
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def test_what_is_sent() -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append((handler.path, dict(handler.headers), body))
        saying(200, b"[1,18446744073709551615]\n")(handler, body)

    with serving(answer) as url:
        http = ClickHouseHttp(f"{url}/", "meter", "pass word", "usage", timeout_s=7)
        assert http.rows("SELECT {a:String}", parameters={"a": "x\t\\&é"}, settings={"limit": 0}) == [[1, 2**64 - 1]]
        http.execute("INSERT INTO t FORMAT Arrow", data=b"\x00\nrows")
        http.close()
    (path, headers, body), (_, _, insert) = seen
    assert parse_qs(urlsplit(path).query) == {
        "database": ["usage"],
        "wait_end_of_query": ["1"],
        "max_execution_time": ["7"],
        "limit": ["0"],
        "param_a": ["x\\t\\\\&é"],
    }
    assert (headers["X-ClickHouse-User"], headers["X-ClickHouse-Key"]) == ("meter", "pass word")
    assert body == b"SELECT {a:String}\nFORMAT JSONCompactEachRow"
    assert insert == b"INSERT INTO t FORMAT Arrow\n\x00\nrows"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (saying(500, b"Code: 241. DB::Exception: Memory limit exceeded"), "code 241"),
        (saying(500, b"Code: 243. DB::Exception: no space", X_ClickHouse_Exception_Code="243"), "243.*Free space"),
        (saying(500, b"Code: 164. DB::Exception: readonly"), "164.*FLEETMETER_CLICKHOUSE_USER"),
        (saying(403, b"Code: 497. DB::Exception: not enough privileges"), r"code 497.*worker_grants\.sql"),
        (saying(500, b"Code: 242. DB::Exception: TABLE_IS_READ_ONLY"), "code 242.*Keeper"),
        (saying(500, b"Code: 252. DB::Exception: Too many parts"), "code 252.*FLEETMETER_FLUSH_INTERVAL_S"),
        (saying(200, b"half of it", X_ClickHouse_Exception_Code="159"), "code 159"),
        (saying(503, b"the proxy is tired"), "HTTP 503"),
        (saying(500, b"Code: 999999. DB::Exception: not known yet"), "code 999999"),
        (saying(302, b"", Location="http://127.0.0.1:1/"), "HTTP 302"),
    ],
)
def test_what_may_pass(answer: Answer, says: str) -> None:
    with serving(answer) as url, pytest.raises(StoreUnavailableError, match=says):
        ClickHouseHttp(url).execute("SELECT 1")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (saying(404, b"Code: 60. DB::Exception: no table", X_ClickHouse_Exception_Code="60"), "fleetmeter migrate"),
        (saying(500, b"Code: 516. DB::Exception: wrong password"), "FLEETMETER_CLICKHOUSE_PASSWORD"),
        (saying(404, b"<html>not here</html>"), "is that ClickHouse's address"),
    ],
)
def test_what_stays(answer: Answer, says: str) -> None:
    with serving(answer) as url, pytest.raises(StoreRejectedError, match=says):
        ClickHouseHttp(url).execute("SELECT 1")


def _page(content: bytes) -> Answer:
    """What a proxy says by itself, and means well."""

    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize("content", [b"<html>Back in a minute</html>", b""])
def test_a_proxy_s_own_page_is_no_answer(content: bytes) -> None:
    """An insert of side rows would be taken for done, which nobody reads back; a position for none, or for a defect."""
    with serving(_page(content)) as url:
        http = ClickHouseHttp(url)
        with pytest.raises(StoreUnavailableError, match="does not come from ClickHouse"):
            http.execute("INSERT INTO quarantine FORMAT Arrow", data=b"rows")
        with pytest.raises(StoreUnavailableError, match="does not come from ClickHouse"):
            http.rows("SELECT 1")


def test_no_answer_in_time() -> None:
    ended = threading.Event()

    def wait(_handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        ended.wait(20)

    with serving(wait) as url:
        http = ClickHouseHttp(url, timeout_s=0.05, answer_margin_s=0.05)
        with pytest.raises(StoreUnavailableError, match=r"did not answer.*[Tt]imed? ?out"):
            http.execute("SELECT 1")
        ended.set()


def test_an_answer_that_breaks_off() -> None:
    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"[1]\n")
        handler.close_connection = True

    with serving(answer) as url, pytest.raises(StoreUnavailableError, match="did not answer"):
        ClickHouseHttp(url).rows("SELECT 1")


_ROWS = b"[1,2]\n[3,4]\n[5,6]\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-ClickHouse-Summary: {}\r\n"


@pytest.mark.parametrize(
    "whole",
    [
        _HEAD + b"Content-Length: 18\r\nX-ClickHouse-Format: JSONCompactEachRow\r\n\r\n" + _ROWS,
        _HEAD + b"Transfer-Encoding: chunked\r\n\r\n12\r\n" + _ROWS + b"\r\n0\r\n\r\n",
    ],
    ids=["length", "chunked"],
)
def test_an_answer_is_whole_or_an_error_wherever_it_breaks_off(whole: bytes) -> None:
    """Also within its head, where `http.client` sees an empty answer: a partition would have no position."""
    cut = 0

    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.wfile.write(whole[:cut])
        handler.close_connection = True

    refused = 0
    with serving(answer) as url:
        http = ClickHouseHttp(url)
        for cut in range(len(whole) + 1):
            try:
                rows = http.rows("SELECT")
            except StoreUnavailableError:
                refused += 1
            else:
                assert rows == [[1, 2], [3, 4], [5, 6]], whole[:cut]
        http.close()
        # A connection of its own: the last one may be closed by the server while this client is still writing to it.
        assert ClickHouseHttp(url).rows("SELECT") == [[1, 2], [3, 4], [5, 6]]
    assert refused >= whole.index(_ROWS) + len(_ROWS)


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(StoreUnavailableError, match=f"{url} did not answer"):
            ClickHouseHttp(url).execute("SELECT 1")


def test_a_large_body_that_is_not_taken_at_once() -> None:
    """ClickHouse reads it once the guard is evaluated. The time to connect is over by then; the insert's is not."""
    taken: list[int] = []
    data = bytes(64 * 2**20)

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as request:
                length = next(int(line.split()[1]) for line in request if line.startswith(b"Content-Length"))
                while request.readline().strip():
                    pass
                time.sleep(0.2)
                taken.append(len(request.read(length)))
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-ClickHouse-Summary: {}\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        http = ClickHouseHttp(f"http://127.0.0.1:{server.getsockname()[1]}", connect_timeout_s=0.1, timeout_s=30)
        try:
            http.execute("INSERT INTO t FORMAT Arrow", data=data)
        finally:
            http.close()
            thread.join(20)
    assert taken == [len(b"INSERT INTO t FORMAT Arrow\n") + len(data)]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_waits_for_a_connection_as_long_as_for_an_insert(scheme: str) -> None:
    with socket.socket() as silent, ExitStack() as waiting:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        address = silent.getsockname()
        if scheme == "http":
            # The queue is full: the system no longer answers those who want to connect.
            for _ in range(4):
                one = waiting.enter_context(socket.socket())
                one.setblocking(False)
                one.connect_ex(address)
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            ClickHouseHttp(f"{scheme}://127.0.0.1:{address[1]}", connect_timeout_s=0.2, timeout_s=30).execute("SELECT")
        assert time.monotonic() - began < 10
