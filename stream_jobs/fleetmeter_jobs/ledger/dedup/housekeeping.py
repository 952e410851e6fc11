"""What a worker does for a partition's memory in the background: seal one chunk, then let go what is too old."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.dedup.chain import floor_of
from fleetmeter_jobs.ledger.dedup.chunks import Chunk
from fleetmeter_jobs.ledger.dedup.expiry import expire
from fleetmeter_jobs.ledger.dedup.native import Native
from fleetmeter_jobs.ledger.dedup.seal import Sealed, seal
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.position import PartitionId


@dataclass(frozen=True, slots=True)
class Kept:
    """What the store remembers now."""

    sealed: Sealed
    forgotten_before: int
    """Chunks and producers whose newest event was appended before this day (from 1970-01-01) are forgotten."""
    floor_us: int
    """Events before this time can't be told from forgotten ones; 0 if nothing was forgotten."""


def keep(
    store: DedupStore,
    native: Native,
    hash_key: bytes,
    chunk: Chunk,
    log_starts: Mapping[PartitionId, int],
    counted: int,
    forget_before: int,
    context: CommitContext,
) -> Kept:
    """Seal a chunk, then forget what is older than the day `forget_before` in all log epochs of the Kafka partition
    `counted`. Raises as `seal` does.

    What other partitions have to forget is theirs to say, and follows from how far their logs have come.
    """
    before = forget_before if chunk.partition.partition == counted else 0
    sealed = seal(store, native, hash_key, chunk, log_starts[chunk.partition], before, context)
    own = {log: start for log, start in log_starts.items() if log.partition == counted}
    chains = [expire(store, log, start, forget_before, context) for log, start in own.items()]
    # Whoever keeps in memory what was counted forgets by `forget_before`, whether or not it stands in a chain by now.
    return Kept(sealed, forget_before, max(floor_of(forget_before), *(chain.floor_us for chain in chains)))
