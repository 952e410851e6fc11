"""A migrated database of its own for what bills; its inserts don't wait for the disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import TableOptions, migrate

from fleetmeter_doubles.counted_usage import CountedUsage


@contextmanager
def new_store(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    """An empty database with this build's schema, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with new_client(clickhouse) as client:
        migrate(client, name, options=TableOptions(fsync=False))
        client.database = name
        yield CountedUsage(client)
        client.command(f"DROP DATABASE {name} SYNC")


def emptied(store: CountedUsage) -> CountedUsage:
    """The same database without a row or a token, but for its migrations."""
    tables = store.client.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' "
        "AND total_rows > 0 AND name != 'schema_migrations'"
    ).result_rows
    for (table,) in tables:
        store.client.command(f"TRUNCATE TABLE {table}")
    return CountedUsage(store.client)


def new_client(clickhouse: RunningClickHouse, database: str | None = None) -> Client:
    """A client that others may use beside it: without a session, in which statements would wait for one another."""
    return clickhouse_connect.get_client(
        host=clickhouse.host,
        port=clickhouse.port,
        username=clickhouse.user,
        password=clickhouse.password,
        autogenerate_session_id=False,
        **({} if database is None else {"database": database}),
    )
