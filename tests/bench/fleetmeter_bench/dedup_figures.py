"""What remembering counted events takes: memory in the core, bytes in ClickHouse, and the time to come back."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.counting_core import dedup_native
from fleetmeter_jobs.ledger.arrow_batch import blob_row, encode_rows
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.dedup.chunks import CutRule
from fleetmeter_jobs.ledger.dedup.manifest import Content, Kind, Manifest, id_rows, manifest_rows
from fleetmeter_jobs.ledger.dedup.restore import restore
from fleetmeter_jobs.ledger.position import Counts, PartitionId, Position, Tail
from fleetmeter_jobs.ledger.store import NoPosition
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import start_clickhouse
from fleetmeter_sql.migrate import migrate

from fleetmeter_bench.native_speed import CROWD_STEP, HASH_KEY, NOW_US, new_core
from fleetmeter_bench.workload import crowd_record, id_record, incarnation

CHUNK_IDS: Final = 4_000_000
"""The setting's default."""
COLD_IDS: Final = 100_000_000
PRODUCERS: Final = 10_000
SINGLES: Final = 1_000_000
SEQUENCED_EVENTS: Final = 2_000_000
_DAY: Final = NOW_US // 86_400_000_000
_LOOKUPS: Final = 15


@dataclass(frozen=True)
class Figure:
    """One line of the table; `most` is the figure to stay below, None where none is set."""

    what: str
    value: float
    unit: str
    most: float | None = None


def dedup_figures(folder: Path) -> Iterator[Figure]:
    """All figures, each as soon as it is there. Needs 2 GB of memory and two minutes."""
    hot, blob = _of_ids(_crowd(CHUNK_IDS))
    yield Figure("memory of a hot foreign id", hot["exact_bytes"] / CHUNK_IDS, "bytes", 24)
    rows = [f"{incarnation(n % 100)}-{n // 100}" for n in range(SEQUENCED_EVENTS)]
    numbered, _ = _of_ids(_in_records(rows))
    yield Figure("memory of a sequenced event", numbered["sequenced_bytes"] / SEQUENCED_EVENTS, "bytes", 1)
    singles, _ = _of_ids(_in_records([f"{incarnation(n)}-0" for n in range(SINGLES)]))
    yield Figure("memory of an incarnation with one event", singles["sequenced_bytes"] / SINGLES, "bytes", 48)
    with start_clickhouse(folder, source="local") as clickhouse:
        settings = Settings.load(
            clickhouse_url=clickhouse.url,
            clickhouse_user=clickhouse.user,
            clickhouse_password=clickhouse.password,
            clickhouse_database="fleetmeter_dedup",
            data_dir=folder,
        )
        with connect(settings) as client:
            migrate(client, settings.clickhouse_database)
        store = ClickHouseStore.connect(
            clickhouse.url, clickhouse.user, clickhouse.password, settings.clickhouse_database
        )
        yield from _in_the_store(store, blob)


