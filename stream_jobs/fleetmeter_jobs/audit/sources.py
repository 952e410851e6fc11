"""Sources whose events arrive on more than one partition.

Dedup works within a partition: the client library keys its records by source, so that one producer's events, and what
it sends again, meet in one. A foreign producer with another partitioner breaks that; an event that it sends again may
land on another partition, and is then counted once in each. The ledger holds no sources, so this reads the records of
a time range from Kafka: exact for the range, as far back as retention reaches.

Where partitions were added with `fleetmeter topic grow`, sources have moved, and the copies of an event were counted
once in spite of it; only others are reported.

Two passes: the first counts the events of each source on each partition; the second, only over sources found on two or
more, looks for events that lie on more than one. Those are counted more than once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import orjson
import pyarrow as pa
from fleetmeter_schemas.decoding import decode_json

from fleetmeter_jobs.ledger.growth_moves import Move, counted_copies

_ARROW_MARK = b"\xff\xff\xff\xff"
"""First bytes of an Arrow IPC stream."""


@dataclass(frozen=True, slots=True)
class Record:
    """A Kafka record, its value in CloudEvents' structured form (binary mode is rewritten before)."""

    partition: int
    offset: int
    value: bytes | None


@dataclass(slots=True)
class SourceSeen:
    """Where a source's events were found."""

    events: dict[int, int] = field(default_factory=dict)
    """Number of events by partition."""
    first_offsets: dict[int, int] = field(default_factory=dict)
    """An offset to look at, by partition."""
    repeated: dict[str, dict[int, int]] = field(default_factory=dict)
    """Ids that were counted on more than one partition, with an offset on each."""


@dataclass(frozen=True, slots=True)
class SourcesReport:
    """What the records of the range say."""

    records: int
    events: int
    sources: int
    unreadable: int
    """Records in which no source could be read; they are in quarantine."""
    scattered: dict[str, SourceSeen]
    """Sources on more than one partition."""

    @property
    def counted_again(self) -> int:
        """How many times an event was counted beyond its first."""
        return sum(len(places) - 1 for seen in self.scattered.values() for places in seen.repeated.values())


def find_scattered_sources(
    read: Callable[[], Iterable[Record]],
    progress: Callable[[str, int], None] = lambda _what, _records: None,
    moves: Sequence[Move] = (),
) -> SourcesReport:
    """Read the records once, and once more if a source lies on several partitions. `read` gives the same records each
    time, `moves` are the growths of the topic. Memory: an entry a source, and for the scattered ones an entry an event.
    """
    seen: dict[str, SourceSeen] = {}
    records = events = unreadable = 0
    for record in read():
        records += 1
        progress("Reading", records)
        found = list(identities_in(record.value))
        unreadable += not found
        for source, _ in found:
            events += 1
            at = seen.setdefault(source, SourceSeen())
            at.events[record.partition] = at.events.get(record.partition, 0) + 1
            at.first_offsets.setdefault(record.partition, record.offset)
    scattered = {source: at for source, at in seen.items() if len(at.events) > 1}
    if scattered:
        _find_repeated(read, scattered, progress, moves)
    return SourcesReport(records, events, len(seen), unreadable, scattered)


def _find_repeated(
    read: Callable[[], Iterable[Record]],
    scattered: dict[str, SourceSeen],
    progress: Callable[[str, int], None],
    moves: Sequence[Move],
) -> None:
    places: dict[tuple[str, str], dict[int, int]] = {}
    for number, record in enumerate(read(), start=1):
        progress("Comparing", number)
        for identity in identities_in(record.value):
            if identity[0] in scattered:
                places.setdefault(identity, {}).setdefault(record.partition, record.offset)
    for (source, event_id), where in places.items():
        if len(counted := counted_copies(where, moves)) > 1:
            scattered[source].repeated[event_id] = counted


def identities_in(value: bytes | None) -> Iterator[tuple[str, str]]:
    """(source, id) of each event in a record's value, in any of the wire formats; what can't be read is left out."""
    if not value:
        return
    if value.startswith(_ARROW_MARK):
        yield from _arrow_identities(value)
        return
    try:
        whole = decode_json(value)
    except orjson.JSONDecodeError:
        for line in value.splitlines():
            try:
                yield from _of(decode_json(line))
            except orjson.JSONDecodeError:
                continue
        return
    for event in whole if isinstance(whole, list) else [whole]:
        yield from _of(event)


def _of(event: object) -> Iterator[tuple[str, str]]:
    if isinstance(event, dict):
        source, event_id = event.get("source"), event.get("id")
        if isinstance(source, str) and isinstance(event_id, str):
            yield source, event_id


def _arrow_identities(value: bytes) -> Iterator[tuple[str, str]]:
    try:
        with pa.ipc.open_stream(value) as reader:
            for batch in reader:
                batch.validate(full=True)  # without, offsets that point anywhere are followed
                sources, ids = batch.column("source").to_pylist(), batch.column("id").to_pylist()
                for source, event_id in zip(sources, ids, strict=True):
                    if isinstance(source, str) and isinstance(event_id, str):
                        yield source, event_id
    except (pa.ArrowException, KeyError, OSError):  # OSError: a stream that was cut off
        return
