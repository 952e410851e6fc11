"""Producers of every kind, each in a thread, each with a share of the cargo.

steady         the product's own settings: idempotent, all acknowledgements
careless       not idempotent: retries write twice, some records are sent twice, old batches are sent again
restarting     dies with records on the way, starts again from what was acknowledged, and a little before
transactional  commits some batches and aborts others; what was aborted is never sent again, and must not count

Each of them repeats what it does not know to be acknowledged, so that in the end every event that it meant to send is.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Final, Literal

from confluent_kafka import KafkaException, Producer
from fleetmeter_producers.kafka import ONE_AT_A_TIME, failure_of
from fleetmeter_producers.settings import ClientSettings
from fleetmeter_producers.simulator.planned import Record

from fleetmeter_chaos.cargo import Cargo
from fleetmeter_chaos.story import Story

Kind = Literal["steady", "careless", "restarting", "transactional"]
KINDS: Final[tuple[Kind, ...]] = ("steady", "careless", "restarting", "transactional")
_ANSWER_LIMIT_S: Final = 30.0
_OPENING: Final = 0.15
"""The share of the records that comes before the faults begin."""


class Fleet:
    """The producers of one schedule. `start` them; when they have `finished`, what was to be sent is acknowledged."""

    def __init__(
        self, bootstrap: str, topic: str, cargo: Cargo, kinds: Sequence[Kind], seed: int, story: Story
    ) -> None:
        self._bootstrap, self._topic, self._cargo, self._story = bootstrap, topic, cargo, story
        self.hurry = threading.Event()
        """Set it to end the pauses between records."""
        self.opened = threading.Event()
        """Set it to send more than the first few records."""
        self._sent = itertools.count()
        self._errors: list[BaseException] = []
        self._errors_told: set[str] = set()
        shares: dict[Kind, list[Record]] = {kind: [] for kind in kinds}
        # A source's events stay with one producer: aborted ones must not be somebody else's duplicates.
        homes: dict[bytes, Kind] = {}
        rng = Random(seed)
        for record in cargo.records:
            shares[homes.setdefault(record.key, rng.choice(list(kinds)))].append(record)
        self._threads = [
            threading.Thread(target=self._run, args=(kind, share, rng.getrandbits(32)), name=kind, daemon=True)
            for kind, share in shares.items()
        ]
        self._pace_s = 0.0

    def start(self, span_s: float) -> None:
        """Send for about so long."""
        self._pace_s = span_s / max(len(self._cargo.records), 1) * len(self._threads)
        for thread in self._threads:
            thread.start()

    def finished(self) -> bool:
        """Whether everything is acknowledged; from the first time that it is asked, the rest is sent at once."""
        self.hurry.set()
        if self._errors:
            raise self._errors[0]
        return not any(thread.is_alive() for thread in self._threads)

    def _run(self, kind: Kind, share: list[Record], seed: int) -> None:
        rng = Random(seed)
        try:
            match kind:
                case "steady":
                    self._send_until_acknowledged(self._options(), share)
                case "careless":
                    self._careless(share, rng)
                case "restarting":
                    self._restarting(share, rng)
                case "transactional":
                    self._transactional(share, rng)
        except BaseException as error:  # noqa: BLE001  (a thread's end is told to the schedule)
            self._errors.append(error)

    def _options(self, **more: Any) -> dict[str, Any]:
        plain = ClientSettings(linger_ms=5, delivery_timeout_s=10).librdkafka(self._bootstrap)
        return {
            **plain,
            "log_level": 0,
            "error_cb": self._on_error,
            "reconnect.backoff.max.ms": 200,
            "retry.backoff.ms": 50,
            **more,
        }

    def _on_error(self, error: Any) -> None:
        """Once of each kind: a client whose broker is away says so a hundred times a second."""
        if error.name() not in self._errors_told:
            self._errors_told.add(error.name())
            self._story.tell("producer", error.str())

    def _send_until_acknowledged(self, options: dict[str, Any], share: Iterable[Record]) -> None:
        left = list(share)
        while left:
            left = self._send(Producer(options), left)

    def _send(self, producer: Producer, share: Sequence[Record], *, abandon_at: int | None = None) -> list[Record]:
        """Send; what was not acknowledged. With `abandon_at` the producer dies after so many records, as a process
        does: what is on its way may arrive or not."""
        unknown = dict(enumerate(share))
        for number, record in enumerate(share):
            if number == abandon_at:
                producer.purge()
                break
            self._produce(
                producer,
                record,
                lambda error, message, number=number: failure_of(error, message) or unknown.pop(number),
            )
            self._pause(producer)
        deadline = time.monotonic() + _ANSWER_LIMIT_S
        while len(producer) and time.monotonic() < deadline:
            producer.poll(0.1)
        for number in range(len(share)):
            if number not in unknown:
                self._cargo.acknowledged(share[number])
        return list(unknown.values())

    def _pause(self, producer: Producer) -> None:
        if next(self._sent) >= len(self._cargo.records) * _OPENING:
            self._wait_until_opened(producer)
        producer.poll(0 if self.hurry.is_set() else self._pace_s)

    def _wait_until_opened(self, producer: Producer) -> None:
        while not (self.opened.is_set() or self.hurry.is_set()):
            producer.poll(0.05)

    def _produce(self, producer: Producer, record: Record, on_delivery: Any = None) -> None:
        while True:
            try:
                producer.produce(self._topic, record.value, record.key, on_delivery=on_delivery)
            except BufferError:
                producer.poll(0.1)
            else:
                return

    def _careless(self, share: list[Record], rng: Random) -> None:
        options = self._options(
            **{"enable.idempotence": False, "request.timeout.ms": 1_000, "socket.timeout.ms": 1_000}
        )
        twice = [record for record in share for _ in range(2 if rng.random() < 0.1 else 1)]
        self._send_until_acknowledged(options, twice)
        if share:
            first = rng.randrange(len(share))
            old = share[first : first + 30]
            self._story.tell("careless", f"sends an old batch of {len(old)} records again", "old batch sent again")
            self._send_until_acknowledged(options, old)

    def _restarting(self, share: list[Record], rng: Random) -> None:
        left = list(share)
        while left:
            abandon_at = rng.randrange(20, 80)
            if abandon_at >= len(left) or self.hurry.is_set():
                self._send_until_acknowledged(self._options(), left)
                return
            unknown = self._send(Producer(self._options()), left, abandon_at=abandon_at)
            again = left[: rng.randrange(10)]
            self._story.tell(
                "restarting",
                f"producer died with {len(unknown)} to send; the next one also sends {len(again)} again",
                "producer restarted",
            )
            left = [*again, *unknown]

    def _transactional(self, share: list[Record], rng: Random) -> None:
        name = f"{self._topic}-{rng.getrandbits(32)}"
        options = self._options(**{"transactional.id": name, "transaction.timeout.ms": 10_000, **ONE_AT_A_TIME})
        producer: Producer | None = None
        for start in range(0, len(share), 20):
            batch, abort = share[start : start + 20], rng.random() < 0.4
            # A duplicate of what was committed before may be aborted; an original whose duplicate comes later not.
            try:
                if producer is None:
                    producer = Producer(options)
                    producer.init_transactions(_ANSWER_LIMIT_S)
                if start:
                    self._wait_until_opened(producer)
                self._transaction(producer, batch, abort=abort)
            except KafkaException as error:
                self._story.tell("transactional", f"lost its transaction: {error.args[0].str()}; sends without")
                producer = None
                if not abort:
                    self._send_until_acknowledged(self._options(), batch)
        if producer is None:
            # The transaction that was lost ends with its successor's first word.
            Producer(options).init_transactions(_ANSWER_LIMIT_S)

    def _transaction(self, producer: Producer, batch: list[Record], *, abort: bool) -> None:
        producer.begin_transaction()
        for record in batch:
            self._produce(producer, record)
            producer.poll(0 if self.hurry.is_set() else self._pace_s)
        producer.flush(_ANSWER_LIMIT_S)
        if abort:
            producer.abort_transaction(_ANSWER_LIMIT_S)
            self._story.tell("transactional", f"aborted {len(batch)} records", "transaction aborted")
            return
        producer.commit_transaction(_ANSWER_LIMIT_S)
        for record in batch:
            self._cargo.acknowledged(record)
        self._story.tell("transactional", f"committed {len(batch)} records", "transaction committed")
