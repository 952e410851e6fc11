"""Marking refused events as sent again, in ClickHouse."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_jobs.cli.quarantine_rows import Wanted, count_by_reason, find_rows, mark_replayed
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


def make_tables(client: Client) -> None:
    """What the rows are read from."""
    statements = [statement for migration in load_migrations() for statement in migration.statements]
    for made in ("TABLE IF NOT EXISTS ledger", "TABLE IF NOT EXISTS quarantine", "VIEW IF NOT EXISTS ingest_positions"):
        client.command(next(one for one in statements if re.match(rf"CREATE {made}\s", one)))


def insert(client: Client, table: str, rows: list[dict[str, Any]]) -> None:
    client.raw_insert(table, insert_block=b"\n".join(map(orjson.dumps, rows)), fmt="JSONEachRow")


def test_many_rows_are_marked_with_few_statements(clickhouse_client: Client) -> None:
    make_tables(clickhouse_client)
    refused = [
        {"topic": "it's", "partition": n % 3, "offset": n // 2, "event_index": n % 2, "payload": f"p{n}", "reason": "x"}
        for n in range(ROWS)
    ]
    insert(clickhouse_client, "quarantine", refused)
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


def test_rows_beside_a_commit_that_lost_to_the_end_of_its_epoch_are_not_shown_again(clickhouse_client: Client) -> None:
    """Each log was closed at offset 7 under a worker that had judged up to 9; only in one of them the next goes on."""
    make_tables(clickhouse_client)
    for partition, (begins, topic_id) in enumerate(
        [(7, "a log"), (0, "another log"), (0, "a log"), (7, "another log")]
    ):
        spans = [(0, 0, 7, "a log"), (1, begins, 20, topic_id)]
        markers = [
            {
                "row_kind": "marker",
                "topic": "t",
                "partition": partition,
                "epoch": epoch,
                "table_partition": 202611,
                "first_offset": first,
                "next_offset": end,
                "tail": {"next_offset": end, "topic_id": log},
            }
            for epoch, first, end, log in spans
        ]
        insert(clickhouse_client, "ledger", markers)
        places = [(0, 6), (0, 7), (0, 8), (1, 7), (1, 8)]
        rows = [
            {"topic": "t", "partition": partition, "epoch": epoch, "offset": offset, "reason": "x"}
            for epoch, offset in places
        ]
        insert(clickhouse_client, "quarantine", rows)
    shown = [(row.partition, row.epoch, row.offset) for row in find_rows(clickhouse_client, Wanted("t"))]
    assert [place[1:] for place in shown if place[0] == 0] == [(0, 6), (1, 7), (1, 8)]
    assert [place[1:] for place in shown if place[0] == 1] == places
    assert len(shown) == 3 + 3 * len(places)
    assert count_by_reason(clickhouse_client, "t") == [("x", len(shown), 0, "")]
