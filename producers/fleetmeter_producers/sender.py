"""The background thread that carries entries from the outbox to Kafka.

What may happen, and why nothing is lost or counted twice: an entry leaves the outbox only on the broker's
acknowledgement; on any other answer it waits, is given back and sent again, while the others go on. A resend may put a
second copy into the log (the first may have arrived without our knowing); it has the same id, and workers count an id
once. After an error that librdkafka calls fatal, and where nothing arrives any more, its producer is useless; a new one
takes over all that was in flight.

It shares the interpreter's lock with the threads that emit: a thread that wants it back waits for what this one is in
the middle of, and to be woken. So the sender works in few turns of many events, and rests in between for twice as long,
while librdkafka's own threads go on; to go to work for each event would cost the others far more than the work itself.
It does not rest when somebody waits for it, or when the outbox fills.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

from fleetmeter_producers.kafka import Connect, KafkaProducer, Watch, failure_of, is_too_large, words_of
from fleetmeter_producers.outbox import Outbox
from fleetmeter_producers.packing import Pack, Record, one_each

_logger = logging.getLogger(__name__)

_TAKE: Final = 1_000
_IDLE_WAIT_S: Final = 1.0  # an append or a wake ends it at once
_REST_S: Final = 0.02  # at least, while records are in flight
_REST_LIMIT_S: Final = 0.2  # librdkafka has enough to send meanwhile, and the outbox room for what comes
_REST_TO_WORK: Final = 2
_SETTLED_AT_ONCE: Final = 100  # whoever appends waits meanwhile
_QUEUE_FULL_WAIT_S: Final = 0.05
_PURGE_WAIT_S: Final = 5.0
_WARN_EVERY_S: Final = 10.0


_Report = tuple[tuple[int, ...], Any]
"""Positions of the events in a record, and what `failure_of` says: None if the broker has them."""


class Sender:
    """Sends what the outbox holds until stopped. `start` and `stop` once each, from one thread."""

    def __init__(
        self,
        outbox: Outbox,
        topic: str,
        key: bytes,
        config: Mapping[str, Any],
        *,
        connect: Connect,
        retry_wait_s: float,
        retry_wait_limit_s: float,
        pack: Pack = one_each,
        inside: AbstractContextManager[object] | None = None,
        first: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pack` makes records of what is taken from the outbox. The thread lives within `inside`, and calls `first` at
        the beginning of each turn, and while it waits in the middle of one. `delivered` and `failed_deliveries` count
        events."""
        self.delivered = 0
        self.failed_deliveries = 0
        self.last_error: str | None = None
        self._outbox = outbox
        self._topic = topic
        self._key = key
        self._config = config
        self._connect = connect
        self._pack = pack
        self._inside = inside or nullcontext()
        self._first = first
        self._first_wait_s = retry_wait_s
        self._wait_limit_s = retry_wait_limit_s
        self._clock = clock
        self._producer: KafkaProducer | None = None
        self._in_flight: set[int] = set()
        self._delayed: list[tuple[float, tuple[int, ...]]] = []  # heap of (when to try again, positions)
        self._retry_wait_s = retry_wait_s
        self._warn_at = 0.0
        self._watch = Watch(config, clock)
        self._useless = ""
        """What befell the producer, if it won't deliver any more."""
        self._reports: list[_Report] = []
        self._draining = False
        self._hurried = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleetmeter-sender", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def hurry(self) -> None:
        """Try again now what waits after a failure, and don't rest before all is on its way: somebody wants it
        drained."""
        self._hurried.set()
        self._outbox.wake()

    def stop(self, wait_s: float) -> bool:
        """Stop sending, waiting up to `wait_s` for the thread; False if it has not ended by then. What is not
        acknowledged stays in the outbox."""
        self._stopping.set()
        self._hurried.set()
        self._outbox.wake()
        self._thread.join(wait_s)
        return not self._thread.is_alive()

    def is_this_thread(self) -> bool:
        """Whether the caller is the thread that sends."""
        return threading.current_thread() is self._thread

    def abandon(self) -> None:
        """Forget the parent's producer in a forked child: its threads don't exist here, and destroying it would wait
        for them. One reference is therefore never given up."""
        if self._producer is not None:
            import ctypes  # noqa: PLC0415  (few processes fork after their first event)

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._producer))

    def _run(self) -> None:
        with self._inside:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except Exception as error:
                    # The thread must outlive every surprise: without it, events would pile up unsent.
                    _logger.exception("sending to %s stumbled; a new Kafka producer takes over", self._topic)
                    self.last_error = words_of(error)
                    self._give_up()
                    self._stopping.wait(self._longer_wait())
            self._give_up()

    def _turn(self) -> None:
        self._first()
        if self._useless:
            _logger.warning(
                "Kafka's producer for %s %s; a new one takes over: %s", self._topic, self._useless, self.last_error
            )
            self._give_up()
            # The next one may fail the same way, as without the right to write: brokers need not see it at once.
            self._hurried.wait(self._longer_wait())
            if self._stopping.is_set():
                return
        if self._producer is None:
            self._producer = self._connect({**self._config, "error_cb": self._on_error})
            self._watch.connected()
        self._resume_delayed()
        entries = self._outbox.take(_TAKE, self._idle_wait_s())
        began = self._clock()
        # Noted before the first is sent: should sending stumble in between, all of them are given back.
        self._in_flight.update(entry.position for entry in entries)
        for record in self._pack(entries):
            self._send(self._producer, record)
        self._serve_reports(self._producer, 0.0)
        if len(entries) < _TAKE:
            self._draining = False
        if self._in_flight and not self._draining and not self._outbox.is_filling():
            self._rest(self._clock() - began)

    def _rest(self, worked_s: float) -> None:
        if not self._stopping.is_set():  # what ended an earlier rest may have been the stop
            self._hurried.wait(min(max(_REST_S, _REST_TO_WORK * worked_s), _REST_LIMIT_S))

    def _idle_wait_s(self) -> float:
        if self._in_flight:
            return 0.0
        if self._delayed:
            return min(_IDLE_WAIT_S, max(0.0, self._delayed[0][0] - self._clock()))
        return _IDLE_WAIT_S

    def _resume_delayed(self) -> None:
        until = self._clock()
        if self._hurried.is_set():
            self._hurried.clear()
            self._draining = True
            until = float("inf")
        due: list[int] = []
        while self._delayed and self._delayed[0][0] <= until:
            due.extend(heapq.heappop(self._delayed)[1])
        if due:
            self._outbox.give_back(due)

    def _send(self, producer: KafkaProducer, record: Record) -> None:
        report = partial(_note, self._reports, record.positions)
        while not self._stopping.is_set():
            try:
                producer.produce(self._topic, record.value, self._key, on_delivery=report)
            except BufferError:  # librdkafka's queue is full: the outbox holds the rest
                self._first()  # that may last as long as the broker is away
                self._serve_reports(producer, _QUEUE_FULL_WAIT_S)
            except Exception as error:
                if not is_too_large(error):
                    raise
                # An earlier process, with higher limits, may have left it. The others go on.
                self._delay(record.positions, error)
                return
            else:
                return

    def _serve_reports(self, producer: KafkaProducer, wait_s: float) -> None:
        """Do what delivery reports ask for, waiting for the first: the broker has the events, or they wait."""
        producer.poll(wait_s)
        reports = self._reports[:]
        del self._reports[: len(reports)]
        delivered: list[int] = []
        for positions, error in reports:
            if self._watch.is_stuck(error):
                self._useless = "delivers nothing any more"
            if error is None:
                delivered.extend(positions)
                self.last_error = None
                self._retry_wait_s = self._first_wait_s
            else:
                self._delay(positions, error)
        for begin in range(0, len(delivered), _SETTLED_AT_ONCE):
            some = delivered[begin : begin + _SETTLED_AT_ONCE]
            self._in_flight.difference_update(some)
            self.delivered += len(some)
            self._outbox.acknowledge(some)

    def _delay(self, positions: tuple[int, ...], error: Any) -> None:
        """The broker does not have these events; they are sent again, later. `error` is a KafkaError, an exception that
        carries one, or a text."""
        self._in_flight.difference_update(positions)
        self.failed_deliveries += len(positions)
        self.last_error = words_of(error)
        now = self._clock()
        if now >= self._warn_at:
            _logger.warning("could not deliver to %s; will send again: %s", self._topic, self.last_error)
            self._warn_at = now + _WARN_EVERY_S
            self._longer_wait()
        heapq.heappush(self._delayed, (now + self._retry_wait_s, positions))

    def _on_error(self, error: Any) -> None:
        """librdkafka's own errors: brokers that can't be reached it tries again by itself; fatal ones end it."""
        self.last_error = words_of(error)
        if error.fatal():
            self._useless = "failed for good"

    def _longer_wait(self) -> float:
        wait_s = self._retry_wait_s
        self._retry_wait_s = min(2 * wait_s, self._wait_limit_s)
        return wait_s

    def _give_up(self) -> None:
        """Give the producer up, and everything that it has not delivered back to the outbox."""
        producer = self._producer
        if producer is not None and self._in_flight:
            try:
                self._purge(producer)
            except Exception:
                _logger.exception("what Kafka's producer for %s had taken is sent again", self._topic)
        self._producer = None
        self._reports = []  # what the old one still reports goes nowhere: its entries are given back
        delayed = [position for _, positions in self._delayed for position in positions]
        self._outbox.give_back([*self._in_flight, *delayed])
        self._in_flight.clear()
        self._delayed.clear()
        self._useless = ""

    def _purge(self, producer: KafkaProducer) -> None:
        """Hear what became of everything that a producer took."""
        producer.purge()
        deadline = self._clock() + _PURGE_WAIT_S
        while len(producer) and self._clock() < deadline:
            self._serve_reports(producer, _QUEUE_FULL_WAIT_S)


def _note(reports: list[_Report], positions: tuple[int, ...], error: Any, message: Any) -> None:
    """What librdkafka calls for each record: as little as can be, for it holds the interpreter's lock each time."""
    reports.append((positions, failure_of(error, message)))
