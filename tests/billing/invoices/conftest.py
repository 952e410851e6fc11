"""A migrated database with counted usage, and closes of it, for invoices."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import clickhouse_connect
import pytest
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import migrate


@pytest.fixture
def counted(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """An empty database with this build's schema."""
    name = f"test_{uuid.uuid4().hex}"
    with clickhouse_connect.get_client(
        host=clickhouse.host,
        port=clickhouse.port,
        username=clickhouse.user,
        password=clickhouse.password,
        autogenerate_session_id=False,
    ) as client:
        migrate(client, name)
        client.database = name
        yield CountedUsage(client)
        client.command(f"DROP DATABASE {name} SYNC")
