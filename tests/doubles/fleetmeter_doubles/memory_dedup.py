"""The dedup tables in memory, beside a `MemoryLedger`, and the deletion of blobs from it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import reduce
from operator import xor
from typing import Any

from fleetmeter_jobs.ledger.dedup.manifest import Content, IdsSum, Kind, Manifest
from fleetmeter_jobs.ledger.errors import DedupStateError, StoreUnavailableError
from fleetmeter_jobs.ledger.position import PartitionId

Rows = list[dict[str, Any]]
_ID_BYTES = 16
_NUMBERS = ("foreign_ids", "identities_ever", "append_day", "forgotten_before")


class MemoryDedup:
    """A `DedupStore`, as far as it is no `LedgerStore`. Operations for faults: manifests, content, ids_sum, known_ids,
    and delete, which can also be cut short in the middle (`Fault.GHOST`)."""

    side_tables: dict[str, Rows]
    parts: list[Any]
    fault: Callable[[str, str], Any]
    _lock: threading.RLock

    def manifests(self, partition: PartitionId) -> list[Manifest]:
        self._fail("manifests", str(partition))
        with self._lock:
            versions: defaultdict[tuple[Any, ...], dict[int, dict[str, Any]]] = defaultdict(dict)
            for row in self._of("dedup_snapshots", partition):
                key = (row["kind"], row["first_offset"], row["next_offset"], row["digest"])
                versions[key][row["slice"]] = row
        return [
            Manifest(
                partition,
                Kind(kind),
                first,
                after,
                digest,
                **{name: slices[0][name] for name in _NUMBERS},
                filter_bytes=sum(len(row["filter"]) for row in slices.values()),
            )
            for (kind, first, after, digest), slices in versions.items()
            if len(slices) == next(iter(slices.values()))["slices"]
        ]

    def content(self, manifest: Manifest) -> Content | None:
        self._fail("content", str(manifest))
        with self._lock:
            slices = {
                row["slice"]: row for row in self._of("dedup_snapshots", manifest.partition) if _is(row, manifest)
            }
        if not slices:
            return None
        joined = {
            name: b"".join(slices[number][name] for number in sorted(slices)) for name in ("hours", "filter", "state")
        }
        found = Content(**joined)
        if found.digest != manifest.digest:
            raise DedupStateError(f"{manifest}: damaged")
        return found

    def ids_sum(self, partition: PartitionId, first_offset: int, next_offset: int) -> IdsSum:
        self._fail("ids_sum", str(partition))
        ids = self._ids(partition, first_offset, next_offset)
        return IdsSum(len(ids), reduce(xor, (int.from_bytes(one, "little") for one in ids), 0))

    def known_ids(self, partition: PartitionId, first_offset: int, next_offset: int, fingerprints: bytes) -> bytes:
        self._fail("known_ids", str(partition))
        asked = {fingerprints[at : at + _ID_BYTES] for at in range(0, len(fingerprints), _ID_BYTES)}
        return b"".join(sorted(asked & self._ids(partition, first_offset, next_offset)))

    def is_remembered(self, chunk: Manifest) -> bool:
        span = chunk.first_offset, chunk.next_offset
        kinds = {one.kind for one in self.manifests(chunk.partition) if (one.first_offset, one.next_offset) == span}
        return Kind.CHUNK in kinds and Kind.FORGOTTEN not in kinds

    def delete_blobs(self, partition: PartitionId, before: int) -> None:
        for part in self.parts:
            self._delete(
                part.blobs,
                lambda row: (
                    PartitionId(row["topic"], row["partition"], row["epoch"]) == partition
                    and row["topic"] != ""
                    and row["blob_offset"] < before
                ),
                "ledger",
            )

    def delete_manifests(self, manifests: Sequence[Manifest]) -> None:
        rows = self.side_tables.get("dedup_snapshots", [])
        self._delete(rows, lambda row: any(_is(row, one) for one in manifests), "dedup_snapshots")

    def delete_ids(self, partition: PartitionId, before_day: int) -> None:
        mine = {id(row) for row in self._of("dedup_ids", partition)}
        rows = self.side_tables.get("dedup_ids", [])
        self._delete(rows, lambda row: id(row) in mine and row["append_day"] < before_day, "dedup_ids")

    def _delete(self, rows: Rows, chosen: Callable[[dict[str, Any]], bool], table: str) -> None:
        fault = self.fault("delete", table)
        if fault is not None and fault.name == "BEFORE":
            raise StoreUnavailableError(f"no route to the store for deleting from {table}")
        with self._lock:
            gone = [row for row in rows if chosen(row)]
            if fault is not None and fault.name == "GHOST":
                gone = gone[::2]
            rows[:] = [row for row in rows if not any(row is one for one in gone)]
        if fault is not None:
            raise StoreUnavailableError(f"the answer for deleting from {table} got lost")

    def _ids(self, partition: PartitionId, first_offset: int, next_offset: int) -> set[bytes]:
        with self._lock:
            return {
                row["fingerprint"]
                for row in self._of("dedup_ids", partition)
                if (row["chunk_first"], row["chunk_next"]) == (first_offset, next_offset)
            }

    def _of(self, table: str, partition: PartitionId) -> Rows:
        wanted = (partition.topic, partition.partition, partition.epoch)
        return [
            row for row in self.side_tables.get(table, []) if (row["topic"], row["partition"], row["epoch"]) == wanted
        ]

    def _fail(self, operation: str, label: str) -> None:
        if self.fault(operation, label) is not None:
            raise StoreUnavailableError(f"{operation} {label}: no answer")


def _is(row: dict[str, Any], manifest: Manifest) -> bool:
    return (row["kind"], row["first_offset"], row["next_offset"], row["digest"]) == (
        manifest.kind,
        manifest.first_offset,
        manifest.next_offset,
        manifest.digest,
    ) and PartitionId(row["topic"], row["partition"], row["epoch"]) == manifest.partition
