"""Marking refused events as sent again, in ClickHouse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_jobs.cli.quarantine_rows import Wanted, find_rows, mark_replayed
from fleetmeter_sql import load_migrations

pytestmark = pytest.mark.clickhouse
ROWS = 600
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Counting:
    """A client that counts its statements."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.statements = 0

    def command(self, statement: str, **options: Any) -> Any:
        self.statements += 1
        return self.client.command(statement, **options)


def test_many_rows_are_marked_with_few_statements(clickhouse_client: Client) -> None:
    made_by = "CREATE TABLE IF NOT EXISTS quarantine"
    statements = [statement for migration in load_migrations() for statement in migration.statements]
    clickhouse_client.command(next(one for one in statements if one.startswith(made_by)))
    refused = [
        {"topic": "it's", "partition": n % 3, "offset": n // 2, "event_index": n % 2, "payload": f"p{n}", "reason": "x"}
        for n in range(ROWS)
    ]
    body = b"\n".join(orjson.dumps(row) for row in refused)
    clickhouse_client.raw_insert("quarantine", insert_block=body, fmt="JSONEachRow")
    rows = find_rows(clickhouse_client, Wanted("it's"))
    assert len(rows) == ROWS
    counting = Counting(clickhouse_client)
    for _ in range(2):
        mark_replayed(counting, rows[:-1], NOW)
    assert counting.statements == 2 * 2
    after = find_rows(clickhouse_client, Wanted("it's"))
    assert [row.payload for row in after] == [row.payload for row in rows]
    assert [row.replayed_at for row in after] == [*[NOW] * (ROWS - 1), None]
    assert find_rows(clickhouse_client, Wanted("it's", replayed=False)) == [rows[-1]]
