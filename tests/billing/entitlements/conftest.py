"""A database for the module that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fleetmeter_doubles.billing_store import new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse


@pytest.fixture(scope="module")
def counted(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """Nothing counted yet; the module's tests share it."""
    with new_store(clickhouse) as store:
        yield store
