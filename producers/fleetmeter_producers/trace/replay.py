"""A trace as generation events, in Kafka.

A trace file and a seed name a set of requests: sources, ids, accounts and models follow from the file's bytes and the
seed, and from nothing else. *When* the requests are said to have happened is no part of their identity; so a replay
that is repeated, or that starts again after it was interrupted, counts nothing twice, whatever its `end`, for as long
as workers remember ids (`horizon_days`). To count a trace as new usage, replay it with another seed.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from fleetmeter_schemas.catalogue import load_catalogue
from fleetmeter_schemas.events import GenerationV1

from fleetmeter_producers.client import DEFAULT_TOPIC
from fleetmeter_producers.errors import ClientSettingsError, TraceError
from fleetmeter_producers.kafka import Connect, connect
from fleetmeter_producers.records import Progress, RecordSender
from fleetmeter_producers.settings import ClientSettings
from fleetmeter_producers.trace.reading import TraceScan, read_requests, scan_trace
from fleetmeter_producers.ulid import ulid_of
from fleetmeter_producers.wire import encode_event, format_time, micros_of

# A trace says nothing about who asked and which model answered; these make a small fleet out of it.
_SERVERS: Final = 8
_ACCOUNTS: Final = tuple(f"trace-account-{number:02}" for number in range(1, 21))
_MODELS: Final = (
    ("llama-3.3-70b", 30),
    ("llama-3.1-8b", 20),
    ("mistral-7b", 10),
    ("phi-4", 10),
    ("mercury-coder-small", 15),
    ("llada-8b-instruct", 10),
    ("dream-7b-instruct", 5),
)
_PROGRESS_EVERY: Final = 2_000


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """What was sent, and acknowledged by the broker. Times are RFC 3339."""

    path: str
    requests: int
    input_tokens: int
    output_tokens: int
    first_time: str
    last_time: str
    seed: int
    seconds: float


def replay_trace(
    path: Path,
    bootstrap: str,
    topic: str = DEFAULT_TOPIC,
    *,
    seed: int = 0,
    end: datetime | None = None,
    keep_times: bool = False,
    settings: ClientSettings | None = None,
    progress: Progress | None = None,
    connect: Connect = connect,
) -> ReplaySummary:
    """Send a trace's requests, and return when the broker has all of them.

    Times are shifted so that the last request happened at `end` (aware; now if not given), or left as they are with
    `keep_times`. The whole file is checked before anything is sent.

    Raises `TraceError` naming line and column, `UndeliveredError` if the broker did not acknowledge everything.
    """
    if keep_times and end is not None:
        raise ClientSettingsError("end and keep_times exclude each other: times are shifted, or they are not")
    started = time.monotonic()
    scan = scan_trace(path)
    end_us = time.time_ns() // 1000 if end is None else micros_of(end)
    shift_us = 0 if keep_times else end_us - scan.last_us
    acknowledged = itertools.count(1)

    def note(_: None) -> None:
        done = next(acknowledged)
        if progress is not None and (done % _PROGRESS_EVERY == 0 or done == scan.requests):
            progress(done, scan.requests)

    sender = RecordSender(bootstrap, topic, note, settings=settings, connect=connect)
    for key, value in trace_records(path, scan, seed=seed, shift_us=shift_us):
        sender.send(key, value, None)
    sender.finish()
    return ReplaySummary(
        path=str(path),
        requests=scan.requests,
        input_tokens=scan.input_tokens,
        output_tokens=scan.output_tokens,
        first_time=format_time(scan.first_us + shift_us),
        last_time=format_time(scan.last_us + shift_us),
        seed=seed,
        seconds=time.monotonic() - started,
    )


def trace_records(path: Path, scan: TraceScan, *, seed: int, shift_us: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Kafka key and value of each request, in the file's order; one event a record.

    Raises `TraceError` if the file is no longer the one that was scanned.
    """
    name = scan.digest.hex()[:16]
    sources = [f"urn:fleetmeter:trace:{name}:server-{server}" for server in range(_SERVERS)]
    incarnations = [_ulid(scan.digest, seed, server) for server in range(_SERVERS)]
    # Version 2 seeding of a text goes through SHA-512: the same on every machine and in every process.
    draw = random.Random(f"{scan.digest.hex()} {seed}")  # noqa: S311  (must be repeatable, not secret)
    account_weights = list(itertools.accumulate(1 / rank for rank in range(1, len(_ACCOUNTS) + 1)))
    model_weights = list(itertools.accumulate(weight for _, weight in _MODELS))
    dimensions = [_dimensions(model) for model, _ in _MODELS]
    digest = hashlib.sha256()
    for row, request in enumerate(read_requests(path, digest)):
        sequence, server = divmod(row, _SERVERS)
        account = draw.choices(_ACCOUNTS, cum_weights=account_weights)[0]
        data = {
            **draw.choices(dimensions, cum_weights=model_weights)[0],
            "input_tokens": request.input_tokens,
            "output_tokens": request.output_tokens,
        }
        event_id = f"{incarnations[server]}-{sequence}"
        source = sources[server]
        time_us = request.time_us + shift_us
        yield source.encode(), encode_event(GenerationV1.TYPE, event_id, source, account, time_us, data)
    if digest.digest() != scan.digest:
        raise TraceError(f"{path} changed while it was replayed; replay it again once it is complete")


def _dimensions(model: str) -> dict[str, str]:
    entry = load_catalogue().find(model)
    if entry is None:
        raise LookupError(f"{model} is not in the model catalogue")
    # Steps, evaluations and operations stay absent: the trace does not report them.
    return {
        "model": model,
        "generation_mode": entry.generation_mode,
        "operation": "chat",
        "placement": "cloud",
        "route": "direct",
        "status": "ok",
        "usage_fidelity": "measured",
    }


def _ulid(digest: bytes, seed: int, server: int) -> str:
    """The incarnation of a server of a replay: not a time and chance, but what the ids must follow from."""
    bits = int.from_bytes(hashlib.sha256(digest + f" {seed} {server}".encode()).digest()[:16])
    return ulid_of(bits >> 80, bits & (1 << 80) - 1)
