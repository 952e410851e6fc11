"""A migrated database of the test's own, and rows to put into it by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import clickhouse_connect
import orjson
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_doubles.schema_copies import copy_schema
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import load_query, migrate, run_query

Row = Mapping[str, Any]
Insert = Callable[[str, Iterable[Row]], None]
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def migrated(clickhouse_client: Client, database: str) -> Client:
    """A client on an empty database with this build's schema."""
    copy_schema(clickhouse_client, database)
    return clickhouse_client


@pytest.fixture(scope="module")
def read_only(clickhouse: RunningClickHouse) -> Iterator[Client]:
    """A client on an empty database with this build's schema, shared by the tests of a module, which only look."""
    name = f"test_{uuid.uuid4().hex}"
    with clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, username=clickhouse.user, password=clickhouse.password
    ) as client:
        migrate(client, name)
        client.database = name
        yield client
        client.command(f"DROP DATABASE {name} SYNC")


@pytest.fixture
def insert(migrated: Client) -> Insert:
    """`insert(table, rows)`: each row names the columns that matter; the others have their defaults."""

    def put(table: str, rows: Iterable[Row]) -> None:
        body = b"\n".join(orjson.dumps(row) for row in rows)
        # The ledger takes a second insert of the same bytes for a retry of the first; here it is another delta.
        migrated.raw_insert(table, insert_block=body, fmt="JSONEachRow", settings={"deduplicate_insert": "disable"})

    return put


@pytest.fixture
def usage(insert: Insert) -> Callable[..., None]:
    """`usage(rows...)`: adds usage rows to the ledger, each with the defaults of one cloud generation."""

    def put(*rows: Row) -> None:
        common = {
            "row_kind": "usage",
            "event_type": "generation",
            "account_id": "acme",
            "minute": "2026-11-20 10:00:00",
            "topic": "t",
            "table_partition": 202611,
        }
        # One insert a row: rows of one insert are merged at once, and readers must not depend on that.
        for row in rows:
            counted = {} if row.get("event_type") == "fallback" else {"requests": 1}
            insert("ledger", [{**common, **counted, **row}])

    return put


@pytest.fixture
def ask(migrated: Client) -> Ask:
    """`ask(name, **parameters)`: the answer of a named query, a dict a row."""

    def answer(name: str, /, **values: Any) -> list[dict[str, Any]]:
        result = run_query(migrated, load_query(name), values)
        return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

    return answer
