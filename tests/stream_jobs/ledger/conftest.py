"""Stores for the ledger's tests: one in memory, one in the session's ClickHouse, in a database of the test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles import MemoryLedger
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_jobs.ledger import ClickHouseHttp, ClickHouseStore
from fleetmeter_local import RunningClickHouse


@pytest.fixture
def clickhouse_http(
    clickhouse: RunningClickHouse, database: str, clickhouse_client: Client
) -> Iterator[ClickHouseHttp]:
    """The session's ClickHouse, with the tables in a database of this test's own."""
    copy_schema(clickhouse_client, database)
    http = ClickHouseHttp(clickhouse.url, clickhouse.user, clickhouse.password, database)
    yield http
    http.close()


@pytest.fixture
def clickhouse_store(clickhouse_http: ClickHouseHttp) -> ClickHouseStore:
    """A store on an empty, migrated database."""
    return ClickHouseStore(clickhouse_http)


@pytest.fixture(params=["memory", pytest.param("clickhouse", marks=pytest.mark.clickhouse)])
def store(request: pytest.FixtureRequest) -> MemoryLedger | ClickHouseStore:
    """Each kind of store: the double must behave as ClickHouse does."""
    if request.param == "memory":
        return MemoryLedger()
    made = request.getfixturevalue("clickhouse_store")
    assert isinstance(made, ClickHouseStore)
    return made
