"""A log with identities, in each kind of store."""

from __future__ import annotations

import pytest
from fleetmeter_doubles import MemoryLedger
from fleetmeter_doubles.dedup_world import DedupWorld
from fleetmeter_jobs.ledger import ClickHouseStore


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
