"""What a core's chunks are: the numbers by which the core knows them, and the commits that they stem from.

Plain bookkeeping beside a core, for one Kafka partition and all of its log epochs; and closed ones of other partitions,
if sources may have moved here. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fleetmeter_jobs.ledger.dedup.chunks import BlobStats, Chunk, Cutter
from fleetmeter_jobs.ledger.dedup.manifest import Manifest
from fleetmeter_jobs.ledger.position import PartitionId


@dataclass(slots=True)
class ColdChunk:
    """A chunk whose ids are in the store, and whose filter (or only its hours) is in memory."""

    number: int
    manifest: Manifest
    hours: bytes
    filtered: bool = True
    """Whether its filter is in memory."""


@dataclass(slots=True)
class ExactChunk:
    """A chunk whose ids are all in memory, closed and not sealed yet."""

    number: int
    chunk: Chunk


@dataclass(slots=True)
class ChunkBook:
    """All chunks of a core."""

    partition: int = 0
    """The Kafka partition that is counted."""
    current: int = 0
    """Number of the chunk that new ids go to; a fresh core's is 0."""
    cold: list[ColdChunk] = field(default_factory=list)
    """Oldest first."""
    closed: list[ExactChunk] = field(default_factory=list)
    """Oldest first: the order in which they are sealed."""
    log_starts: dict[PartitionId, int] = field(default_factory=dict)
    """Where each log epoch began, other partitions' included."""
    last_number: int = 0
    append_us: int = 0
    """Append time of the last commit, or the beginning of its day. Not the latest there was: a clock that was ahead for
    a moment must not decide for months what is too old."""
    gone: dict[int, Manifest] = field(default_factory=dict)
    """Chunks that expired last; a lookup in them may still be on its way."""

    def new_number(self) -> int:
        """A number that no chunk has had."""
        self.last_number += 1
        return self.last_number

    def own_first(self) -> None:
        """Have other partitions' chunks sealed after one's own: by then their workers have mostly done it."""
        self.closed.sort(key=lambda one: one.chunk.partition.partition != self.partition)

    def close(self, chunk: Chunk) -> int:
        """The current chunk ends; returns the number of the next one, which the core is to be told."""
        self.closed.append(ExactChunk(self.current, chunk))
        self.current = self.new_number()
        return self.current

    def add_commit(self, cutter: Cutter, next_offset: int, stats: BlobStats, blob_bytes: int) -> int | None:
        """Take in a commit; returns the next chunk's number if it closes the current one."""
        closed = cutter.add(next_offset, stats, blob_bytes)
        return self.close(closed) if closed else None

    def sealed(self, exact: ExactChunk, manifest: Manifest, hours: bytes) -> ColdChunk:
        """A closed chunk was sealed."""
        self.closed.remove(exact)
        made = ColdChunk(exact.number, manifest, hours)
        if manifest.foreign_ids:
            self.cold.append(made)
        return made

    def chunk_of(self, number: int) -> Manifest | None:
        """The cold chunk of a number; None if it expired long ago."""
        return next((one.manifest for one in self.cold if one.number == number), self.gone.get(number))

    def expired(self, before_day: int) -> list[ColdChunk]:
        """Take out the cold chunks whose newest event was appended before a day."""
        gone = [one for one in self.cold if one.manifest.append_day < before_day]
        self.cold = [one for one in self.cold if one.manifest.append_day >= before_day]
        self.gone = {one.number: one.manifest for one in gone} or self.gone
        return gone

    def over_budget(self, limit_bytes: int) -> Iterator[ColdChunk]:
        """The oldest chunks whose filters have no place beside newer ones'."""
        held = 0
        for one in reversed(self.cold):
            held += one.manifest.filter_bytes if one.filtered else 0
            if one.filtered and held > limit_bytes:
                yield one
