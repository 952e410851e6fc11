"""A database of a test module's own, with this build's schema."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import migrate


@contextmanager
def migrated_database(clickhouse: RunningClickHouse) -> Iterator[Client]:
    """A client on a new database, which is dropped at the end."""
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
