"""Does the ledger know every accepted event, and no other? Asked of cores that are restored from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import orjson
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.dedup.known import KnownEvents
from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings
from fleetmeter_producers.simulator.planned import Planned

from fleetmeter_chaos.cargo import EVENT_LIMIT_BYTES, RECORD_LIMIT_BYTES
from fleetmeter_chaos.log_reading import Log

NEW_IDS = 20


def identities_wrong(store: ClickHouseStore, topic: str, epochs: Sequence[Mapping[int, Log]]) -> Iterator[str]:
    """Every record of every log epoch again: all duplicates. As many events with other ids: none of them."""
    settings = Settings.load(
        event_limit_bytes=EVENT_LIMIT_BYTES, record_limit_bytes=RECORD_LIMIT_BYTES, retry_wait_limit_s=1
    )
    for number, newest in epochs[-1].items():
        logs = [logs[number] for logs in epochs]
        ledger = PartitionLedger(store, topic, number, settings, lambda: "")
        position = store.position(PartitionId(topic, number, len(epochs) - 1))
        if position is None:
            if newest.records:
                yield f"partition {number} has records and no position"
            continue
        try:
            known = KnownEvents(ledger.restore(ledger.open(newest.ends.start, "")), store)
        except DedupStateError as error:
            yield str(error)
            continue
        good = sum(log.good.total() for log in logs)
        for offset, record, append_time_ms in (one for log in logs for one in log.records):
            # At the append time at which it was judged: what was in time then is in time now.
            known.ingest([record.value], offset, append_time_ms * 1000)
        again = known.flush()
        if again.accepted or again.duplicates != good:
            yield (
                f"partition {number}: of {good} events that are counted already, a restored core takes "
                f"{again.accepted} for new and {again.duplicates} for duplicates"
            )
        if newest.records:
            known.ingest(_strangers(newest), position.next_offset, newest.records[-1][2] * 1000)
            fresh = known.flush()
            if fresh.accepted != NEW_IDS:
                yield f"partition {number}: of {NEW_IDS} new events a restored core takes {fresh.accepted} for new"


def _strangers(log: Log) -> list[bytes | None]:
    """Events that nobody sent: a good one under other ids, of its own source and of another."""
    events = (item for _, record, _ in log.records for item in record.items if isinstance(item, Planned))
    one = next(events, None)
    known = {
        "specversion": "1.0",
        "type": "fleetmeter.generation.v1",
        "subject": "stranger",
        "data": {"model": "m", "generation_mode": "autoregressive"},
    }
    source = one.source if one else "stranger"
    append_time_s = log.records[-1][2] // 1000
    time = _iso(append_time_s)
    return [
        orjson.dumps(
            {**known, "source": source if number % 2 else f"{source}-other", "id": f"new-{number}", "time": time}
        )
        for number in range(NEW_IDS)
    ]


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
