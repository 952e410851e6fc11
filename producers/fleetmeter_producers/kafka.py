"""The few things asked of confluent-kafka, imported when a producer is made and not before: it costs 60 ms."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from fleetmeter_producers.errors import ClientSettingsError

_logger = logging.getLogger(__name__)

_MSG_SIZE_TOO_LARGE = 10  # of Kafka's protocol
_MSG_TIMED_OUT = -192  # of librdkafka's own
_MESSAGE_TIMEOUT_MS = 300_000  # librdkafka's default

DeliveryReport = Callable[[Any, Any], None]
"""Called with (KafkaError or None, Message) for each record, from within `poll`."""


class KafkaProducer(Protocol):
    """confluent_kafka.Producer, as far as it is used here."""

    def produce(self, topic: str, value: bytes | None, key: bytes, on_delivery: DeliveryReport) -> None:
        """Queue a record; raises BufferError when the queue is full, KafkaException for one that is too large."""

    def poll(self, timeout: float) -> int:
        """Serve delivery reports, waiting up to `timeout` s for the first."""

    def purge(self, in_queue: bool = True, in_flight: bool = True) -> None:
        """Give up what is queued; delivery reports follow."""

    def __len__(self) -> int:
        """Records without a delivery report."""


Connect = Callable[[Mapping[str, Any]], KafkaProducer]


def connect(config: Mapping[str, Any]) -> KafkaProducer:
    """A producer of librdkafka. It connects in the background; raises `ClientSettingsError` for a bad option."""
    from confluent_kafka import KafkaException, Producer  # noqa: PLC0415  (see the module's docstring)

    try:
        # Its log lines go where the application's go, not to standard error.
        producer: KafkaProducer = Producer({"logger": _logger, **config})
    except (KafkaException, TypeError, ValueError) as error:
        raise ClientSettingsError(f"librdkafka refuses the settings: {words_of(error)}") from error
    return producer


ONE_AT_A_TIME: Final = MappingProxyType({"max.in.flight.requests.per.connection": 1})
"""Options of a producer that reports none as delivered but what the broker has: see `failure_of`."""

_UNCONFIRMED: Final = "no broker has confirmed the record: librdkafka infers from a later one that it has arrived"


def failure_of(error: Any, message: Any) -> Any:
    """What speaks against a record's having arrived, of a delivery report's (KafkaError or None, Message): a KafkaError
    or a text; None if the broker has it.

    librdkafka reports a batch that the broker has refused as delivered when the next one, which was on its way already,
    is accepted: a broker would not have taken that out of order. But from a producer that it does not know yet it takes
    any, so after a change of leaders the first batch is lost: confluentinc/confluent-kafka-go#921. Only the offset of a
    record proves that there is one. To send what is there already does no harm: its id is counted once.
    """
    return _UNCONFIRMED if error is None and message.offset() is None else error


def is_too_large(error: Any) -> bool:
    """Whether a KafkaError, or an exception that carries one, says that a record is too large."""
    return _code_of(error) == _MSG_SIZE_TOO_LARGE


class Watch:
    """Tells a producer that has got stuck from one whose brokers are slow.

    librdkafka (2.13 to 2.16, and its main branch in 2026) may forget all brokers while a cluster starts again, and
    never connect any more: confluentinc/librdkafka#5301, #5606. Nothing but another producer helps. All that it says is
    that records have timed out, which those of a slow partition do, too; but then others arrive.
    """

    def __init__(self, config: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self._limit_s = config.get("message.timeout.ms", _MESSAGE_TIMEOUT_MS) / 1000
        self._clock = clock
        self._since = clock()

    def connected(self) -> None:
        """A new producer has all the time again."""
        self._since = self._clock()

    def is_stuck(self, error: Any) -> bool:
        """Hears a report's error, or None. Whether nothing has arrived for as long as records may take."""
        if error is None:
            self._since = self._clock()
        return _code_of(error) == _MSG_TIMED_OUT and self._clock() - self._since >= self._limit_s


def _code_of(error: Any) -> int | None:
    cause: Any = error.args[0] if isinstance(error, Exception) and error.args else error
    return cause.code() if callable(getattr(cause, "code", None)) else None


def words_of(error: Any) -> str:
    """What a KafkaError, or an exception that carries one, says in words."""
    cause: Any = error.args[0] if isinstance(error, Exception) and error.args else error
    return str(cause.str()) if callable(getattr(cause, "str", None)) else str(cause)
