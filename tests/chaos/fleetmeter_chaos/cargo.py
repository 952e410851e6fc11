"""What a schedule sends: a simulated fleet's records, the oracle that counts what is acknowledged, and the records by
their bytes, so that the log can be judged by what was meant and not by what the pipeline made of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from fleetmeter_producers.simulator import Oracle, SimulationConfig, records
from fleetmeter_producers.simulator.planned import Broken, Planned, Record
from fleetmeter_producers.wire import micros_of
from fleetmeter_schemas.reasons import Reason

EVENT_LIMIT_BYTES = 8_192
RECORD_LIMIT_BYTES = 65_536
MOST_EVENTS = 10_000
"""Of all cargoes of one schedule."""
_OVERSIZED_EVERY = 150
"""Records; so often one comes that is too large as a whole."""


@dataclass
class Cargo:
    """Records to send. `acknowledged` is told by producers, from any thread, what the broker has."""

    records: list[Record]
    oracle: Oracle
    by_value: dict[bytes | None, Record]
    numbers: int
    """All good events have lower numbers."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    acknowledged_records: list[Record] = field(default_factory=list)

    def acknowledged(self, record: Record) -> None:
        """The broker has told a producer that it has the record."""
        with self._lock:
            self.oracle.acknowledge(record.items)
            self.acknowledged_records.append(record)

    def another(self, seed: int, events: int, end: datetime) -> Cargo:
        """More to send: other events of other sources, and some of these again. One oracle counts both."""
        fresh = load_cargo(seed, events, end, first_number=self.numbers)
        old = self.records[: len(self.records) // 3]
        acknowledged = {id(record) for record in self.acknowledged_records}
        again = [record for record in old if id(record) in acknowledged]
        made = [*fresh.records[: len(again)], *again, *fresh.records[len(again) :]]
        return Cargo(made, self.oracle, self.by_value | fresh.by_value, fresh.numbers, self._lock)

    def numbers_acknowledged(self) -> set[int]:
        """The good events among them, by their numbers."""
        with self._lock:
            return numbers_of(self.acknowledged_records)


def load_cargo(seed: int, events: int, end: datetime, *, first_number: int = 0) -> Cargo:
    """A fleet's records in every wire format, with duplicates, late and malformed events among them. Good events are
    numbered from `first_number` on."""
    config = SimulationConfig(
        events=events,
        seed=seed,
        end=end,
        span_s=300,
        accounts=5,
        servers=8,
        bodies_per_server=12,
        duplicate_rate=0.05,
        malformed_rate=0.03,
        foreign_rate=0.4,
        wire_formats={"json": 4, "ndjson": 1, "array": 1, "arrow": 1},
        batch_events=5,
        event_limit_bytes=EVENT_LIMIT_BYTES,
    )
    made = [_renumbered(record, first_number) for record in _with_oversized(records(config, micros_of(end)))]
    return Cargo(made, Oracle(MOST_EVENTS), {record.value: record for record in made}, first_number + events)


def _with_oversized(plain: Iterable[Record]) -> Iterable[Record]:
    for number, record in enumerate(plain):
        yield record
        if number % _OVERSIZED_EVERY == _OVERSIZED_EVERY // 2:
            value = b"%d " % number + b"x" * RECORD_LIMIT_BYTES
            yield Record(record.key, value, (Broken(Reason.TOO_LARGE),))


def _renumbered(record: Record, first_number: int) -> Record:
    if not first_number:
        return record
    items = tuple(
        item._replace(number=item.number + first_number) if isinstance(item, Planned) else item for item in record.items
    )
    return record._replace(items=items)


def numbers_of(some: Iterable[Record]) -> set[int]:
    """The numbers of the good events in records."""
    return {item.number for record in some for item in record.items if isinstance(item, Planned)}
