"""A core from the ledger: the identities of every committed event that is still remembered, and nothing of any other.

    chain of chunks (filters, newest first as far as they fit) + state of the sequenced ids at its end
    + the blobs of the commits after it, cut into chunks as they were while they were counted

for each log epoch of the Kafka partition, oldest first: what was counted from a log that is gone may be sent again to
its successor. Before them those of closed epochs of other partitions, if sources may have moved here (see
`ledger.growth`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fleetmeter_jobs.ledger.dedup.book import ChunkBook, ColdChunk
from fleetmeter_jobs.ledger.dedup.chain import Chain
from fleetmeter_jobs.ledger.dedup.chunks import DAY_US, BlobStats, CutRule, Cutter
from fleetmeter_jobs.ledger.dedup.native import Native
from fleetmeter_jobs.ledger.dedup.seal import read_chain
from fleetmeter_jobs.ledger.dedup.store import DedupStore
from fleetmeter_jobs.ledger.errors import CommitAbandonedError, DedupMovedError, DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.retry import Cancel

log = logging.getLogger(__name__)

Log = tuple[PartitionId, Position]


@dataclass(frozen=True, slots=True)
class Restored:
    """A core, and what it was made of."""

    core: Any
    book: ChunkBook
    cutter: Cutter
    """Of the log that is counted, at its position."""
    blobs: int
    blob_bytes: int
    identities: int
    """Events that were ever accepted, forgotten ones included."""


def restore(
    store: DedupStore,
    new_core: Callable[[], Any],
    native: Native,
    partition: PartitionId,
    position: Position,
    rule: CutRule,
    filter_limit_bytes: int,
    inherited: Sequence[Log] = (),
    cancel: Cancel | None = None,
) -> Restored:
    """A core that knows every event committed before `position`, and all of the closed logs `inherited`, other
    partitions'; it needs that nothing is committed after it.

    Each accepted event adds exactly one identity, so snapshot and later blobs must account for as many as the markers
    say were accepted, and the core must end up with all that are remembered. Raises DedupStateError when they don't,
    when blobs overlap or reach beyond the position, or when something is damaged: going on would count resent events
    again. A rival that seals meanwhile deletes blobs under our eyes; then all is read again. Raises DedupMovedError if
    that rival is ahead of `position`; StoreUnavailableError: start again; CommitAbandonedError between two chunks or
    blobs once `cancel` is set: whoever gets the partition next holds another such state in memory.
    """
    while True:
        reading = _Reading(store, new_core(), native, rule, cancel)
        try:
            return reading.all(partition, position, inherited, filter_limit_bytes)
        except DedupMovedError:
            now = store.position(partition)
            if now is None or now.next_offset != position.next_offset:
                raise
        except DedupStateError:
            if not reading.overtaken():
                raise


class _Reading:
    def __init__(self, store: DedupStore, core: Any, native: Native, rule: CutRule, cancel: Cancel | None) -> None:
        self._store, self._core, self._native, self._rule = store, core, native, rule
        self._cancel = cancel
        self._book = ChunkBook()
        self._chains: dict[PartitionId, Chain] = {}
        self._blobs = self._blob_bytes = self._identities = self._sequenced = self._foreign = 0

    def all(
        self, partition: PartitionId, position: Position, inherited: Sequence[Log], filter_limit_bytes: int
    ) -> Restored:
        epochs = self._store.epochs(partition.topic, partition.partition)
        own = [*((epoch, at) for epoch, at in epochs if epoch.epoch < partition.epoch), (partition, position)]
        logs = [*inherited, *own]  # the log that is counted last: new ids go to its open chunk
        self._book.partition = partition.partition
        for log, at in logs:
            self._chains[log] = chain = read_chain(self._store, log, at.first_offset)
            self._book.log_starts[log] = at.first_offset
            if chain.end > at.next_offset:
                raise DedupMovedError(f"{log}: sealed up to {chain.end}, but counted from {at.next_offset}")
        self._take_chunks(filter_limit_bytes)
        cutter = Cutter(self._rule, partition, position.first_offset)
        for log, at in logs:
            cutter = Cutter(self._rule, log, self._chains[log].end)
            self._take_state(self._chains[log])
            self._take_blobs(cutter, at)
            if log != partition and (rest := cutter.close()):
                # Nothing is added to an older epoch any more: its end closes its chunk.
                self._core.begin_chunk(self._book.close(rest))
        self._core.floor_us = max(chain.floor_us for chain in self._chains.values())
        self._book.own_first()
        self._check_core(partition, inherited)
        return Restored(self._core, self._book, cutter, self._blobs, self._blob_bytes, self._identities)

    def overtaken(self) -> bool:
        """Whether somebody has sealed since the chains were read, and so deleted blobs that were missing."""
        return any(read_chain(self._store, log, chain.start).end != chain.end for log, chain in self._chains.items())

    def _take_chunks(self, filter_limit_bytes: int) -> None:
        manifests = [one for chain in self._chains.values() for one in chain.chunks if one.foreign_ids]
        manifests.sort(key=lambda one: one.append_day)
        held = 0
        for manifest in reversed(manifests):
            self._give_up_if_told(str(manifest))
            content = self._store.content(manifest)
            if content is None:
                raise DedupMovedError(f"{manifest} has expired")
            held += manifest.filter_bytes
            cold = ColdChunk(self._book.new_number(), manifest, content.hours, filtered=held <= filter_limit_bytes)
            self._book.cold.insert(0, cold)
            self._core.set_chunk(
                cold.number,
                ids=manifest.foreign_ids,
                hours=content.hours,
                filter=content.filter if cold.filtered else None,
            )
            self._foreign += manifest.foreign_ids

    def _take_state(self, chain: Chain) -> None:
        if chain.sequenced is None:
            return
        content = self._store.content(chain.sequenced)
        if content is None:
            raise DedupMovedError(f"{chain.sequenced} was replaced")
        self._restore(content.state, str(chain.sequenced))
        self._identities += chain.identities_ever
        self._sequenced += self._native.blob_stats(content.state)["sequenced_events"]
        self._seen(chain.sequenced.partition, chain.sequenced.append_day)

    def _take_blobs(self, cutter: Cutter, position: Position) -> None:
        log, end = cutter.open.partition, cutter.open.first_offset
        identities = self._chains[log].identities_ever
        for blob in self._store.blobs(log, position.next_offset, end):
            where = f"{log}: the blob of offsets {blob.first_offset} to {blob.next_offset}"
            if not end <= blob.first_offset < blob.next_offset <= position.next_offset:
                raise DedupStateError(f"{where} overlaps with its neighbours (last end {end}, {position.next_offset=})")
            self._restore(blob.data, where)
            end = blob.next_offset
            stats = BlobStats.of(self._native.blob_stats(blob.data))
            self._seen(log, stats.append_day)
            number = self._book.add_commit(cutter, blob.next_offset, stats, len(blob.data))
            if number is not None:
                self._core.begin_chunk(number)
            self._blobs += 1
            self._blob_bytes += len(blob.data)
            self._identities += stats.identities
            self._sequenced += stats.sequenced_events
            self._foreign += stats.foreign_ids
            identities += stats.identities
        if identities != position.totals.accepted:
            raise DedupStateError(
                f"{log}: the ledger's snapshot and blobs hold {identities} identities, but {position.totals.accepted} "
                "events were accepted: blobs are missing, or counted twice. Run `fleetmeter reconcile`"
            )

    def _give_up_if_told(self, before: str) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CommitAbandonedError(f"told to stop while reading what was counted, before {before}")

    def _restore(self, blob: bytes, where: str) -> None:
        self._give_up_if_told(where)
        try:
            self._core.restore(blob)
        except ValueError as error:
            raise DedupStateError(f"{where} is damaged: {error}") from error

    def _seen(self, log: PartitionId, append_day: int) -> None:
        # Of its own logs only: this one may be days behind others, and what it forgets follows from its own time.
        if log.partition == self._book.partition:
            self._book.append_us = append_day * DAY_US or self._book.append_us

    def _check_core(self, partition: PartitionId, inherited: Sequence[Log]) -> None:
        stats = self._core.stats()
        foreign = sum(stats[name] for name in ("foreign_ids", "filtered_ids", "hourly_ids"))
        twice = self._sequenced + self._foreign - stats["sequenced_events"] - foreign
        if twice > 0 and inherited:
            # Nothing that this partition did wrong: sources wrote to several partitions before any were added.
            log.warning(
                "%s: %s events were counted in more than one partition. Run `fleetmeter audit`", partition, twice
            )
        elif (stats["sequenced_events"], foreign) != (self._sequenced, self._foreign):
            raise DedupStateError(
                f"{partition}: snapshots and blobs hold {self._sequenced} sequenced and {self._foreign} foreign ids, "
                f"but {stats['sequenced_events']} and {foreign} of them differ: an event was counted twice. "
                "Run `fleetmeter reconcile`"
            )
