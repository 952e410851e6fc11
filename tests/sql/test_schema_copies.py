"""What tests take for a migrated database is one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_sql import load_migrations, migrate, pending_migrations

pytestmark = pytest.mark.clickhouse


def test_a_copy_is_what_the_migrations_make(clickhouse_client: Client, database: str) -> None:
    migrate(clickhouse_client, database)
    other = f"{database}_copy"
    another = f"test_{uuid.uuid4().hex}"
    for name in (other, another):  # the second one is a copy for certain
        copy_schema(clickhouse_client, name)
        try:
            assert schema(clickhouse_client, name) == schema(clickhouse_client, database)
            assert len(schema(clickhouse_client, name)) > 25
            assert pending_migrations(clickhouse_client, name) == []
            records = f"SELECT version, name, toString(checksum) FROM {name}.schema_migrations ORDER BY version"
            assert clickhouse_client.query(records).result_rows == [
                (migration.version, migration.name, migration.checksum) for migration in load_migrations()
            ]
        finally:
            clickhouse_client.command(f"DROP DATABASE {name} SYNC")


def schema(client: Client, database: str) -> list[tuple[Any, ...]]:
    """Every table and view, as the server would have it made."""
    rows = client.query(
        "SELECT name, engine, comment, create_table_query FROM system.tables "
        "WHERE database = {database:String} ORDER BY name",
        parameters={"database": database},
    ).result_rows
    return [(name, engine, comment, text.replace(f"{database}.", ".")) for name, engine, comment, text in rows]
