"""`usage_minutes`, `usage_hours`, `usage_days`: every counted event once, however its rows lie in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures

pytestmark = pytest.mark.clickhouse

VIEWS = ("usage_minutes", "usage_hours", "usage_days")


def rows(client: Client, sql: str) -> list[Any]:
    return list(client.query(sql).result_rows)


def test_partitions_epochs_and_topics_are_summed_over(migrated: Client, usage: Callable[..., None]) -> None:
    usage(
        {"model": "m", "partition": 0, "requests": 2, "output_tokens": 10},
        {"model": "m", "partition": 1, "requests": 3, "output_tokens": 100},
        {"model": "m", "partition": 1, "epoch": 1, "requests": 4, "output_tokens": 1000},
        {"model": "m", "topic": "t2", "requests": 5, "output_tokens": 10_000, "table_partition": 202612},
    )
    for view in VIEWS:
        assert rows(migrated, f"SELECT model, requests, output_tokens FROM {view}") == [("m", 14, 11_110)]


def test_each_dimension_keeps_rows_apart(migrated: Client, usage: Callable[..., None]) -> None:
    usage({}, {}, *({dimension: "b", "requests": 10} for dimension in ledger_dimensions()))
    for view in VIEWS:
        assert rows(migrated, f"SELECT count(), min(requests), max(requests) FROM {view}") == [
            (1 + len(ledger_dimensions()), 2, 10)
        ]
        sums = ", ".join(f"sumIf(requests, {dimension} = 'b')" for dimension in ledger_dimensions())
        assert rows(migrated, f"SELECT {sums} FROM {view}") == [(10,) * len(ledger_dimensions())]


def test_each_measure_is_summed_under_its_own_name(migrated: Client, usage: Callable[..., None]) -> None:
    # Distinct primes a measure, so that a swapped or repeated column can't give the right sum by chance.
    once = {name: 1000 + 7 * place for place, name in enumerate(ledger_measures())}
    usage({**once, "partition": 0}, {**{name: 10 * value for name, value in once.items()}, "partition": 1})
    for view in VIEWS:
        ((*sums,),) = rows(migrated, f"SELECT {', '.join(ledger_measures())} FROM {view}")
        assert dict(zip(ledger_measures(), sums, strict=True)) == {name: 11 * v for name, v in once.items()}


def test_accounts_types_and_times_keep_rows_apart(migrated: Client, usage: Callable[..., None]) -> None:
    usage(
        {"minute": "2026-11-20 23:58:00"},
        {"minute": "2026-11-20 23:59:00", "requests": 2},
        {"minute": "2026-11-21 00:00:00", "requests": 4},
        {"minute": "2026-11-21 00:00:00", "requests": 8, "account_id": "globex"},
        {"minute": "2026-11-21 00:00:00", "fallbacks": 16, "event_type": "fallback"},
    )
    key = "event_type, account_id"
    eve, midnight = datetime(2026, 11, 20, 23, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
    late = {"fallback": (0, 16), "generation": (4, 0)}
    assert rows(
        migrated, f"SELECT {key}, toUnixTimestamp(hour), requests, fallbacks FROM usage_hours ORDER BY ALL"
    ) == [
        ("fallback", "acme", midnight.timestamp(), *late["fallback"]),
        ("generation", "acme", eve.timestamp(), 3, 0),
        ("generation", "acme", midnight.timestamp(), *late["generation"]),
        ("generation", "globex", midnight.timestamp(), 8, 0),
    ]
    assert rows(migrated, f"SELECT {key}, day, requests, fallbacks FROM usage_days ORDER BY ALL") == [
        ("fallback", "acme", date(2026, 11, 21), 0, 16),
        ("generation", "acme", date(2026, 11, 20), 3, 0),
        ("generation", "acme", date(2026, 11, 21), 4, 0),
        ("generation", "globex", date(2026, 11, 21), 8, 0),
    ]
    assert rows(migrated, "SELECT count(), sum(requests) FROM usage_minutes") == [(5, 15)]


def test_days_are_utc_whatever_the_session_time_zone(migrated: Client, usage: Callable[..., None]) -> None:
    usage({"minute": "2026-11-20 23:59:00"}, {"minute": "2026-11-21 00:00:00"})
    for zone in ("Pacific/Kiritimati", "America/Los_Angeles"):
        setting = f"SETTINGS session_timezone = '{zone}'"
        assert rows(migrated, f"SELECT toString(day) FROM usage_days ORDER BY 1 {setting}") == [
            ("2026-11-20",),
            ("2026-11-21",),
        ]
        assert rows(migrated, f"SELECT toUnixTimestamp(hour) % 86400 FROM usage_hours ORDER BY hour {setting}") == [
            (23 * 3600,),
            (0,),
        ]


def test_sums_beyond_2_64_are_right(migrated: Client, usage: Callable[..., None]) -> None:
    most = 2**64 - 1
    usage(*({"partition": partition, "output_tokens": most} for partition in range(3)))
    for view in VIEWS:
        assert rows(migrated, f"SELECT output_tokens, requests FROM {view}") == [(3 * most, 3)]
        # Readers sum further, and divide: neither wraps, and a quotient is not cut to a whole number.
        assert rows(migrated, f"SELECT sum(output_tokens), sum(requests) / 2 FROM {view}") == [(3 * most, 1.5)]


def test_json_shows_the_digits_and_arrow_readers_cast(migrated: Client, usage: Callable[..., None]) -> None:
    usage({"output_tokens": 2**64 - 1}, {"partition": 1, "output_tokens": 2**64 - 1})
    text = migrated.raw_query("SELECT output_tokens FROM usage_minutes", fmt="JSONEachRow")
    assert text.strip() == b'{"output_tokens":36893488147419103230}'
    table = migrated.query_arrow("SELECT toUInt64(requests) AS requests FROM usage_minutes")
    assert table.schema.field("requests").type == pa.uint64()
    assert table.column("requests").to_pylist() == [2]


def test_markers_and_blobs_are_not_usage(
    migrated: Client, usage: Callable[..., None], insert: Callable[..., None]
) -> None:
    usage({"requests": 7})
    where = {"topic": "t", "table_partition": 202611}
    insert(
        "ledger",
        [
            {
                **where,
                "row_kind": "marker",
                "next_offset": 9,
                "records": 9,
                "events_in": 9,
                "accepted": 9,
                "commits": 1,
            },
            {**where, "row_kind": "blob", "blob_offset": 3, "blob": "identities"},
            {"row_kind": "blob", "blob": "0123456789abcdef"},
        ],
    )
    for view in VIEWS:
        assert rows(migrated, f"SELECT count(), sum(requests) FROM {view}") == [(1, 7)]


def test_merges_change_no_answer(migrated: Client, usage: Callable[..., None]) -> None:
    migrated.command("SYSTEM STOP MERGES ledger")
    usage(*({"partition": n % 2, "model": f"m{n % 3}", "requests": n, "first_offset": n} for n in range(1, 13)))
    before = [rows(migrated, f"SELECT * FROM {view} ORDER BY ALL") for view in VIEWS]
    assert rows(migrated, "SELECT count() FROM ledger") == [(12,)]
    migrated.command("SYSTEM START MERGES ledger")
    migrated.command("OPTIMIZE TABLE ledger FINAL")
    assert rows(migrated, "SELECT count() FROM ledger") == [(6,)]
    assert [rows(migrated, f"SELECT * FROM {view} ORDER BY ALL") for view in VIEWS] == before
    assert rows(migrated, "SELECT model, requests FROM usage_days ORDER BY ALL") == [
        ("m0", 3 + 6 + 9 + 12),
        ("m1", 1 + 4 + 7 + 10),
        ("m2", 2 + 5 + 8 + 11),
    ]


def test_a_reader_of_one_account_reads_only_its_granules(migrated: Client) -> None:
    migrated.command(
        "INSERT INTO ledger (row_kind, event_type, account_id, minute, requests, table_partition) "
        "SELECT 'usage', 'generation', toString(number % 100), toDateTime(60 * number, 'UTC'), 1, 197001 "
        "FROM numbers(100000)"
    )
    plan = "\n".join(
        line
        for (line,) in rows(
            migrated,
            "EXPLAIN indexes = 1 SELECT sum(requests) FROM usage_minutes "
            "WHERE account_id = '7' AND minute >= '1970-02-01 00:00:00' AND minute < '1970-02-02 00:00:00'",
        )
    )
    read, of = (int(number) for number in plan.split("Granules: ")[-1].split()[0].split("/"))
    assert of >= 12
    assert read <= 2, plan


def test_expiring_rollups_leaves_what_proves_the_count(
    migrated: Client, usage: Callable[..., None], insert: Callable[..., None]
) -> None:
    """The TTL that the README gives to operators."""
    usage({"minute": "2020-01-01 00:00:00"}, {"minute": "2099-01-01 00:00:00"})
    where = {"topic": "t", "table_partition": 202611}
    insert("ledger", [{**where, "row_kind": "marker", "next_offset": 9}, {**where, "row_kind": "blob", "blob": "x"}])
    migrated.command(
        "ALTER TABLE ledger MODIFY TTL minute + INTERVAL 800 DAY DELETE WHERE row_kind = 'usage' "
        "SETTINGS mutations_sync = 1"
    )
    migrated.command("OPTIMIZE TABLE ledger FINAL")
    assert rows(migrated, "SELECT row_kind, toYear(minute) FROM ledger ORDER BY ALL") == [
        ("marker", 1970),
        ("blob", 1970),
        ("usage", 2099),
    ]
