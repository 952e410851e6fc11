"""A migrated database for prepaid credits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles import billing_store
from fleetmeter_local import RunningClickHouse


@pytest.fixture(scope="module")
def new_client(clickhouse: RunningClickHouse) -> Iterator[Callable[[], Client]]:
    """Clients on one database of the module; its tests have accounts of their own."""
    with billing_store.new_store(clickhouse) as store:
        yield lambda: billing_store.new_client(clickhouse, store.client.database)
