"""Where one chunk of commits ends and the next begins: the same cut, whoever makes it and whenever.

A chunk is the commits of one log from an offset to another. It is closed by the first commit with which it has enough
ids, or enough bytes, or with which a new day began. That depends on nothing but the commits and the settings, so a
worker that runs, one that starts, and one that does not know that it was replaced all cut alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleetmeter_jobs.ledger.position import PartitionId

DAY_S = 86_400
DAY_US = DAY_S * 1_000_000


@dataclass(frozen=True, slots=True)
class BlobStats:
    """What a blob holds (see `fleetmeter_native.blob_stats`)."""

    sequenced_events: int
    foreign_ids: int
    append_day: int
    """Day of the newest append time of its ids, counted from 1970-01-01 (UTC)."""

    @classmethod
    def of(cls, stats: Mapping[str, int]) -> BlobStats:
        """From what the native core says."""
        return cls(stats["sequenced_events"], stats["foreign_ids"], stats["append_day"])

    @property
    def identities(self) -> int:
        """Accepted events, each of which added one identity."""
        return self.sequenced_events + self.foreign_ids


@dataclass(frozen=True, slots=True)
class CutRule:
    """When a chunk is closed, beside at the end of a day."""

    ids: int
    """With so many foreign ids."""
    blob_bytes: int
    """With blobs of so many bytes."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The commits of a log from `first_offset` up to `next_offset`, as far as they accepted something."""

    partition: PartitionId
    first_offset: int
    next_offset: int
    foreign_ids: int = 0
    identities: int = 0
    """Accepted events: foreign and sequenced."""
    blobs: int = 0
    blob_bytes: int = 0
    first_day: int = 0
    """Append day of the first commit's newest event; 0 without commits."""
    append_day: int = 0
    """Newest append day; the chunk expires with it."""

    def __str__(self) -> str:
        return f"{self.partition}, chunk of offsets {self.first_offset} to {self.next_offset}"


class Cutter:
    """Cuts one log's commits into chunks. Not thread-safe."""

    def __init__(self, rule: CutRule, partition: PartitionId, first_offset: int) -> None:
        self._rule = rule
        self.open = Chunk(partition, first_offset, first_offset)
        """The chunk that grows."""

    def add(self, next_offset: int, stats: BlobStats, blob_bytes: int) -> Chunk | None:
        """Take in the next commit that has a blob; returns the chunk that it closes, if it does."""
        grown = self.open
        self.open = replace(
            grown,
            next_offset=next_offset,
            foreign_ids=grown.foreign_ids + stats.foreign_ids,
            identities=grown.identities + stats.identities,
            blobs=grown.blobs + 1,
            blob_bytes=grown.blob_bytes + blob_bytes,
            first_day=grown.first_day or stats.append_day,
            append_day=max(grown.append_day, stats.append_day),
        )
        return self.close() if self._full() else None

    def close(self) -> Chunk | None:
        """End the chunk here, because the log ends; None if nothing is in it."""
        if not self.open.blobs:
            return None
        closed = self.open
        self.open = Chunk(closed.partition, closed.next_offset, closed.next_offset)
        return closed

    def _full(self) -> bool:
        chunk, rule = self.open, self._rule
        return (
            chunk.foreign_ids >= rule.ids or chunk.blob_bytes >= rule.blob_bytes or chunk.append_day > chunk.first_day
        )
