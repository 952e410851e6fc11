"""`ingest_positions` and `usage_completeness`: what the markers and idle watermarks say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

pytestmark = pytest.mark.clickhouse

Insert = Callable[[str, list[dict[str, Any]]], None]


def marker(partition: int, first: int, after: int, **columns: Any) -> dict[str, Any]:
    """A marker of the commit [first, after), in which every offset was a record of one accepted event."""
    count = after - first
    tail = {"next_offset": after, "nonce": f"n{after}", "topic_id": "id", "leader_epoch": 4, "crc": 7}
    row = {
        "row_kind": "marker",
        "topic": "t",
        "partition": partition,
        "table_partition": 202611,
        "first_offset": first,
        "next_offset": after,
        "commits": 1 if count else 0,
        "records": count,
        "events_in": count,
        "accepted": count,
        "committed_at": "2026-11-20 10:00:00",
        "tail": {**tail, "table_partition": 202611},
    }
    return {**row, **columns}


def rows(client: Client, sql: str) -> list[Any]:
    return list(client.query(sql).result_rows)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_commits_of_a_partition_add_up_over_table_partitions(migrated: Client, insert: Insert) -> None:
    insert("ledger", [marker(3, 100, 100, table_partition=0)])
    insert("ledger", [marker(3, 100, 110, watermark="2026-11-30 23:59:59.25")])
    # 5 records with 8 events (6 counted, 1 known already, 1 in quarantine), 2 aborted records, 1 control record.
    odd = {"records": 5, "aborted_offsets": 2, "control_offsets": 1}
    events = {
        "events_in": 8,
        "accepted": 6,
        "duplicates": 1,
        "rejected": 1,
        "unknown_fields": 9,
        "overflowed_labels": 2,
    }
    later = {"table_partition": 202612, "committed_at": "2026-12-01 00:00:05.5", "watermark": "2026-11-30 23:00:00"}
    insert("ledger", [marker(3, 110, 118, **odd, **events, **later)])
    # An operator has left out 30.
    skip = {"event_type": "skip", "blob_offset": 118, "commits": 0, "skipped_offsets": 30}
    skip |= dict.fromkeys(("records", "events_in", "accepted"), 0)
    insert("ledger", [{**marker(3, 118, 148, table_partition=202612), **skip}])
    answer = migrated.query("SELECT * FROM ingest_positions")
    (values,) = answer.result_rows
    position = dict(zip(answer.column_names, values, strict=True))
    assert str(position.pop("watermark")).startswith("2026-11-30 23:59:59.25")
    assert str(position.pop("committed_at")).startswith("2026-12-01 00:00:05.5")
    assert position == {
        "topic": "t",
        "partition": 3,
        "epoch": 0,
        "first_offset": 100,
        "next_offset": 148,
        "offsets_span": 48,
        "offsets_counted": 48,
        "commits": 2,
        "records": 15,
        "control_offsets": 1,
        "aborted_offsets": 2,
        "skipped_offsets": 30,
        "events_in": 18,
        "accepted": 16,
        "duplicates": 1,
        "rejected": 1,
        "unknown_fields": 9,
        "overflowed_labels": 2,
        "offsets_ok": True,
        "events_ok": True,
        "nonce": "n148",
        "topic_id": "id",
        "leader_epoch": 4,
        "crc": 7,
        "table_partition": 202611,
    }


def test_each_partition_and_epoch_has_its_own_position(migrated: Client, insert: Insert) -> None:
    insert("ledger", [marker(0, 0, 5), marker(1, 0, 7), marker(1, 0, 2, epoch=1), marker(1, 3, 9, topic="u")])
    assert rows(migrated, "SELECT topic, partition, epoch, next_offset FROM ingest_positions ORDER BY ALL") == [
        ("t", 0, 0, 5),
        ("t", 1, 0, 7),
        ("t", 1, 1, 2),
        ("u", 1, 0, 9),
    ]


@pytest.mark.parametrize(
    ("second", "offsets_ok", "events_ok"),
    [
        (marker(0, 5, 9), True, True),
        (marker(0, 0, 5), False, True),  # the same range twice
        (marker(0, 6, 9), False, True),  # a gap
        (marker(0, 5, 9, records=3), False, True),  # a record short
        (marker(0, 5, 9, accepted=5), True, False),  # an event counted twice
        (marker(0, 5, 9, duplicates=1), True, False),
        (marker(0, 5, 9, tail={"next_offset": 8}), False, True),  # a tail of another commit
    ],
)
def test_books_that_do_not_add_up_are_seen(
    migrated: Client, insert: Insert, second: dict[str, Any], offsets_ok: bool, events_ok: bool
) -> None:
    insert("ledger", [marker(0, 0, 5)])
    insert("ledger", [second])
    assert rows(migrated, "SELECT offsets_ok, events_ok FROM ingest_positions") == [(offsets_ok, events_ok)]


def test_usage_and_blob_rows_say_nothing_about_positions(migrated: Client, insert: Insert) -> None:
    insert("ledger", [{"row_kind": "usage", "topic": "t", "next_offset": 50, "requests": 1}])
    insert("ledger", [{"row_kind": "blob", "topic": "t", "next_offset": 50, "blob": "x"}])
    assert rows(migrated, "SELECT * FROM ingest_positions") == []
    assert rows(migrated, "SELECT * FROM usage_completeness") == []


COMPLETENESS = (
    "SELECT partition, toString(watermark), toString(topic_watermark), holds_back FROM usage_completeness ORDER BY 1"
)


def test_a_topic_is_complete_up_to_its_slowest_partition(migrated: Client, insert: Insert) -> None:
    insert(
        "ledger", [marker(0, 0, 5, watermark="2026-11-20 10:00:00"), marker(1, 0, 5, watermark="2026-11-20 09:00:00")]
    )
    insert("ledger", [marker(0, 0, 5, watermark="2026-11-20 08:00:00", topic="slow")])
    assert rows(migrated, COMPLETENESS.replace("ORDER", "WHERE topic = 't' ORDER")) == [
        (0, "2026-11-20 10:00:00.000000", "2026-11-20 09:00:00.000000", False),
        (1, "2026-11-20 09:00:00.000000", "2026-11-20 09:00:00.000000", True),
    ]
    assert rows(migrated, "SELECT topic, partition FROM usage_completeness WHERE topic = 'slow'") == [("slow", 0)]


def test_looking_at_one_partition_does_not_hide_the_slowest(migrated: Client, insert: Insert) -> None:
    insert(
        "ledger", [marker(0, 0, 5, watermark="2026-11-20 10:00:00"), marker(1, 0, 5, watermark="2026-11-20 09:00:00")]
    )
    assert rows(migrated, COMPLETENESS.replace("ORDER", "WHERE partition = 0 ORDER")) == [
        (0, "2026-11-20 10:00:00.000000", "2026-11-20 09:00:00.000000", False)
    ]


@pytest.mark.parametrize(
    ("idle_at", "expected"),
    [
        (5, "2026-11-20 12:00:00.000000"),  # idle at the committed position
        (4, "2026-11-20 12:00:00.000000"),  # idle before the last commit
        (6, "2026-11-20 10:00:00.000000"),  # idle behind records that the ledger does not hold
    ],
)
def test_an_idle_partition_does_not_hold_back(migrated: Client, insert: Insert, idle_at: int, expected: str) -> None:
    insert("ledger", [marker(0, 0, 5, watermark="2026-11-20 10:00:00")])
    for watermark in ("2026-11-20 12:00:00", "2026-11-20 11:00:00"):
        insert("watermarks", [{"topic": "t", "next_offset": idle_at, "watermark": watermark}])
    assert rows(migrated, COMPLETENESS) == [(0, expected, expected, True)]


def test_an_idle_mark_never_takes_a_watermark_back(migrated: Client, insert: Insert) -> None:
    insert("ledger", [marker(0, 0, 5, watermark="2026-11-20 10:00:00")])
    insert("watermarks", [{"topic": "t", "next_offset": 5, "watermark": "2026-11-20 09:00:00"}])
    assert [row[1] for row in rows(migrated, COMPLETENESS)] == ["2026-11-20 10:00:00.000000"]


def test_a_replaced_log_starts_anew(migrated: Client, insert: Insert) -> None:
    insert("ledger", [marker(0, 0, 5, watermark="2026-11-20 10:00:00"), marker(0, 0, 0, epoch=1)])
    insert("watermarks", [{"topic": "t", "next_offset": 5, "watermark": "2026-11-20 11:00:00"}])
    assert [row[1] for row in rows(migrated, COMPLETENESS)] == ["1970-01-01 00:00:00.000000"]
    insert("ledger", [marker(0, 0, 2, epoch=1, watermark="2026-11-20 09:30:00")])
    assert [row[1] for row in rows(migrated, COMPLETENESS)] == ["2026-11-20 09:30:00.000000"]


def test_nothing_is_complete_before_there_is_anything(migrated: Client) -> None:
    complete = "SELECT min(topic_watermark) >= toDateTime('2020-01-01 00:00:00', 'UTC') FROM usage_completeness"
    assert rows(migrated, complete) == [(0,)]


def test_join_settings_of_the_reader_change_nothing(migrated: Client, insert: Insert) -> None:
    insert("ledger", [marker(0, 0, 5, watermark="2026-11-20 10:00:00")])
    settings = "SETTINGS join_use_nulls = 1, prefer_column_name_to_alias = 1"
    for view in ("ingest_positions", "usage_completeness"):
        assert rows(migrated, f"SELECT * FROM {view} {settings}") == rows(migrated, f"SELECT * FROM {view}")