def _in_the_store(store: ClickHouseStore, blob: bytes) -> Iterator[Figure]:
    began = time.monotonic()
    fold = dedup_native().fold(HASH_KEY)
    fold.add(blob)
    content = Content(hours=fold.hours(), filter=fold.filter())
    fingerprints = pa.record_batch(fold.fingerprints()).column(0)
    partition = PartitionId("dedup", 0, 0)
    chunk = Manifest(
        partition,
        Kind.CHUNK,
        0,
        CHUNK_IDS,
        content.digest,
        foreign_ids=CHUNK_IDS,
        append_day=_DAY,
        filter_bytes=len(content.filter),
    )
    for some in id_rows(chunk, fingerprints):
        store.insert_side_rows(some)
    store.insert_side_rows(manifest_rows(chunk, content, NOW_US // 1000))
    yield Figure(f"fold and write a chunk of {CHUNK_IDS / 1e6:g} million ids", time.monotonic() - began, "s")
    yield Figure("memory of a filtered id", len(content.filter) / CHUNK_IDS, "bytes")
    yield Figure("bytes on disk of a foreign id, with its filter", _bytes_on_disk(store) / CHUNK_IDS, "bytes", 20)
    stored = b"".join(fingerprints.slice(0, 100_000).to_pylist())
    for count in (1, 100, 4_000):
        times = [_looked_up(store, chunk, stored, count, run) for run in range(_LOOKUPS)]
        yield Figure(f"cold lookup of {count} ids in a chunk (median)", 1000 * statistics.median(times), "ms")
    yield _restored_foreign(store, chunk, content, blob)
    yield _restored_producers(store)


def _restored_foreign(store: ClickHouseStore, chunk: Manifest, content: Content, blob: bytes) -> Figure:
    """Chunks of filters as after weeks, and a newest chunk that is not sealed yet. All of them have the same content
    under other names, for which a restore does not do less."""
    chunks = COLD_IDS // CHUNK_IDS - 1
    for number in range(1, chunks):
        first = number * CHUNK_IDS
        again = replace(chunk, first_offset=first, next_offset=first + CHUNK_IDS)
        store.insert_side_rows(manifest_rows(again, content, NOW_US // 1000))
    end = chunks * CHUNK_IDS
    state = Manifest(chunk.partition, Kind.SEQUENCED, 0, end, Content().digest, identities_ever=end, append_day=_DAY)
    store.insert_side_rows(manifest_rows(state, Content(), NOW_US // 1000))
    row = blob_row(chunk.partition, 202601, end, end + CHUNK_IDS, blob)
    store.insert(encode_rows([row]), NoPosition(chunk.partition), "bench")
    seconds, core = _restore(store, chunk.partition, end + CHUNK_IDS, accepted=COLD_IDS)
    stats = core.stats()
    if (stats["filtered_ids"], stats["foreign_ids"]) != (end, CHUNK_IDS):
        raise RuntimeError(f"restored {stats}, not {COLD_IDS} foreign ids")
    return Figure(f"restore {COLD_IDS / 1e6:g} million foreign ids", seconds, "s", 10)


def _restored_producers(store: ClickHouseStore) -> Figure:
    """Each with ten ranges: producers that were restarted, or whose events came in another order."""
    partition, events = PartitionId("producers", 0, 0), PRODUCERS * 10
    _, blob = _of_ids(_in_records([f"{incarnation(n % PRODUCERS)}-{n // PRODUCERS * 10}" for n in range(events)]))
    fold = dedup_native().fold(HASH_KEY)
    fold.add(blob)
    content = Content(state=fold.sequenced(0))
    state = Manifest(partition, Kind.SEQUENCED, 0, events, content.digest, identities_ever=events, append_day=_DAY)
    link = Manifest(partition, Kind.CHUNK, 0, events, Content().digest, append_day=_DAY)
    store.insert_side_rows(manifest_rows(link, Content(), NOW_US // 1000))
    store.insert_side_rows(manifest_rows(state, content, NOW_US // 1000))
    seconds, core = _restore(store, partition, events, accepted=events)
    if core.stats()["sequenced_events"] != events:
        raise RuntimeError(f"restored {core.stats()}, not {events} sequenced events")
    return Figure(f"restore {PRODUCERS:,} sequenced producers of 10 ranges", seconds, "s", 10)


def _restore(store: ClickHouseStore, partition: PartitionId, next_offset: int, *, accepted: int) -> tuple[float, Any]:
    tail = Tail(next_offset, "bench", "bench", 0, 0, 202601)
    position = Position(0, next_offset, tail, Counts(accepted=accepted))
    began = time.monotonic()
    restored = restore(store, new_core, dedup_native(), partition, position, CutRule(2**40, 2**40), 2**30)
    return time.monotonic() - began, restored.core


def _looked_up(store: ClickHouseStore, chunk: Manifest, stored: bytes, count: int, run: int) -> float:
    """Seconds of one lookup: half of its ids are there."""
    rng = np.random.default_rng(run)
    known = [stored[16 * int(at) : 16 * int(at) + 16] for at in rng.integers(0, len(stored) // 16, (count + 1) // 2)]
    asked = b"".join(known) + rng.bytes(16 * (count // 2))
    began = time.monotonic()
    found = store.known_ids(chunk.partition, chunk.first_offset, chunk.next_offset, asked)
    seconds = time.monotonic() - began
    if len(found) != 16 * len(set(known)):
        raise RuntimeError(f"{len(found) // 16} ids were found, {len(set(known))} are there")
    return seconds


def _bytes_on_disk(store: ClickHouseStore) -> int:
    ((size,),) = store.http.rows(
        "SELECT sum(bytes_on_disk) FROM system.parts WHERE database = currentDatabase() AND active "
        "AND table IN ('dedup_ids', 'dedup_snapshots')"
    )
    return int(size)


def _crowd(count: int) -> Iterator[bytes]:
    for start in range(0, count, CROWD_STEP):
        yield crowd_record(start, min(CROWD_STEP, count - start), now_us=NOW_US)


def _in_records(ids: list[str]) -> Iterator[bytes]:
    for start in range(0, len(ids), CROWD_STEP):
        yield id_record(pa.array(ids[start : start + CROWD_STEP]), now_us=NOW_US)


def _of_ids(records: Iterator[bytes]) -> tuple[dict[str, int], bytes]:
    """A core's sizes after these events were counted and committed, and the blob."""
    core = new_core()
    for number, record in enumerate(records):
        core.ingest([record], number, NOW_US)
    blob = core.flush().blob
    return core.stats(), blob
