"""Dedup state from the ledger: the identities of every committed event, and nothing of any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.store import LedgerStore


class RestorableCore(Protocol):
    """The native core, as far as restoring goes."""

    def restore(self, blob: bytes) -> None:
        """Take up the identities of a committed blob; ValueError on a damaged one."""
        ...

    def stats(self) -> Mapping[str, int]:
        """Has `sequenced_events` and `foreign_ids`: how many identities are known."""
        ...


@dataclass(frozen=True, slots=True)
class Restored:
    """What was read."""

    blobs: int
    blob_bytes: int
    identities: int


def restore(store: LedgerStore, core: RestorableCore, partition: PartitionId, position: Position) -> Restored:
    """Give a fresh core the identities of all commits up to `position`, oldest first, a few blobs at a time; those of
    older log epochs too, since what was counted from a log that is gone may be sent again to its successor.

    Each accepted event adds exactly one identity, so the core must end up with as many as the markers say were
    accepted. Raises DedupStateError when it does not, when blobs overlap or reach beyond the position, or when one is
    damaged: going on would count resent events again. StoreUnavailableError: start again, with a fresh core.
    """
    blobs = blob_bytes = accepted = 0
    older = [
        (epoch, at) for epoch, at in store.epochs(partition.topic, partition.partition) if epoch.epoch < partition.epoch
    ]
    for epoch, at in [*older, (partition, position)]:
        read, size = _restore_epoch(store, core, epoch, at)
        blobs, blob_bytes, accepted = blobs + read, blob_bytes + size, accepted + at.totals.accepted
    stats = core.stats()
    identities = stats["sequenced_events"] + stats["foreign_ids"]
    if identities != accepted:
        raise DedupStateError(
            f"{partition}: the ledger's {blobs} blobs hold {identities} identities, but {accepted} "
            "events were accepted: blobs are missing, or have another hash key. Run `fleetmeter reconcile`"
        )
    return Restored(blobs, blob_bytes, identities)


def _restore_epoch(
    store: LedgerStore, core: RestorableCore, partition: PartitionId, position: Position
) -> tuple[int, int]:
    """Blobs of one log epoch, and their bytes."""
    blobs = blob_bytes = 0
    end = position.first_offset
    for blob in store.blobs(partition, before=position.next_offset):
        where = f"{partition}: the blob of offsets {blob.first_offset} to {blob.next_offset}"
        if not end <= blob.first_offset < blob.next_offset <= position.next_offset:
            raise DedupStateError(f"{where} overlaps with its neighbours (last end {end}, {position.next_offset=})")
        try:
            core.restore(blob.data)
        except ValueError as error:
            raise DedupStateError(f"{where} is damaged: {error}") from error
        end = blob.next_offset
        blobs += 1
        blob_bytes += len(blob.data)
    return blobs, blob_bytes
