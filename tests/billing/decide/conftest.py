"""A database that the engine's tests of this folder ask about and don't change."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleetmeter_doubles.billing_store import new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_doubles.decided_periods import two_closed_periods
from fleetmeter_local import RunningClickHouse


@pytest.fixture(scope="package")
def decided(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """See `two_closed_periods`."""
    with new_store(clickhouse) as store:
        yield two_closed_periods(store.client)
