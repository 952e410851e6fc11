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
    """Give a fresh core the identities of all commits up to `position`, oldest first, a few blobs at a time.

    Each accepted event adds exactly one identity, so the core must end up with as many as the markers say were
    accepted. Raises DedupStateError when it does not, when blobs overlap or reach beyond the position, or when one is
    damaged: going on would count resent events again. StoreUnavailableError: start again, with a fresh core.
    """
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
    stats = core.stats()
    identities = stats["sequenced_events"] + stats["foreign_ids"]
    if identities != position.totals.accepted:
        raise DedupStateError(
            f"{partition}: the ledger's {blobs} blobs hold {identities} identities, but {position.totals.accepted} "
            "events were accepted: blobs are missing, or have another hash key. Run `fleetmeter reconcile`"
        )
    return Restored(blobs, blob_bytes, identities)
