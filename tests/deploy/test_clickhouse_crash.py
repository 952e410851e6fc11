"""The embedded ClickHouse's process when things go wrong: clients that leave, kill -9, SIGTERM, other processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_local import (
    AlreadyRunningError,
    EngineStartError,
    RunningClickHouse,
    find_clickhouse,
    start_clickhouse,
)

pytestmark = pytest.mark.clickhouse
DEADLINE_S = 60.0
SLOW = "SELECT sum(sleepEachRow(0.1)) FROM numbers(1000) SETTINGS max_block_size = 1"


class Held:
    """A number that a statement reads over HTTP, 0, and gets when the test lets it: until then the statement runs."""

    def __init__(self) -> None:
        self.asked, self.released = threading.Event(), threading.Event()
        held = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                held.asked.set()
                held.released.wait(DEADLINE_S)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"0\n")

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join(DEADLINE_S)
        self._server.server_close()

    @property
    def number(self) -> str:
        """It, as SQL."""
        address = f"http://127.0.0.1:{self._server.server_port}/"
        return f"(SELECT sum(n) FROM url('{address}', 'TSV', 'n UInt64'))"


def _client(running: RunningClickHouse) -> Client:
    return clickhouse_connect.get_client(host=running.host, port=running.port)


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _spooled(data_dir: Path) -> list[Path]:
    return list((data_dir / "clickhouse" / "spool").iterdir())


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


def _folder_of(running: RunningClickHouse) -> Path:
    if running.log_path is None:
        pytest.skip("a given ClickHouse: its folder is not here")
    return running.log_path.parent.parent


def test_a_client_that_leaves_in_mid_body_inserts_nothing(
    clickhouse: RunningClickHouse, clickhouse_client: Client
) -> None:
    data_dir, database = _folder_of(clickhouse), str(clickhouse_client.database).encode()
    clickhouse_client.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
    for framing, body in (
        (b"Content-Length: 1000000", b"1\n2\n3\n"),
        (b"Transfer-Encoding: chunked", b"6\r\n1\n2\n3\n\r\n"),
    ):
        with socket.create_connection((clickhouse.host, clickhouse.port)) as sock:
            sock.sendall(b"POST /?database=" + database + b"&query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\n")
            sock.sendall(b"Host: localhost\r\n" + framing + b"\r\n\r\n" + body)
            _until(lambda: len(_spooled(data_dir)) == 1)
        _until(lambda: not _spooled(data_dir))
    assert clickhouse_client.command("SELECT count() FROM t") == 0


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (b"Transfer-Encoding: chunked", b"ZZ\r\n1\n\r\n0\r\n\r\n", b"400"),
        (b"Content-Length: nonsense", b"1\n", b"400"),
    ],
)
def test_a_body_that_is_not_what_its_headers_say_is_refused(
    clickhouse: RunningClickHouse, headers: bytes, body: bytes, status: bytes
) -> None:
    with socket.create_connection((clickhouse.host, clickhouse.port)) as sock:
        sock.sendall(b"POST /?query=SELECT+1 HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n" + body)
        assert sock.recv(12).split()[1] == status
    assert not _spooled(_folder_of(clickhouse))


def test_a_spool_that_is_gone_is_told(data_dir: Path) -> None:
    with start_clickhouse(data_dir, source="local") as running:
        (data_dir / "clickhouse" / "spool").rmdir()
        connection = http.client.HTTPConnection(running.host, running.port)
        connection.request("POST", "/", body="SELECT 1")
        response = connection.getresponse()
        assert (response.status, b"spool folder" in response.read()) == (500, True)
        connection.close()


def test_a_query_ends_when_its_client_leaves(clickhouse: RunningClickHouse, clickhouse_client: Client) -> None:
    running_now = "SELECT count() FROM system.processes WHERE query LIKE 'SELECT sum(sleepEachRow%'"
    connection = http.client.HTTPConnection(clickhouse.host, clickhouse.port)
    connection.request("POST", "/", body=SLOW)
    _until(lambda: clickhouse_client.command(running_now) == 1)
    connection.close()
    _until(lambda: clickhouse_client.command(running_now) == 0)


def test_an_insert_is_carried_out_though_its_client_left(
    clickhouse: RunningClickHouse, clickhouse_client: Client
) -> None:
    clickhouse_client.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
    connection = http.client.HTTPConnection(clickhouse.host, clickhouse.port)
    with Held() as held:
        slow_insert = f"INSERT INTO t SELECT a + {held.number} + sleepEachRow(0.5) FROM input('a UInt64') FORMAT TSV"
        connection.request("POST", f"/?database={clickhouse_client.database}", body=f"{slow_insert}\n1\n2\n")
        assert held.asked.wait(DEADLINE_S)
        connection.close()
        held.released.set()
        _until(lambda: clickhouse_client.command("SELECT count() FROM t") == 2)
    _until(lambda: not _spooled(_folder_of(clickhouse)))


def test_what_was_answered_survives_kill_9(data_dir: Path) -> None:
    with start_clickhouse(data_dir, source="local") as running:
        with _client(running) as client:
            client.command("CREATE DATABASE d")
            client.command("CREATE TABLE d.t (a UInt64) ENGINE MergeTree ORDER BY a")
        answered = 0
        for round_ in range(2):
            stop = threading.Event()

            def insert(start: int, stop: threading.Event = stop) -> int:
                count = 0
                connection = http.client.HTTPConnection(running.host, running.port, timeout=DEADLINE_S)
                while not stop.is_set():
                    try:
                        connection.request("POST", "/?query=INSERT+INTO+d.t+FORMAT+TSV", body=f"{start + count}\n")
                        if connection.getresponse().read() != b"":
                            break
                    except (OSError, http.client.HTTPException):
                        break
                    count += 1
                return count

            counted: list[int] = []
            thread = threading.Thread(target=lambda: counted.append(insert(round_ * 1_000_000)))  # noqa: B023
            thread.start()
            with _client(running) as client:
                enough = answered + 5
                _until(lambda: int(client.command("SELECT count() FROM d.t")) >= enough)  # noqa: B023
            running.kill()
            assert not running.is_alive()
            stop.set()
            thread.join(DEADLINE_S)
            before = (running.url, running.pid)
            running.restart()
            assert running.url == before[0]
            assert running.pid != before[1]
            with _client(running) as client:
                found = int(client.command("SELECT count() FROM d.t"))
            # The insert that was under way may have made it or not; no answered one is lost, none is there twice.
            answered += counted[0]
            assert found - answered in (0, 1)
            answered = found


def test_kill_9_leaves_no_spooled_bodies_after_the_restart(data_dir: Path) -> None:
    with start_clickhouse(data_dir, source="local") as running:
        sock = socket.create_connection((running.host, running.port))
        sock.sendall(
            b"POST /?query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n1\n"
        )
        _until(lambda: len(_spooled(data_dir)) == 1)
        running.kill()
        sock.close()
        running.restart()
        assert _spooled(data_dir) == []


def test_sigterm_ends_it_cleanly_once_running_inserts_are_done(data_dir: Path) -> None:
    with start_clickhouse(data_dir, source="local") as running:
        with _client(running) as client:
            client.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
        connection = http.client.HTTPConnection(running.host, running.port)
        with Held() as held:
            statement = f"INSERT INTO t SELECT a + {held.number} + sleepEachRow(0.5) FROM input('a UInt64') FORMAT TSV"
            connection.request("POST", "/", body=f"{statement}\n1\n2\n")
            assert held.asked.wait(DEADLINE_S)
            assert running.pid is not None
            os.kill(running.pid, signal.SIGTERM)
            held.released.set()
            assert connection.getresponse().status == 200
        _until(lambda: not running.is_alive())
        assert running.log_path is not None
        assert running.log_path.read_text().endswith("stopped\n")
        running.restart()
        with _client(running) as client:
            assert client.command("SELECT count() FROM t") == 2


def test_a_folder_has_one_process(data_dir: Path) -> None:
    with start_clickhouse(data_dir, source="local") as running:
        with pytest.raises(AlreadyRunningError, match=str(running.port)):
            start_clickhouse(data_dir, source="local")
        # Also if someone deletes what is known of the first: the engine locks its folder.
        (data_dir / "run" / "clickhouse.json").unlink()
        with pytest.raises(EngineStartError, match="chDB cannot open") as caught:
            start_clickhouse(data_dir, source="local")
        assert "Another server instance" in caught.value.log_tail
        assert running.is_alive()


def test_a_port_that_is_taken_is_named(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EngineStartError, match=f"port {port} .* cannot be used"):
            start_clickhouse(data_dir, port=port, source="local")
    with start_clickhouse(data_dir, port=port, source="local") as running:
        assert running.port == port


@pytest.mark.parametrize("name", ["what?", "a{b}"])
def test_a_folder_that_chdb_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineStartError, match="takes for options or a pattern"):
        start_clickhouse(tmp_path / name, source="local")


def test_odd_but_possible_folders_work(tmp_path: Path) -> None:
    with start_clickhouse(tmp_path / "it's a & b", source="local") as running, _client(running) as client:
        client.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
        client.command("INSERT INTO t FORMAT TSV", data=b"1\n")
        assert client.command("SELECT a FROM t") == 1


def test_a_detached_process_outlives_its_starter_and_is_found_and_stopped(data_dir: Path) -> None:
    script = (
        "import sys, pathlib; from fleetmeter_local import start_clickhouse;"
        "print(start_clickhouse(pathlib.Path(sys.argv[1]), source='local', detached=True).pid)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(data_dir)], capture_output=True, text=True, check=True)
    found = find_clickhouse(data_dir)
    assert found is not None
    try:
        assert found.pid == int(done.stdout)
        with _client(found) as client:
            client.command("CREATE TABLE t (a UInt64) ENGINE MergeTree ORDER BY a")
        found.kill()
        assert find_clickhouse(data_dir) is None
        found.restart()
        with _client(found) as client:
            assert client.command("EXISTS TABLE t") == 1
    finally:
        found.stop()
    assert find_clickhouse(data_dir) is None
    assert not (data_dir / "run" / "clickhouse.json").exists()


def test_an_attached_process_dies_with_its_starter(data_dir: Path) -> None:
    script = (
        "import sys, os, pathlib, json; from fleetmeter_local import start_clickhouse;"
        "running = start_clickhouse(pathlib.Path(sys.argv[1]), source='local');"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(data_dir)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    known = json.loads((data_dir / "run" / "clickhouse.json").read_text())
    assert known["pid"] > 0
    _until(lambda: find_clickhouse(data_dir) is None)


def test_passwords_are_for_the_owner_only(data_dir: Path) -> None:
    with start_clickhouse(data_dir, source="local"):
        for path in (data_dir / "clickhouse" / "config.json", data_dir / "run" / "clickhouse.json"):
            assert path.stat().st_mode & 0o077 == 0
        assert (data_dir / "clickhouse" / "spool").stat().st_mode & 0o077 == 0


def test_somebody_has_to_be_allowed_to_ask(data_dir: Path) -> None:
    with pytest.raises(ValueError, match="users"):
        start_clickhouse(data_dir, users=[], source="local")
