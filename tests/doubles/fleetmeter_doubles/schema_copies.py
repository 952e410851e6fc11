"""This build's schema in one more database, for less than half of what its migrations cost."""

from __future__ import annotations

from dataclasses import dataclass

from clickhouse_connect.driver.client import Client
from fleetmeter_sql import migrate

_OLD_NAME = "{database}"


@dataclass(frozen=True)
class _Schema:
    """What a migrated database consists of."""

    statements: tuple[str, ...]
    migrations: tuple[tuple[object, ...], ...]


_SCHEMAS: dict[str, _Schema] = {}
"""By the server's version, which words what it is asked for its tables."""


def copy_schema(client: Client, database: str) -> None:
    """What `migrate(client, database)` does for a database that has no tables, or is not there yet.

    The first of a process is migrated. The others are made as that one turned out: a table or a view a statement, and
    the migrations' records in one insert.
    """
    schema = _SCHEMAS.get(client.server_version)
    if schema is None:
        migrate(client, database)
        _SCHEMAS[client.server_version] = _read(client, database)
        return
    client.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    for statement in schema.statements:
        client.command(statement.replace(_OLD_NAME, database))
    columns = ["version", "name", "checksum", "applied_at"]
    client.insert("schema_migrations", schema.migrations, column_names=columns, database=database)


def _read(client: Client, database: str) -> _Schema:
    made = client.query(
        "SELECT create_table_query FROM system.tables WHERE database = {database:String} "
        "ORDER BY engine = 'View', name",
        parameters={"database": database},
    ).result_rows
    records = client.query(
        f"SELECT version, name, checksum, applied_at FROM {database}.schema_migrations FINAL ORDER BY version"
    ).result_rows
    statements = tuple(text.replace(f"{database}.", f"{_OLD_NAME}.") for (text,) in made)
    return _Schema(statements, tuple(tuple(record) for record in records))
