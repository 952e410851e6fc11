"""Sending many ready-made records, and knowing of each whether the broker has it.

For the simulator and the replay, which make more events than a client's outbox should hold, on purpose send some twice
or broken, and must know what was acknowledged. Kafka's settings are the client's.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.kafka import ONE_AT_A_TIME, Connect, connect, failure_of, words_of
from fleetmeter_producers.settings import ClientSettings

Progress = Callable[[int, int], None]
"""Called now and then with how much is done, and out of how much."""

_POLL_EVERY: Final = 128  # records; reports are served in between
_QUEUE_FULL_WAIT_S: Final = 0.05
_FINISH_WAIT_S: Final = 0.1
Token = TypeVar("Token")


class RecordSender(Generic[Token]):
    """Sends records from one thread, and calls `on_acknowledged(token)` from it for each that the broker has.

    The first record that is not acknowledged within `settings.delivery_timeout_s` ends it: `send` and `finish` raise
    `UndeliveredError`.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        on_acknowledged: Callable[[Token], None],
        *,
        settings: ClientSettings | None = None,
        connect: Connect = connect,
    ) -> None:
        settings = settings or ClientSettings()
        self._bootstrap = bootstrap
        self._topic = topic
        self._on_acknowledged = on_acknowledged
        self._producer = connect({**settings.librdkafka(bootstrap), **ONE_AT_A_TIME, "error_cb": self._on_error})
        # A key's records go to one partition, whose reports come in the order of sending. A queue of tokens for each
        # key is several times cheaper than a callback of its own for each record.
        self._tokens: defaultdict[bytes, deque[Token]] = defaultdict(deque)
        self._problem: str | None = None
        self._connection_problem: str | None = None
        self.sent = 0
        self.acknowledged = 0

    def send(self, key: bytes, value: bytes | None, token: Token) -> None:
        """Queue a record, waiting while the queue is full."""
        while True:
            if self._problem is not None:
                raise self._undelivered()
            try:
                self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
            except BufferError:
                self._producer.poll(_QUEUE_FULL_WAIT_S)
            except Exception as error:
                # The producer may have ended for good in librdkafka's own thread. What for is still to be served.
                self._producer.poll(0)
                if self._problem is None:
                    raise
                raise self._undelivered() from error
            else:
                break
        self._tokens[key].append(token)
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

    def _on_delivery(self, error: Any, message: Any) -> None:
        token = self._tokens[message.key()].popleft()
        error = failure_of(error, message)
        if error is None:
            self.acknowledged += 1
            self._on_acknowledged(token)
        elif self._problem is None:
            self._problem = words_of(error)

    def _on_error(self, error: Any) -> None:
        """librdkafka keeps trying when a broker is away or refuses the login; the records' own error is a time-out. A
        fatal error, such as a missing right to write, ends its producer."""
        if error.fatal() and self._problem is None:
            self._problem = words_of(error)
        else:
            self._connection_problem = words_of(error)

    def _undelivered(self) -> UndeliveredError:
        # What is still queued must not arrive after this was reported.
        self._producer.purge()
        self._producer.poll(0)
        connection = f" (of the connection: {self._connection_problem})" if self._connection_problem else ""
        return UndeliveredError(
            f"{self._bootstrap} acknowledged {self.acknowledged} of {self.sent} records for {self._topic}; the first "
            f"problem was: {self._problem or 'reports are missing'}{connection}. Whether the others arrived is not "
            "known; the same events sent again are not counted twice."
        )
