"""A broker whose log is a file, so that it outlives the processes of its producers, behind the interface of
confluent-kafka that the producers use."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from fleetmeter_doubles.kafka_broker import FakeKafkaError, FakeMessage

Report = Callable[[Any, Any], None]


class FileProducer:
    """Appends each record to the log in one write. With `away`, nothing arrives; with `unsure`, a share of the records
    arrives and is reported as failed all the same."""

    def __init__(self, path: Path, *, away: bool, unsure: float, seed: int) -> None:
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._away, self._unsure, self._random = away, unsure, random.Random(seed)
        self._queue: deque[tuple[bytes, Report]] = deque()

    def produce(self, _topic: str, value: bytes, _key: bytes, on_delivery: Report) -> None:
        """Queue a record."""
        if len(self._queue) >= 1_000:
            raise BufferError
        self._queue.append((value, on_delivery))

    def poll(self, timeout: float) -> int:
        """Deliver what is queued, unless away."""
        if self._away or not self._queue:
            time.sleep(min(timeout, 0.002))
            return 0
        served = 0
        while self._queue and served < 50:
            value, report = self._queue.popleft()
            # The line before may have been cut: a kill, or a disk that is full.
            line = b"\n" + value + b"\n"
            try:
                arrived = os.write(self._log, line) == len(line)
            except OSError:
                arrived = False
            served += 1
            known = arrived and self._random.random() >= self._unsure
            answer = (None, 0) if known else (FakeKafkaError("timed out"), None)
            report(answer[0], FakeMessage(("", b"", value), answer[1]))
        return served

    def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        """Forget what is queued."""
        self._queue.clear()

    def __len__(self) -> int:
        return len(self._queue)


def file_broker(
    path: Path, *, away: bool = False, unsure: float = 0.0, seed: int = 0
) -> Callable[[Mapping[str, Any]], FileProducer]:
    """What a client takes as `connect`."""
    return lambda _config: FileProducer(path, away=away, unsure=unsure, seed=seed)


def events_of(path: Path) -> list[dict[str, Any]]:
    """The events in the log, without lines that were cut, which a broker would never have received."""
    events = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(orjson.JSONDecodeError):
            events.append(orjson.loads(line))
    return events
