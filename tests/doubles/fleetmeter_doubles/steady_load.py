"""Events that keep coming to every partition of a pipeline, and how long partitions pause meanwhile."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection
from typing import Self

from confluent_kafka import Producer
from fleetmeter_producers.kafka import ONE_AT_A_TIME

from fleetmeter_doubles.worker_processes import Pipeline, event_bytes

_STEP_S = 0.02
_LOOK_S = 0.2


class _Thread(threading.Thread):
    """A thread that ends with its `with` block, and hands on what went wrong in it."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.over = threading.Event()
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join(120)
        assert not self.is_alive(), f"{self.name} did not end"
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:  # noqa: BLE001  (raised again by whoever waits for the thread)
            self.error = error

    def work(self) -> None:
        raise NotImplementedError


class SteadyLoad(_Thread):
    """Sends `events_per_s` new events, in turn to each of the partitions. What was sent stands in the pipeline."""

    def __init__(self, pipeline: Pipeline, partitions: int, events_per_s: int) -> None:
        super().__init__("load")
        self._pipeline, self._partitions, self._events_per_s = pipeline, partitions, events_per_s

    def work(self) -> None:
        pipeline = self._pipeline
        options = {"bootstrap.servers": pipeline.kafka.bootstrap, "linger.ms": 5, "enable.idempotence": True}
        producer = Producer({**options, **ONE_AT_A_TIME})
        began, sent = time.monotonic(), 0
        while not self.over.wait(_STEP_S):
            while sent < (time.monotonic() - began) * self._events_per_s:
                number = len(pipeline.sent)
                account, tokens = f"account-{number % 7}", number % 1000
                pipeline.sent.append((account, f"e-{number}", tokens))
                value = event_bytes(account, f"e-{number}", tokens)
                producer.produce(pipeline.topic, value, partition=number % self._partitions)
                sent += 1
            producer.poll(0)
        assert producer.flush(60) == 0


class PauseMeter(_Thread):
    """Looks at the ledger's positions all the time: how long does a partition stand still while events come in?"""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__("pauses")
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._moved: dict[int, tuple[int, float]] = {}
        self._asked_at: float | None = None
        self._longest: defaultdict[int, float] = defaultdict(float)

    def work(self) -> None:
        with self._pipeline.client() as client:
            while not self.over.wait(_LOOK_S):
                looked_at = time.monotonic()
                rows = client.query(
                    "SELECT partition, max(next_offset) FROM ledger WHERE row_kind = 'marker' GROUP BY partition"
                ).result_rows
                with self._lock:
                    self._note({int(partition): int(offset) for partition, offset in rows}, looked_at)

    def all_move(self) -> bool:
        """Whether every partition's position has moved since this was asked first; then it is asked anew."""
        return self.move(self._moved)

    def move(self, partitions: Collection[int]) -> bool:
        """As `all_move`, of these."""
        with self._lock:
            if self._asked_at is None:
                self._asked_at = time.monotonic()
            moved = all(self._moved[partition][1] > self._asked_at for partition in partitions)
            if moved:
                self._asked_at = None
            return moved

    def take(self) -> dict[int, float]:
        """The longest pause of each partition that ended since the last call, in seconds."""
        with self._lock:
            longest = dict(sorted(self._longest.items()))
            self._longest.clear()
            return longest

    def _note(self, offsets: dict[int, int], now: float) -> None:
        for partition, offset in offsets.items():
            before, moved = self._moved.get(partition, (-1, now))
            if offset != before:
                self._longest[partition] = max(self._longest[partition], now - moved)
                self._moved[partition] = (offset, now)
