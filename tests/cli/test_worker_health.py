"""What the supervisor hears of a worker, also of one that is killed while it answers: it must outlive that."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from fleetmeter_jobs.cli.stack.health import counts, health_of


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], str]]:
    """`answering(text)`: the base URL of a server that says this once and closes the connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def answer(text: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(text)

    def start(text: bytes) -> str:
        threads.append(threading.Thread(target=answer, args=(text,)))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    with listener:
        yield start
        for thread in threads:
            thread.join(20)


def message(status: str, body: bytes, length: int | None = None) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length or len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
def test_the_document_is_read_whatever_the_status(answering: Callable[[bytes], str], status: str) -> None:
    assert health_of(answering(message(status, b'{"ready": true}'))) == {"ready": True}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HT",
        message("200 OK", b'{"ready": true', 100),
        message("503 Service Unavailable", b'{"ready": false', 100),
        message("503 Service Unavailable", b'{"ready": false'),
        message("200 OK", b"true"),
    ],
)
def test_a_worker_that_ends_while_it_answers_does_not_count(answering: Callable[[bytes], str], said: bytes) -> None:
    assert counts(answering(said)) is False


def test_nobody_there_does_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        web = f"http://127.0.0.1:{listener.getsockname()[1]}"
    assert counts(web) is False
