"""How many events a second the HTTP ingest takes, answers counted when Kafka has acknowledged them.

Server and senders are processes of their own; what is measured is the processor time of the server's process, with all
its threads, librdkafka's too: the figure of one core, however many the machine has.
"""

from __future__ import annotations

import gzip
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import cramjam
from fleetmeter_jobs.settings import Settings

from fleetmeter_bench.workload import event, rows

EVENTS_A_REQUEST: Final = 1_000
_SENDERS: Final = 4
_BODIES: Final = 8
_START_S: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LINES, _BATCH, _ONE = "application/x-ndjson", "application/cloudevents-batch+json", "application/cloudevents+json"


@dataclass(frozen=True)
class IngestSpeed:
    """What a server took: `cpu_s` of its process for `events`, in `wall_s`."""

    server: str
    body: str
    events: int
    cpu_s: float
    wall_s: float
    judges: bool = True

    @property
    def events_per_cpu_s(self) -> float:
        """Events a second on one core."""
        return self.events / self.cpu_s


@dataclass(frozen=True)
class _Load:
    name: str
    content_type: str
    events: int
    each: int
    encoding: str | None = None
    compress: Callable[[bytes], bytes] = bytes


_LOADS: Final = (
    _Load("lines", _LINES, 400_000, EVENTS_A_REQUEST),
    _Load("lines, zstd", _LINES, 400_000, EVENTS_A_REQUEST, "zstd", lambda body: bytes(cramjam.zstd.compress(body))),
    _Load("lines, gzip", _LINES, 400_000, EVENTS_A_REQUEST, "gzip", lambda body: gzip.compress(body, 6)),
    _Load("batch", _BATCH, 400_000, EVENTS_A_REQUEST),
    _Load("one by one", _ONE, 4_000, 1),
)
_PEER_LOADS: Final = (_Load("lines", _LINES, 80_000, EVENTS_A_REQUEST), _Load("one by one", _ONE, 4_000, 1))


def ingest_speeds(settings: Settings, folder: Path, scale: float) -> Iterator[IngestSpeed]:
    """`fleetmeter ingest` on each kind of body, then the plain peers on lines. Kafka and the topic are there."""
    ours = (
        *("-m", "fleetmeter_jobs.cli", "ingest", "--open", "--port", "0", "--ready-file", "{ready}"),
        *(
            "--data-dir",
            str(folder),
            "-s",
            f"topic={settings.topic}",
            "-s",
            f"kafka_bootstrap={settings.kafka_bootstrap}",
        ),
    )
    with _server(folder, ours) as (pid, url):
        for load in _LOADS:
            yield _timed("fleetmeter", pid, url, load, scale)
    for judge in ("pydantic", "none"):
        plain = ("-m", "fleetmeter_bench.plain_ingest", settings.kafka_bootstrap, settings.topic, "{ready}", judge)
        with _server(folder, plain) as (pid, url):
            for load in _PEER_LOADS:
                done = _timed("plain" if judge == "pydantic" else "plain, unjudged", pid, url, load, scale)
                yield replace(done, judges=judge == "pydantic")


@contextmanager
def _server(folder: Path, arguments: Sequence[str]) -> Iterator[tuple[int, str]]:
    ready = folder / "ready.json"
    ready.unlink(missing_ok=True)
    command = [sys.executable, *(part.replace("{ready}", str(ready)) for part in arguments)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    try:
        deadline = time.monotonic() + _START_S
        while not ready.exists() or not ready.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command[:4])} did not begin to listen")
            time.sleep(0.05)
        yield process.pid, json.loads(ready.read_text())["url"]
    finally:
        process.terminate()
        process.wait(30)


def _timed(server: str, pid: int, url: str, load: _Load, scale: float) -> IngestSpeed:
    count = max(_SENDERS * load.each, int(load.events * scale))
    bodies = [_body(load, number) for number in range(_BODIES)]
    _send(url, load, bodies, _SENDERS)  # warm: connections, judges, Kafka's metadata
    requests = count // load.each // _SENDERS
    cpu, wall = _cpu_s(pid), time.monotonic()
    with ThreadPoolExecutor(_SENDERS) as pool:
        for sent in [pool.submit(_send, url, load, bodies, requests) for _ in range(_SENDERS)]:
            sent.result()
    return IngestSpeed(server, load.name, requests * _SENDERS * load.each, _cpu_s(pid) - cpu, time.monotonic() - wall)


def _body(load: _Load, number: int) -> bytes:
    now_us = time.time_ns() // 1000
    texts = [event(row) for row in rows(load.each, "sequenced", now_us=now_us, start=number * load.each)]
    body = b"[" + b",".join(texts) + b"]" if load.content_type == _BATCH else b"\n".join(texts)
    return load.compress(body)


def _send(url: str, load: _Load, bodies: Sequence[bytes], requests: int) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    headers = {"Content-Type": load.content_type, **({"Content-Encoding": load.encoding} if load.encoding else {})}
    for number in range(requests):
        connection.request("POST", "/v1/events", bodies[number % len(bodies)], headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 202 or json.loads(body)["accepted"] != load.each:
            raise RuntimeError(f"{answer.status} {body[:300]!r}")
    connection.close()


def _cpu_s(pid: int) -> float:
    """Processor time of a process, all threads, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
