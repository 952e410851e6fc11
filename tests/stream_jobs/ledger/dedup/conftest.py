"""A log with identities, in each kind of store."""

from __future__ import annotations

import pytest
from fleetmeter_doubles import MemoryLedger
from fleetmeter_doubles.dedup_world import DedupWorld
from fleetmeter_jobs.ledger import ClickHouseStore


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=[pytest.mark.clickhouse, pytest.mark.long])])
def store(request: pytest.FixtureRequest) -> MemoryLedger | ClickHouseStore:
    """Each kind of store. That both behave alike, the store's contract shows with every change; here a test takes five
    seconds of ClickHouse."""
    if request.param == "memory":
        return MemoryLedger()
    made = request.getfixturevalue("clickhouse_store")
    assert isinstance(made, ClickHouseStore)
    return made


@pytest.fixture
def world(store: MemoryLedger | ClickHouseStore) -> DedupWorld:
    """A log in memory and one in ClickHouse."""
    return DedupWorld(store)


@pytest.fixture
def memory() -> MemoryLedger:
    """A ledger in memory alone, whose faults a test chooses."""
    return MemoryLedger()


@pytest.fixture
def toy_world(memory: MemoryLedger) -> DedupWorld:
    """A log in memory alone."""
    return DedupWorld(memory)
