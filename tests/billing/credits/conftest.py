"""A migrated database for prepaid credits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import migrate


@pytest.fixture(scope="module")
def new_client(clickhouse: RunningClickHouse) -> Iterator[Callable[[], Client]]:
    """Clients on one database of the module; its tests have accounts of their own."""
    name = "test_credits"

    def make(database: str | None = name) -> Client:
        return clickhouse_connect.get_client(
            host=clickhouse.host,
            port=clickhouse.port,
            username=clickhouse.user,
            password=clickhouse.password,
            autogenerate_session_id=False,
            **({} if database is None else {"database": database}),
        )

    with make(None) as client:
        migrate(client, name)
        yield make
        client.command(f"DROP DATABASE {name} SYNC")
