"""A migrated database with counted usage, for closes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.billing_store import new_client, new_store
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse


@pytest.fixture
def counted(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """An empty database with this build's schema."""
    with new_store(clickhouse) as store:
        yield store


@pytest.fixture
def another_client(clickhouse: RunningClickHouse, counted: CountedUsage) -> Callable[[], Client]:
    """Clients of their own on the same database."""

    def make() -> Client:
        client = new_client(clickhouse)
        client.database = counted.client.database
        return client

    return make
