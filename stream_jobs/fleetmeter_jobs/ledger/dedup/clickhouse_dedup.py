"""The dedup tables in ClickHouse, and the deletion of blobs from the ledger.

How a lightweight DELETE behaves (observed on 26.9, and read in its sources), and why it is safe here:
- It is a mutation that writes a mask (`_row_exists`) into each part of the named table partition; a part is replaced in
  one step, under the same lock as inserts and merges, so that a SELECT (a commit's guard, a position) sees it before or
  after, and the rows that the condition does not name are the same in both.
- Parts that inserts add meanwhile are not touched; blobs to be deleted are older than that.
- Killed in the middle, it has masked some parts; the mutation is on disk and goes on after the restart. Any part of a
  deletion is fine: a start reads blobs from the chain's end on only.
- Two at once may lose one another's mask (both rewrite the same part), so that rows come back; hence the look whether
  they are gone. Rows that stay, or come back, cost space and nothing else.
- The token log forgets the tokens of a part that is dropped because it became empty, and of parts that it covers. No
  part of the ledger becomes empty: each insert brings a marker, merges keep markers, and none is ever deleted.
"""

# ruff: noqa: S608  (statements are put together from our own constants only; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import pyarrow as pa
from fleetmeter_schemas.tables import DEDUP_IDS, DEDUP_SNAPSHOTS

from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.dedup.manifest import Content, IdsSum, Kind, Manifest
from fleetmeter_jobs.ledger.errors import DedupStateError, StoreUnavailableError
from fleetmeter_jobs.ledger.pinned import DELETE_SETTINGS, READ_SETTINGS
from fleetmeter_jobs.ledger.position import PartitionId

_OF_PARTITION: Final = "topic = {topic:String} AND partition = {partition:UInt32} AND epoch = {epoch:UInt32}"
_OF_CHUNK: Final = f"{_OF_PARTITION} AND chunk_first = {{first:UInt64}} AND chunk_next = {{next:UInt64}}"
_OF_VERSION: Final = (
    f"{_OF_PARTITION} AND kind = {{kind:Int8}} AND first_offset = {{first:UInt64}} AND next_offset = {{next:UInt64}} "
    "AND digest = unhex({digest:String})"
)
_ID_BYTES: Final = 16
_IDS_OF_ONE_LOOKUP: Final = 4096
"""In a statement as hexadecimal digits, 128 KiB: half of what ClickHouse takes by default."""
_VERSIONS_OF_ONE_DELETE: Final = 500
_UNFINISHED_LIMIT: Final = 20
"""With so many deletions under way, another one would only make the pile higher."""


