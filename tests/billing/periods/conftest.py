"""A migrated database with counted usage, for closes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import TableOptions, migrate


@pytest.fixture
def counted(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """An empty database with this build's schema."""
    name = f"test_{uuid.uuid4().hex}"
    with new_client(clickhouse) as client:
        migrate(client, name, options=TableOptions(fsync=False))
        client.database = name
        yield CountedUsage(client)
        client.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def another_client(clickhouse: RunningClickHouse, counted: CountedUsage) -> Callable[[], Client]:
    """Clients of their own on the same database."""

    def make() -> Client:
        client = new_client(clickhouse)
        client.database = counted.client.database
        return client

    return make


def new_client(clickhouse: RunningClickHouse) -> Client:
    return clickhouse_connect.get_client(
        host=clickhouse.host,
        port=clickhouse.port,
        username=clickhouse.user,
        password=clickhouse.password,
        autogenerate_session_id=False,
    )
