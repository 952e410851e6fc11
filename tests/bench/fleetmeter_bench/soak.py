"""A soak: events over 80 days of the broker's clock through one partition, with memory printed as it goes.

Real core, real ledger and dedup, a ClickHouse in a process of its own; only Kafka is left out. Half of the ids are
sequenced, half foreign, some are resends from three weeks before. After the first 40 days everything that can fill up
has, and what comes in is as much as what expires: from then on memory must not grow.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any, Final

import psutil
import pyarrow as pa
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.dedup_memory import DedupMemory
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.commit import Committed
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.processor_seams import Limits, Observer
from fleetmeter_jobs.record_batch import RecordBatch
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads
from fleetmeter_local import start_clickhouse
from fleetmeter_sql.migrate import migrate

from fleetmeter_bench.native_speed import NOW_US
from fleetmeter_bench.workload import id_record, incarnation

DAYS: Final = 80
SETTLED_DAY: Final = 40
"""The horizon of 35 days, one for certainty, and up to two of the oldest chunk."""
COMMITS_A_DAY: Final = 3
RESENT_AFTER_DAYS: Final = 21
RESENT: Final = 100
"""Each commit brings so many ids of three weeks before."""
GROWTH_LIMIT: Final = 0.10
_DAY_MS: Final = 86_400_000


def soak(folder: Path, events: int) -> int:
    """Run it; 0 if memory was flat and every event was counted once, else 1."""
    with start_clickhouse(folder, source="local") as clickhouse:
        settings = Settings.load(
            clickhouse_url=clickhouse.url,
            clickhouse_user=clickhouse.user,
            clickhouse_password=clickhouse.password,
            clickhouse_database="fleetmeter_soak",
            data_dir=folder,
        )
        with connect(settings) as client:
            migrate(client, settings.clickhouse_database)
        store = ClickHouseStore.connect(
            clickhouse.url, clickhouse.user, clickhouse.password, settings.clickhouse_database
        )
        return asyncio.run(_Soak(store, settings, max(2 * RESENT, events // (DAYS * COMMITS_A_DAY))).run())


class _Soak:
    def __init__(self, store: ClickHouseStore, settings: Settings, a_commit: int) -> None:
        self._ledger = PartitionLedger(store, "soak", 0, settings, lambda: "soak")
        self._threads = Threads()
        self._half = a_commit // 2
        self._limits = Limits(filter_bytes=settings.dedup_filter_limit_bytes)

    async def run(self) -> int:
        position = self._ledger.open(0, "soak")
        memory = await DedupMemory.read(self._ledger, position, self._limits, self._threads, Observer())
        memory.go_on(0, lambda: None)
        began, process, settled, rss = time.monotonic(), psutil.Process(), 0, 0
        _say("day      events   seconds   RSS MB   exact MB   filter MB   sequenced MB   ids exact/filter/sequenced")
        for number in range(DAYS * COMMITS_A_DAY):
            day = number // COMMITS_A_DAY
            pending = Pending(position.next_offset, position.watermark_us)
            await self._ingest(memory, pending, number, NOW_US // 1000 + day * _DAY_MS)
            await memory.resolve_all(pending)
            flush = await self._threads.core(memory.flush_in_core, pending)
            outcome = await self._threads.store(self._ledger.commit, position, pending, flush, "soak")
            if not isinstance(outcome, Committed):
                raise RuntimeError(f"another worker counts here: {outcome}")
            position = outcome.position
            memory.committed(position.next_offset, pending.append_time_ms)
            while memory.status.unsealed_chunks > 1 or memory.ready:
                await asyncio.sleep(0.01)
                await memory.take_in(pending)
            if number % (COMMITS_A_DAY * 4) == COMMITS_A_DAY * 4 - 1:
                rss = process.memory_info().rss
                _say(_line(day, position.totals.events_in, time.monotonic() - began, rss, memory))
                settled = rss if day < SETTLED_DAY else settled
        memory.pause()
        return self._verdict(position.totals, settled, rss)

    async def _ingest(self, memory: DedupMemory, pending: Pending, number: int, append_ms: int) -> None:
        records = self._records(number, append_ms)
        here = pending.next_offset
        values: list[bytes | None] = [*records]
        batch = RecordBatch(here, here + len(values), append_ms, 0, number + 1, values)
        memory.look_up(await self._threads.core(memory.ingest_in_core, pending, [batch]))

    def _records(self, number: int, append_ms: int) -> list[bytes]:
        start = number * self._half
        sequenced = [f"{incarnation(n % 50)}-{n // 50}" for n in range(start, start + self._half)]
        made = [_foreign(range(start, start + self._half)), pa.array(sequenced)]
        before = number - RESENT_AFTER_DAYS * COMMITS_A_DAY
        if before >= 0:
            made.append(_foreign(range(before * self._half, before * self._half + RESENT)))
        return [id_record(ids, now_us=append_ms * 1000) for ids in made]

    def _verdict(self, totals: Any, settled: int, rss: int) -> int:
        commits = DAYS * COMMITS_A_DAY
        resends = (commits - RESENT_AFTER_DAYS * COMMITS_A_DAY) * RESENT
        counted = (totals.accepted, totals.duplicates) == (commits * 2 * self._half, resends)
        growth = rss / settled - 1
        _say(f"accepted {totals.accepted:,}, duplicates {totals.duplicates:,}: {'right' if counted else 'WRONG'}")
        _say(f"memory since day {SETTLED_DAY}: {growth:+.1%} ({'flat' if growth <= GROWTH_LIMIT else 'GROWS'})")
        return 0 if counted and growth <= GROWTH_LIMIT else 1


def _foreign(numbers: range) -> pa.Array:
    return pa.array([f"order-{n}" for n in numbers])


def _line(day: int, events: int, seconds: float, rss: int, memory: DedupMemory) -> str:
    now = memory.status
    sizes = "".join(f"{size / 2**20:>12.1f}" for size in (now.exact_bytes, now.filter_bytes, now.sequenced_bytes))
    ids = f"{now.foreign_ids:,} / {now.filtered_ids:,} / {now.sequenced_events:,}"
    return f"{day + 1:>3} {events:>11,} {seconds:>9.1f} {rss / 2**20:>8.0f} {sizes}   {ids}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
