"""Sending many ready-made records, and knowing of each whether the broker has it.

For the simulator and the replay, which make more events than a client's outbox should hold, on purpose send some twice
or broken, and must know what was acknowledged. Kafka's settings are the client's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.kafka import Connect, connect, words_of
from fleetmeter_producers.settings import ClientSettings

Progress = Callable[[int, int], None]
"""Called now and then with how much is done, and out of how much."""

_POLL_EVERY: Final = 128  # records; reports are served in between
_QUEUE_FULL_WAIT_S: Final = 0.05
_FINISH_WAIT_S: Final = 0.1
Token = TypeVar("Token")


class RecordSender:
    """Sends records from one thread. The first record that the broker does not acknowledge within
    `settings.delivery_timeout_s` ends it: `send` and `finish` raise `UndeliveredError`."""

    def __init__(
        self, bootstrap: str, topic: str, *, settings: ClientSettings | None = None, connect: Connect = connect
    ) -> None:
        settings = settings or ClientSettings()
        self._bootstrap = bootstrap
        self._topic = topic
        self._producer = connect(settings.librdkafka(bootstrap))
        self._problem: str | None = None
        self.sent = 0
        self.acknowledged = 0

    def send(self, key: bytes, value: bytes | None, token: Token, on_acknowledged: Callable[[Token], None]) -> None:
        """Queue a record, waiting while the queue is full; `on_acknowledged(token)` is called, from this thread, in a
        later call."""
        report = partial(self._on_delivery, on_acknowledged, token)
        while True:
            if self._problem is not None:
                raise self._undelivered()
            try:
                self._producer.produce(self._topic, value, key, on_delivery=report)
            except BufferError:
                self._producer.poll(_QUEUE_FULL_WAIT_S)
            else:
                break
        self.sent += 1
        if not self.sent % _POLL_EVERY:
            self._producer.poll(0)

    def pause(self, seconds: float) -> None:
        """Wait, serving reports meanwhile."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._producer.poll(left)

    def finish(self) -> None:
        """Wait until every record is acknowledged; librdkafka gives up on each after the delivery timeout."""
        while len(self._producer) and self._problem is None:
            self._producer.poll(_FINISH_WAIT_S)
        if self._problem is not None or self.acknowledged != self.sent:
            raise self._undelivered()

    def _on_delivery(self, on_acknowledged: Callable[[Token], None], token: Token, error: Any, _message: Any) -> None:
        if error is None:
            self.acknowledged += 1
            on_acknowledged(token)
        elif self._problem is None:
            self._problem = words_of(error)

    def _undelivered(self) -> UndeliveredError:
        # What is still queued must not arrive after this was reported.
        self._producer.purge()
        self._producer.poll(0)
        return UndeliveredError(
            f"{self._bootstrap} acknowledged {self.acknowledged} of {self.sent} records for {self._topic}; the first "
            f"problem was: {self._problem or 'reports are missing'}. Whether the others arrived is not known; the same "
            "events sent again are not counted twice."
        )
