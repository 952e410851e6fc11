"""The HTTP ingest on loopback, in a thread of its own, in front of a broker in memory (or whatever `connect` gives)."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fleetmeter_jobs.cli.ingest import plain_judge
from fleetmeter_jobs.cli.native_judge import NativeJudge
from fleetmeter_jobs.settings import Settings
from fleetmeter_producers.ingest.delivery import Delivery
from fleetmeter_producers.ingest.judging import NewJudge
from fleetmeter_producers.ingest.service import IngestService
from fleetmeter_producers.ingest.serving import Address, listening
from fleetmeter_producers.ingest.settings import IngestSettings
from fleetmeter_producers.ingest.token_book import Book, OpenBook
from fleetmeter_producers.kafka import Connect

from fleetmeter_doubles.kafka_broker import FakeBroker

ONE, BATCH, LINES = "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"
TOPIC = "usage-test"


@dataclass(frozen=True)
class Answer:
    """An answer over HTTP, its body decoded."""

    status: int
    headers: Mapping[str, str]
    json: Any


@dataclass(frozen=True)
class IngestServer:
    """A server that runs; `post` sends as any HTTP client does."""

    url: str
    service: IngestService
    tls: ssl.SSLContext | None = None

    def post(
        self,
        body: bytes | Iterator[bytes],
        content_type: str | None = ONE,
        *,
        token: str | None = None,
        **headers: str,
    ) -> Answer:
        """POST /v1/events. Underscores in the names of headers stand for dashes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            given["Content-Type"] = content_type
        if token is not None:
            given["Authorization"] = f"Bearer {token}"
        return self.ask("POST", "/v1/events", body, given)

    def get(self, path: str) -> Answer:
        """GET a path."""
        return self.ask("GET", path)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Any request, on a connection of its own."""
        address = urlsplit(self.url)
        assert address.hostname is not None
        connection: http.client.HTTPConnection
        if self.tls is not None:
            connection = http.client.HTTPSConnection(address.hostname, address.port, timeout=30, context=self.tls)
        else:
            connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}), encode_chunked=isinstance(body, Iterator))
            response = connection.getresponse()
            raw = response.read()
        finally:
            connection.close()
        is_json = "json" in response.headers.get("Content-Type", "")
        return Answer(response.status, response.headers, json.loads(raw) if is_json else raw)  # type: ignore[arg-type]


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Wait until a condition holds; fails if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.005)


def judges(settings: Settings | None = None) -> tuple[NewJudge, NewJudge]:
    """The native judge, and the one that needs no core."""
    given = settings or Settings.load()
    return lambda: NativeJudge(given, plain_judge(given)), lambda: plain_judge(given)


@contextmanager
def ingest_server(
    broker: FakeBroker | None = None,
    *,
    connect: Connect | None = None,
    book: Book | None = None,
    new_judge: NewJudge | None = None,
    tls: ssl.SSLContext | None = None,
    client_tls: ssl.SSLContext | None = None,
    topic: str = TOPIC,
    bootstrap: str = "kafka:9092",
    **limits: Any,
) -> Iterator[IngestServer]:
    """Serves until the `with` ends, and then drains."""
    settings = IngestSettings.of(**limits)
    source = connect or (broker or FakeBroker()).connect
    delivery = Delivery(topic, settings.client({}).librdkafka(bootstrap), connect=source)
    service = IngestService(settings, OpenBook() if book is None else book, delivery, new_judge or judges()[0])
    started: list[str | BaseException] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def run() -> None:
        try:
            async with listening(service, delivery, settings, Address("127.0.0.1", 0, tls)) as url:
                started.append(url)
                ready.set()
                await ended.wait()
        except BaseException as error:
            started.append(error)
            ready.set()
            raise

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="ingest-server")
    thread.start()
    assert ready.wait(30)
    (url,) = started
    assert isinstance(url, str), url
    try:
        yield IngestServer(url, service, client_tls)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(60)
        loop.close()
