"""Facts that two partitions accepted: they look like a loss and are none.

A fact's row is named by (source, id), as the event is. Dedup works within a partition; so when a producer's
partitioner sends one event to two partitions, both accept it, and the two rows merge to one, which carries the
coordinates of one of the two. The other partition's books then lack a row. Its dedup state still knows the event: that
is the proof that it was accepted there, and this asks it. (The state of this log epoch alone, see `OneLog`: what a
worker has in memory also knows what was accepted elsewhere, and would explain away as many rows that are lost.)
"""

# ruff: noqa: S608  (statements are put together from our own constants only; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Final, Protocol

import orjson
from fleetmeter_schemas.tables import USAGE_ADJUSTMENTS, USAGE_ESTIMATES, USAGE_FACTS
from fleetmeter_schemas.timestamps import format_rfc3339

from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.clickhouse_store import NOT_LEFT_OUT
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import Tally
from fleetmeter_jobs.reconcile import SharedFacts

FACT_TABLES: Final = (USAGE_FACTS.name, USAGE_ESTIMATES.name, USAGE_ADJUSTMENTS.name)
_PAGE: Final = 5_000
_DAY_US: Final = 86_400_000_000

Place = tuple[str, str, int]
"""Source, id and time (microseconds since the epoch) of an event."""


class CountingCore(Protocol):
    """The part of the native core that is asked (see `fleetmeter_native`)."""

    def ingest(self, values: list[bytes | None], base_offset: int, append_time_us: int) -> Any: ...
    def flush(self) -> Any: ...


def facts_elsewhere(http: ClickHouseHttp, partition: PartitionId) -> Iterator[Place]:
    """Every fact whose row carries the coordinates of another partition or log epoch, by time."""
    for table in FACT_TABLES:
        after: tuple[int, str, str] = (-(2**63), "", "")
        while True:
            rows = http.rows(
                f"SELECT toUnixTimestamp64Micro(time) AS us, source, event_id FROM {table} FINAL "
                "WHERE NOT (topic = {topic:String} AND partition = {partition:UInt32} AND epoch = {epoch:UInt32}) "
                "AND (us, source, event_id) > ({us:Int64}, {source:String}, {id:String}) "
                f"ORDER BY us, source, event_id LIMIT {_PAGE}",
                parameters={
                    "topic": partition.topic,
                    "partition": partition.partition,
                    "epoch": partition.epoch,
                    "us": after[0],
                    "source": after[1],
                    "id": after[2],
                },
                settings=READ_SETTINGS,
            )
            yield from ((source, event_id, us) for us, source, event_id in rows)
            if len(rows) < _PAGE:
                break
            after = rows[-1][0], rows[-1][1], rows[-1][2]


def rows_left(http: ClickHouseHttp, tally: Tally) -> int:
    """Rows of facts that still carry this log's coordinates, from before its position.

    A tally counts those besides that others have replaced and no merge has removed yet.
    """
    rows = 0
    for table in FACT_TABLES:
        ((number,),) = http.rows(
            f"SELECT uniqExact(offset, event_index) FROM {table} FINAL WHERE topic = {{topic:String}} "
            f"AND partition = {{partition:UInt32}} AND epoch = {{epoch:UInt32}} AND offset < {{before:UInt64}} "
            f"AND {NOT_LEFT_OUT}",
            parameters={
                "topic": tally.partition.topic,
                "partition": tally.partition.partition,
                "epoch": tally.partition.epoch,
                "before": tally.position.next_offset,
                "left_out": [(one.first_offset, one.next_offset) for one in tally.decisions],
            },
            settings=READ_SETTINGS,
        )
        rows += int(number)
    return rows


def known_to(core: CountingCore, places: Iterable[Place]) -> SharedFacts:
    """How many of these events the dedup state knows. The core is spent afterwards: it knows them all then.

    Each is presented as an event of the same identity and time, appended when it happened, so that no limit of time
    keeps it out but that of what was forgotten; what the core calls a duplicate, it knew.
    """
    known = forgotten = 0
    for _, some in groupby(places, key=lambda place: place[2] // _DAY_US):
        for page in _pages(some):
            latest_us = max(us for _, _, us in page)
            # A record each, so that no page is larger than a record may be.
            core.ingest([_event(*place) for place in page], 0, latest_us)
            flush = core.flush()
            known, forgotten = known + flush.duplicates, forgotten + flush.rejected
    return SharedFacts(known, forgotten)


def _pages(places: Iterable[Place]) -> Iterator[list[Place]]:
    page: list[Place] = []
    for place in places:
        page.append(place)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _event(source: str, event_id: str, us: int) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "type": "fleetmeter.outcome.v1",
            "id": event_id,
            "source": source,
            "subject": "audit",
            "time": format_rfc3339(us),
            "data": {"name": "audit", "quantity": 1},
        }
    )
