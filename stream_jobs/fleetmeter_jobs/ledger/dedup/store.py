"""What sealing, looking up, expiring and restoring need of a store, beside commits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fleetmeter_jobs.ledger.dedup.manifest import Content, IdsSum, Manifest
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import LedgerStore


class DedupStore(LedgerStore, Protocol):
    """ClickHouse, as far as remembering goes; what `LedgerStore` says of threads and errors holds here too. Rows are
    written with `insert_side_rows`.

    Deleting only gives space back: whoever deletes has made sure that nobody needs it. Deleting again is harmless, and
    a deletion that was cut short leaves any part of it.
    """

    def manifests(self, partition: PartitionId) -> list[Manifest]:
        """All that are complete, several versions of one included, in no order."""
        ...

    def content(self, manifest: Manifest) -> Content | None:
        """What belongs to a manifest; None if it is no longer there. Its digest is checked."""
        ...

    def ids_sum(self, partition: PartitionId, first_offset: int, next_offset: int) -> IdsSum:
        """Of the ids that are there for a chunk."""
        ...

    def known_ids(self, partition: PartitionId, first_offset: int, next_offset: int, fingerprints: bytes) -> bytes:
        """Those of the (concatenated) fingerprints that a chunk has, each once, in any order."""
        ...

    def is_remembered(self, chunk: Manifest) -> bool:
        """Whether a chunk's ids are still there: it is, and nobody has begun to forget it."""
        ...

    def delete_blobs(self, partition: PartitionId, before: int) -> None:
        """Delete the blobs of commits that began before an offset; nothing else of the ledger. Returns when they are
        gone."""
        ...

    def delete_manifests(self, manifests: Sequence[Manifest]) -> None:
        """Delete these versions, and no others."""
        ...

    def delete_ids(self, partition: PartitionId, before_day: int) -> None:
        """Delete the ids of chunks whose newest event was appended before a day, counted from 1970-01-01 (UTC)."""
        ...
