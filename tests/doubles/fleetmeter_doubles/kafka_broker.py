"""A broker and its producers in memory, behind the interface of confluent-kafka that the producers use.

It can be away, refuse what a test names, run out of queue, and break a producer for good, or let it get stuck. Like
librdkafka, it reports each record exactly once, and only from within `poll`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import orjson

Report = Callable[[Any, Any], None]


class FakeKafkaError:
    """As confluent_kafka.KafkaError, as far as it is used."""

    def __init__(self, text: str, *, fatal: bool = False, code: int = 0) -> None:
        self._text = text
        self._fatal = fatal
        self._code = code

    def code(self) -> int:
        """Its number in Kafka's protocol."""
        return self._code

    def str(self) -> str:
        """The error in words."""
        return self._text

    def fatal(self) -> bool:
        """Whether the producer is of no more use."""
        return self._fatal


class FakeKafkaException(Exception):
    """As confluent_kafka.KafkaException: its first argument is the error."""


class FakeMessage:
    """As confluent_kafka.Message, as far as it is used."""

    def __init__(self, record: tuple[str, bytes, bytes | None], offset: int | None) -> None:
        self._record = record
        self._offset = offset

    def key(self) -> bytes:
        """The record's key."""
        return self._record[1]

    def offset(self) -> int | None:
        """Where the broker has put the record, if it has told."""
        return self._offset


class FakeBroker:
    """Holds the log. `connect` is what producers are given.

    `away`: nothing is answered. `refusals`: the errors of the next records, in turn (None accepts one). `inferred`: so
    many of the next records are refused, too, but librdkafka takes them for delivered.
    `keeps_refused`: a refused record is in the log nevertheless, as after a lost acknowledgement.
    """

    def __init__(self, *, queue_limit: int = 100_000) -> None:
        self.log: list[tuple[str, bytes, bytes | None]] = []
        self.configs: list[dict[str, Any]] = []
        self.refusals: deque[str | None] = deque()
        self.inferred = 0
        self.keeps_refused = False
        self.queue_limit = queue_limit
        self.record_limit_bytes = 1_000_000
        self.away = False
        self.broken: set[int] = set()
        self.stuck: set[int] = set()
        self.changed = threading.Condition()
        self.queued = 0
        """Records that producers took, delivered or not."""

    def connect(self, config: Mapping[str, Any]) -> FakeProducer:
        """A producer of this broker."""
        self.configs.append(dict(config))
        return FakeProducer(self, len(self.configs) - 1, config)

    def break_producers(self) -> None:
        """What librdkafka calls a fatal error, for all producers that exist."""
        self.broken |= set(range(len(self.configs)))

    def forget_producers(self) -> None:
        """All producers that exist never connect again: their records time out, and they say nothing else."""
        self.stuck |= set(range(len(self.configs)))

    def values(self) -> list[bytes | None]:
        """The values in the log."""
        return [value for _, _, value in self.log]

    def ids(self) -> list[str]:
        """The ids of the events in the log, one event a record."""
        return [orjson.loads(value or b"")["id"] for value in self.values()]

    def wait_for(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait until a condition, on the log or on a client, holds; fails if it never does."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while not condition():
                assert time.monotonic() < deadline, f"not in time; the log has {len(self.log)} records"
                self.changed.wait(0.01)

    def answer(self, record: tuple[str, bytes, bytes | None]) -> tuple[FakeKafkaError | None, int | None]:
        """What librdkafka hears, or thinks, of a record: (error, offset)."""
        if self.inferred:
            self.inferred -= 1
            return None, None
        refusal = self.refusals.popleft() if self.refusals else None
        with self.changed:
            if refusal is None or self.keeps_refused:
                self.log.append(record)
            self.changed.notify_all()
        return (None, len(self.log) - 1) if refusal is None else (FakeKafkaError(refusal), None)


class FakeProducer:
    """As confluent_kafka.Producer, as far as it is used."""

    def __init__(self, broker: FakeBroker, number: int, config: Mapping[str, Any]) -> None:
        self._broker = broker
        self._number = number
        self._error_cb: Callable[[Any], None] | None = config.get("error_cb")
        self._timeout_s = config.get("message.timeout.ms", 300_000) / 1000
        self._queue: deque[tuple[tuple[str, bytes, bytes | None], Report, float]] = deque()
        self._purged = False
        self._told = False

    def produce(self, topic: str, value: bytes | None, key: bytes, on_delivery: Report) -> None:
        """Queue a record."""
        if self._is_broken():
            raise RuntimeError("the producer is in a fatal state")
        if len(self._queue) >= self._broker.queue_limit:
            raise BufferError("queue full")
        if len(value or b"") > self._broker.record_limit_bytes:
            raise FakeKafkaException(FakeKafkaError("Broker: Message size too large", code=10))
        self._queue.append(((topic, key, value), on_delivery, time.monotonic()))
        self._broker.queued += 1

    def poll(self, timeout: float) -> int:
        """Deliver and report what is queued; waits while the broker is away."""
        if self._is_broken() and self._error_cb is not None and not self._told:
            self._told = True
            self._error_cb(FakeKafkaError("out of sequence", fatal=True))
        reports = 0
        while self._queue and (self._purged or not (self._broker.away or self._is_broken())):
            record, report, queued_at = self._queue[0]
            error: FakeKafkaError | None
            offset = None
            if self._purged:
                error = FakeKafkaError("purged")
            elif self._number not in self._broker.stuck:
                error, offset = self._broker.answer(record)
            elif time.monotonic() - queued_at > self._timeout_s:
                error = FakeKafkaError("Local: Message timed out", code=-192)
            else:
                break
            self._queue.popleft()
            report(error, FakeMessage(record, offset))
            reports += 1
        self._purged = False
        if not reports and timeout > 0:
            with self._broker.changed:
                self._broker.changed.wait(min(timeout, 0.01))
        return reports

    def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        """Let the queued records fail at the next poll."""
        self._purged = True

    def __len__(self) -> int:
        return len(self._queue)

    def _is_broken(self) -> bool:
        return self._number in self._broker.broken
