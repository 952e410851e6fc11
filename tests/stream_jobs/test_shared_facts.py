"""Facts whose row stands elsewhere are no loss where this log accepted them; what it merely knows proves nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.real_partition import TOPIC, RealPartition
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_jobs.audit.shared_facts import known_to
from fleetmeter_jobs.cli.reconcile import shared_facts
from fleetmeter_jobs.counting_core import new_core
from fleetmeter_jobs.ledger import ClickHouseHttp, ClickHouseStore, PartitionId
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.decisions import Batch, Decided, LogNow, decide, plan_new_epoch
from fleetmeter_jobs.reconcile import LogEnds, Report, SharedFacts, reconcile
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

_SETTINGS = Settings(record_limit_bytes=1024, event_limit_bytes=1024)
"""What asks about many facts keeps to what a record may be."""


@pytest.fixture
async def real(clickhouse: RunningClickHouse, database: str, clickhouse_client: Client) -> AsyncIterator[RealPartition]:
    copy_schema(clickhouse_client, database)
    http = ClickHouseHttp(clickhouse.url, clickhouse.user, clickhouse.password, database)
    made = RealPartition(ClickHouseStore(http), Threads())
    yield made
    for processor in made.processors:
        await processor.stop(10)
    made.threads.close()


def outcome(event_id: str) -> bytes:
    event = {
        "specversion": "1.0",
        "type": "fleetmeter.outcome.v1",
        "source": "desk",
        "id": event_id,
        "subject": "acme",
        "time": "2026-05-28T20:00:00Z",
        "data": {"name": "ticket_resolved", "quantity": 1},
    }
    return json.dumps(event).encode()


def audited(real: RealPartition) -> Report:
    ends = {(TOPIC.topic, TOPIC.partition): LogEnds(0, real.log.end)}
    return reconcile(real.store, lambda: ends, partial(shared_facts, _SETTINGS, real.store.http))


async def test_usage_that_is_lost_is_not_explained_by_facts_of_the_epoch_before(real: RealPartition) -> None:
    """A new epoch knows the facts that the one before accepted; their rows are that one's."""
    processor = real.processor()
    real.log.append([outcome("a"), outcome("b")])
    await real.counted()
    await processor.stop(10)
    end, last = real.log.end, real.log.batches[-1]
    change = plan_new_epoch(PartitionId(TOPIC.topic, TOPIC.partition), real.position, LogNow(real.log.topic_id, 0, end))
    decided = decide(real.store, change, Batch(last.leader_epoch, last.crc), "ana", "why not", CommitContext())
    assert isinstance(decided, Decided)
    processor = real.processor()
    real.append(["x", "y"])
    await real.counted()
    await processor.stop(10)
    assert (real.position.totals.accepted, real.position.totals.duplicates) == (2, 2)
    assert audited(real).ok
    lost = "ALTER TABLE ledger DELETE WHERE row_kind = 'usage' AND epoch = 1 SETTINGS mutations_sync = 2"
    real.store.http.execute(lost)
    report = audited(real)
    assert (report.ok, report.total.lost, report.total.shared) == (False, 2, 0)


async def test_usage_that_is_lost_is_not_explained_by_facts_whose_rows_are_still_there(real: RealPartition) -> None:
    """Another partition has accepted a fact too, and its row stands beside this one's until they are merged."""
    rows = real.store.http.execute
    processor = real.processor()
    real.log.append([outcome(name) for name in "abcdefghij"])
    real.append(["x", "y"])
    await real.counted()
    await processor.stop(10)
    rows("SYSTEM STOP MERGES usage_facts")
    rows("INSERT INTO usage_facts SELECT * REPLACE (7 AS partition) FROM usage_facts WHERE event_id != 'a'")
    assert audited(real).ok
    rows("ALTER TABLE ledger DELETE WHERE row_kind = 'usage' SETTINGS mutations_sync = 2")
    report = audited(real)
    assert (report.ok, report.total.lost, report.total.shared) == (False, 2, 0)
    rows("SYSTEM START MERGES usage_facts")
    rows("OPTIMIZE TABLE usage_facts FINAL")
    report = audited(real)
    assert (report.ok, report.total.lost, report.total.shared) == (False, 2, 9)


def test_what_a_log_has_forgotten_is_told_from_what_it_never_knew() -> None:
    core = new_core(_SETTINGS, bytes(16))
    early, late = 1_780_000_000_000_000, 1_780_800_000_000_000
    places = [("desk", "a", early), ("desk", "b", late), ("desk", "c", late)]
    known_to(core, places[1:2])
    core.floor_us = late
    assert known_to(core, places) == SharedFacts(accepted=1, forgotten=1)