class ClickHouseDedup:
    """A `DedupStore` over HTTP. Thread-safe."""

    def __init__(self, http: ClickHouseHttp, ledger: str = "ledger") -> None:
        self.http = http
        self.ledger = ledger

    def manifests(self, partition: PartitionId) -> list[Manifest]:
        """See `DedupStore.manifests`."""
        rows = self.http.rows(
            "SELECT toInt8(kind), first_offset, next_offset, hex(digest), any(foreign_ids), any(identities_ever), "
            "any(toUInt16(append_day)), any(toUInt16(forgotten_before)), sum(length(filter)) "
            f"FROM {DEDUP_SNAPSHOTS.name} FINAL WHERE {_OF_PARTITION} "
            "GROUP BY kind, first_offset, next_offset, digest HAVING count() = any(slices)",
            parameters=_names(partition),
            settings=READ_SETTINGS,
        )
        return [
            Manifest(partition, Kind(kind), first, after, bytes.fromhex(digest), *numbers)
            for kind, first, after, digest, *numbers in rows
        ]

    def content(self, manifest: Manifest) -> Content | None:
        """See `DedupStore.content`."""
        answer = self.http.execute(
            f"SELECT slice, hours, filter, state FROM {DEDUP_SNAPSHOTS.name} FINAL WHERE {_OF_VERSION} "
            "ORDER BY slice FORMAT ArrowStream",
            parameters=_version(manifest),
            settings=READ_SETTINGS,
        )
        with pa.ipc.open_stream(answer) as reader:
            rows = reader.read_all()
        if not rows.num_rows:
            return None
        found = Content(*(b"".join(rows[name].to_pylist()) for name in ("hours", "filter", "state")))
        if found.digest != manifest.digest:
            raise DedupStateError(
                f"{manifest}: what {DEDUP_SNAPSHOTS.name} holds is not what was written: slices "
                f"{rows['slice'].to_pylist()} have another digest. Check the disk; `fleetmeter audit` names more"
            )
        return found

    def ids_sum(self, partition: PartitionId, first_offset: int, next_offset: int) -> IdsSum:
        """See `DedupStore.ids_sum`."""
        ((count, xor),) = self.http.rows(
            "SELECT count(), toString(groupBitXor(reinterpretAsUInt128(fingerprint))) "
            f"FROM (SELECT fingerprint FROM {DEDUP_IDS.name} WHERE {_OF_CHUNK} GROUP BY fingerprint)",
            parameters=_chunk(partition, first_offset, next_offset),
            # Rows come sorted: distinct ones are told apart without a table of all.
            settings={**READ_SETTINGS, "optimize_aggregation_in_order": 1},
        )
        return IdsSum(count, int(xor))

    def known_ids(self, partition: PartitionId, first_offset: int, next_offset: int, fingerprints: bytes) -> bytes:
        """See `DedupStore.known_ids`."""
        found = []
        for some in _cut(fingerprints, _IDS_OF_ONE_LOOKUP * _ID_BYTES):
            asked = (
                f"SELECT toFixedString(substring(unhex('{some.hex()}'), number * {_ID_BYTES} + 1, {_ID_BYTES}), "
                f"{_ID_BYTES}) FROM numbers({len(some) // _ID_BYTES})"
            )
            found.append(
                self.http.execute(
                    f"SELECT DISTINCT fingerprint FROM {DEDUP_IDS.name} WHERE {_OF_CHUNK} AND fingerprint IN ({asked}) "
                    "FORMAT RowBinary",
                    parameters=_chunk(partition, first_offset, next_offset),
                    settings=READ_SETTINGS,
                )
            )
        return b"".join(found)

    def is_remembered(self, chunk: Manifest) -> bool:
        """See `DedupStore.is_remembered`. Reads no filter: it is asked beside each lookup."""
        kinds = self.http.rows(
            f"SELECT DISTINCT toInt8(kind) FROM {DEDUP_SNAPSHOTS.name} WHERE {_OF_PARTITION} "
            "AND first_offset = {first:UInt64} AND next_offset = {next:UInt64} AND kind != 'sequenced'",
            parameters=_chunk(chunk.partition, chunk.first_offset, chunk.next_offset),
            settings=READ_SETTINGS,
        )
        return [Kind(kind) for (kind,) in kinds] == [Kind.CHUNK]

    def delete_blobs(self, partition: PartitionId, before: int) -> None:
        """See `DedupStore.delete_blobs`."""
        # The topic is never empty: that is the hash key's row.
        blobs = f"row_kind = 'blob' AND topic != '' AND {_OF_PARTITION} AND blob_offset < {{before:UInt64}}"
        self._delete(self.ledger, "table_partition", blobs, {**_names(partition), "before": before})

    def delete_manifests(self, manifests: Sequence[Manifest]) -> None:
        """See `DedupStore.delete_manifests`."""
        # Few statements: each one is a mutation, with a merge after it where a table partition became empty.
        by_log: dict[PartitionId, list[str]] = {}
        for one in manifests:
            version = f"({int(one.kind)}, {one.first_offset}, {one.next_offset}, '{one.digest.hex()}')"
            by_log.setdefault(one.partition, []).append(version)
        for partition, versions in by_log.items():
            for some in _cut(versions, _VERSIONS_OF_ONE_DELETE):
                named = f"(toInt8(kind), first_offset, next_offset, lower(hex(digest))) IN ({', '.join(some)})"
                self._delete(DEDUP_SNAPSHOTS.name, "_partition_id", f"{_OF_PARTITION} AND {named}", _names(partition))

    def delete_ids(self, partition: PartitionId, before_day: int) -> None:
        """See `DedupStore.delete_ids`."""
        condition = f"{_OF_PARTITION} AND append_day < toDate({{day:UInt16}})"
        self._delete(DEDUP_IDS.name, "_partition_id", condition, {**_names(partition), "day": before_day})

    def _delete(self, table: str, table_partition: str, condition: str, parameters: dict[str, object]) -> None:
        """A lightweight DELETE in each table partition concerned, and a look whether it worked."""
        there = f"SELECT DISTINCT toString({table_partition}) FROM {table} WHERE {condition} ORDER BY 1"
        concerned = self.http.rows(there, parameters=parameters, settings=READ_SETTINGS)
        if not concerned:
            return
        self._check_backlog(table)
        for (name,) in concerned:
            where = f"IN PARTITION ID '{name}'"
            self.http.execute(
                f"DELETE FROM {table} {where} WHERE {condition}", parameters=parameters, settings=DELETE_SETTINGS
            )
            self._give_back(table, name)
        if left := self.http.rows(there, parameters=parameters, settings=READ_SETTINGS):
            raise StoreUnavailableError(f"rows of {table} that were deleted are still there, in partitions {left}")

    def _check_backlog(self, table: str) -> None:
        ((unfinished,),) = self.http.rows(
            "SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table = {name:String} "
            "AND NOT is_done AND NOT is_killed",
            parameters={"name": table},
            settings=READ_SETTINGS,
        )
        if unfinished >= _UNFINISHED_LIMIT:
            raise StoreUnavailableError(
                f"{unfinished} deletions from {table} are not finished; system.mutations says why (latest_fail_reason)"
            )

    def _give_back(self, table: str, partition_id: str) -> None:
        """Free the space of a table partition whose rows are all deleted, as merges won't look at one again. A merge
        loses nothing, should somebody add rows meanwhile. The ledger's always have markers."""
        if table == self.ledger:
            return
        ((rows,),) = self.http.rows(
            f"SELECT count() FROM {table} WHERE _partition_id = {{id:String}}",
            parameters={"id": partition_id},
            settings=READ_SETTINGS,
        )
        if not rows:
            self.http.execute(f"OPTIMIZE TABLE {table} PARTITION ID '{partition_id}' FINAL", settings=DELETE_SETTINGS)


def _names(partition: PartitionId) -> dict[str, object]:
    return {"topic": partition.topic, "partition": partition.partition, "epoch": partition.epoch}


def _chunk(partition: PartitionId, first_offset: int, next_offset: int) -> dict[str, object]:
    return {**_names(partition), "first": first_offset, "next": next_offset}


def _version(manifest: Manifest) -> dict[str, object]:
    key = _chunk(manifest.partition, manifest.first_offset, manifest.next_offset)
    return {**key, "kind": int(manifest.kind), "digest": manifest.digest.hex()}


_Some = TypeVar("_Some", bytes, list[str])


def _cut(data: _Some, size: int) -> Iterator[_Some]:
    return (data[start : start + size] for start in range(0, len(data), size))
