"""A migrated database with counted usage, for closes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.billing_store import emptied, new_client, new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse


@pytest.fixture(scope="package")
def shared_store(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """A database with this build's schema, which the tests of this folder empty in turn."""
    with new_store(clickhouse) as store:
        yield store


@pytest.fixture
def counted(shared_store: CountedUsage) -> CountedUsage:
    """An empty database with this build's schema."""
    return emptied(shared_store)


@pytest.fixture
def another_client(clickhouse: RunningClickHouse, counted: CountedUsage) -> Callable[[], Client]:
    """Clients of their own on the same database."""

    return lambda: new_client(clickhouse, counted.client.database)
