"""Records to Kafka, with a receipt that comes when the broker has acknowledged all of a request.

acks=all and idempotent, as the client's sender. Nothing is sent again here beyond librdkafka's own tries: a request
that fails is the caller's to repeat, and its events keep their ids. After an error that librdkafka calls fatal, and
where nothing arrives any more, a new producer takes over; what the old one had fails, and with it the requests that
wait for it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.kafka import Connect, KafkaProducer, Watch, connect, failure_of, words_of

_logger = logging.getLogger(__name__)

_POLL_S: Final = 0.1
_PURGE_WAIT_S: Final = 5.0
_REPLACE_WAIT_S: Final = 1.0
_REPLACE_LIMIT_S: Final = 30.0
_WARN_EVERY_S: Final = 10.0
_TROUBLE_S: Final = 15.0
"""How long an error counts that nothing followed. While brokers are away, librdkafka complains more often than that."""


class Receipt:
    """Waits for the acknowledgement of a request's records. Made on the event loop that awaits it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._lock = threading.Lock()
        self._open = 0
        self._error: str | None = None

    def expect(self, records: int) -> None:
        """So many reports are still to come. Called before the first of them can."""
        with self._lock:
            self._open += records

    def report(self, error: str | None) -> None:
        """A record was acknowledged, or failed with an error. Called from any thread."""
        with self._lock:
            self._open -= 1
            self._error = self._error or error
            last = self._open == 0
        if last:
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if self._done.done():
            return
        if self._error is None:
            self._done.set_result(None)
        else:
            self._done.set_exception(UndeliveredError(self._error))

    async def acknowledged(self, timeout_s: float) -> None:
        """Returns when the broker has all records. Raises `UndeliveredError` if it refused one, or did not answer in
        time: then it is not known which of them it has."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._done
        except TimeoutError as error:
            raise UndeliveredError(f"the broker has not acknowledged {self._open} records in {timeout_s} s") from error


class Delivery:
    """One Kafka producer and the thread that hears its reports. `send` may be called from any thread."""

    def __init__(
        self,
        topic: str,
        config: Mapping[str, Any],
        *,
        connect: Connect = connect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trouble: tuple[float, str] | None = None
        self._clock = clock
        self._topic = topic
        self._config = {**config, "error_cb": self._on_error}
        self._connect = connect
        self._producer = connect(self._config)
        self._watch = Watch(config, clock)
        self._changing = threading.Lock()
        self._useless = ""
        """What befell the producer, if it won't deliver any more."""
        self._replace_at, self._replace_wait_s = 0.0, _REPLACE_WAIT_S
        self._warn_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fleetmeter-delivery", daemon=True)

    def trouble(self) -> str | None:
        """What Kafka refuses, in words; None if it took the last record, or has not complained for a while: who is not
        sent anything because of an old error would never learn that it has passed."""
        trouble = self._trouble
        return trouble[1] if trouble and self._clock() - trouble[0] < _TROUBLE_S else None

    def start(self) -> None:
        """Start hearing reports."""
        self._thread.start()

    def send(self, records: Sequence[tuple[bytes, bytes]], receipt: Receipt) -> None:
        """Queue the (key, value) records of a request; the receipt tells of them. An error settles it, too."""
        receipt.expect(len(records))
        for number, (key, value) in enumerate(records):
            try:
                with self._changing:
                    self._producer.produce(self._topic, value, key, on_delivery=partial(self._on_report, receipt))
            except Exception as error:  # noqa: BLE001  (whatever it is, the caller is told by the receipt)
                self._note(words_of(error))
                for _ in records[number:]:
                    receipt.report(words_of(error))
                return

    def stop(self, timeout_s: float) -> int:
        """Wait until nothing is in the queue, at most `timeout_s`, and stop; returns how many records were left. Nobody
        was told that they have arrived."""
        deadline = time.monotonic() + timeout_s
        while len(self._producer) and time.monotonic() < deadline:
            self._stopping.wait(_POLL_S / 10)
        left = len(self._producer)
        self._stopping.set()
        self._thread.join(timeout=2 * _POLL_S + 1)
        return left

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._producer.poll(_POLL_S)
                if self._useless and self._clock() >= self._replace_at:
                    self._replace()
            except Exception:
                # Without this thread no request would ever be answered: it must outlive every surprise.
                _logger.exception("hearing Kafka's reports for %s stumbled", self._topic)
                self._stopping.wait(_POLL_S)

    def _replace(self) -> None:
        # The next one may fail the same way, as without the right to write: brokers need not see it ten times a second.
        self._replace_at = self._clock() + self._replace_wait_s
        self._replace_wait_s = min(2 * self._replace_wait_s, _REPLACE_LIMIT_S)
        _logger.warning(
            "Kafka's producer for %s %s; a new one takes over: %s", self._topic, self._useless, self.trouble()
        )
        with self._changing:
            old, self._producer = self._producer, self._connect(self._config)
            self._watch.connected()
            self._useless = ""
        _drain(old)

    def _on_report(self, receipt: Receipt, error: Any, message: Any) -> None:
        error = failure_of(error, message)
        if self._watch.is_stuck(error):
            self._useless = "delivers nothing any more"
        if error is None:
            self._trouble = None
            self._replace_wait_s = _REPLACE_WAIT_S
            receipt.report(None)
            return
        words = words_of(error)
        self._note(words)
        receipt.report(words)

    def _note(self, words: str) -> None:
        now = self._clock()
        self._trouble = (now, words)
        if now >= self._warn_at:
            self._warn_at = now + _WARN_EVERY_S
            _logger.warning("could not deliver to %s: %s", self._topic, words)

    def _on_error(self, error: Any) -> None:
        """librdkafka's own errors: brokers that can't be reached it tries again by itself; fatal ones end it."""
        self._trouble = (self._clock(), words_of(error))
        if error.fatal():
            self._useless = "failed for good"


def _drain(producer: KafkaProducer) -> None:
    """Let everything that a producer still holds fail, and hear of it."""
    producer.purge()
    deadline = time.monotonic() + _PURGE_WAIT_S
    while len(producer) and time.monotonic() < deadline:
        producer.poll(_POLL_S)
