"""A migrated database for the invoices' tests, emptied for each of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import migrate

USED = ("ledger", "usage_facts", "usage_estimates", "usage_adjustments", "usage_subjects")


@pytest.fixture(scope="module")
def module_client(clickhouse: RunningClickHouse) -> Iterator[Client]:
    """A client on a database with this build's schema, which the module's tests share."""
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
        yield client
        client.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def counted(module_client: Client) -> CountedUsage:
    """Nothing counted yet, nothing closed, nobody billed."""
    tables = module_client.query("SELECT name FROM system.tables WHERE database = currentDatabase()").result_rows
    for (table,) in tables:
        if table in USED or table.startswith("billing_"):
            module_client.command(f"TRUNCATE TABLE {table}")
    return CountedUsage(module_client)
