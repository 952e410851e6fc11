"""The applied schema is what `fleetmeter_schemas` declares, and says why it is as it is."""

from __future__ import annotations

import re

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures
from fleetmeter_schemas.tables import LEDGER, TABLES, Column, Table
from fleetmeter_sql import load_migrations

pytestmark = pytest.mark.clickhouse

SPANS = {
    "usage_minutes": ("minute", "DateTime('UTC')"),
    "usage_hours": ("hour", "DateTime('UTC')"),
    "usage_days": ("day", "Date"),
}


def columns_of(client: Client, table: str) -> list[tuple[str, str, str]]:
    return list(
        client.query(
            "SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = {t:String} "
            "ORDER BY position",
            parameters={"t": table},
        ).result_rows
    )


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_tables_have_the_declared_columns_in_order(read_only: Client, table: Table) -> None:
    declared = [(c.name, c.clickhouse_type, c.comment) for c in table.columns]
    assert columns_of(read_only, table.name) == declared


@pytest.mark.parametrize("view", SPANS)
def test_usage_views_show_every_dimension_and_every_measure(read_only: Client, view: str) -> None:
    by_name: dict[str, Column] = {column.name: column for column in LEDGER.columns}
    applied = columns_of(read_only, view)
    assert [(name, kind) for name, kind, _ in applied] == [
        ("event_type", "LowCardinality(String)"),
        ("account_id", "String"),
        SPANS[view],
        *((name, "LowCardinality(String)") for name in ledger_dimensions()),
        *((name, "UInt128") for name in ledger_measures()),
    ]
    for name, _, comment in applied[3:]:
        assert comment == by_name[name].comment


def test_every_table_and_column_has_a_comment(read_only: Client) -> None:
    tables = read_only.query("SELECT name, comment FROM system.tables WHERE database = currentDatabase()").result_rows
    assert len(tables) >= 26
    for name, comment in tables:
        assert comment.endswith("."), f"{name}: {comment!r}"
        for column, _, meaning in columns_of(read_only, name):
            assert meaning.endswith("."), f"{name}.{column}: {meaning!r}"


def test_the_ledger_is_sorted_so_that_only_equal_rows_merge(read_only: Client) -> None:
    ((engine, sorting, primary, partition),) = read_only.query(
        "SELECT engine, sorting_key, primary_key, partition_key FROM system.tables "
        "WHERE database = currentDatabase() AND name = 'ledger'"
    ).result_rows
    assert engine == "AggregatingMergeTree"
    assert partition == "table_partition"
    assert primary.split(", ") == ["row_kind", "event_type", "account_id", "minute"]
    assert sorting.split(", ") == [
        *("row_kind", "event_type", "account_id", "minute"),
        *ledger_dimensions(),
        *("topic", "partition", "epoch", "blob_offset"),
    ]
    not_summed = {c.name for c in LEDGER.columns if not c.clickhouse_type.startswith("SimpleAggregateFunction")}
    assert not_summed == {*sorting.split(", "), "table_partition"}


def test_the_ledger_remembers_tokens_and_expires_nothing(read_only: Client) -> None:
    ((definition,),) = read_only.query(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = 'ledger'"
    ).result_rows
    assert "non_replicated_deduplication_window = 100000" in definition
    assert " TTL " not in definition


@pytest.mark.parametrize(
    ("table", "engine", "key"),
    [
        ("usage_facts", "ReplacingMergeTree", "source, event_id"),
        ("usage_estimates", "ReplacingMergeTree", "source, event_id"),
        ("usage_adjustments", "ReplacingMergeTree", "source, event_id"),
        ("usage_subjects", "AggregatingMergeTree", "account_id, subject_kind, day, subject"),
        ("quarantine", "ReplacingMergeTree", "topic, partition, epoch, offset, event_index"),
        ("watermarks", "AggregatingMergeTree", "topic, partition, epoch"),
        ("dedup_ids", "ReplacingMergeTree", "topic, partition, epoch, chunk_first, chunk_next, fingerprint"),
        (
            "dedup_snapshots",
            "ReplacingMergeTree",
            "topic, partition, epoch, kind, first_offset, next_offset, digest, slice",
        ),
        ("position_changes", "ReplacingMergeTree", "topic, partition, epoch, from_offset, nonce"),
        ("partition_growth", "ReplacingMergeTree", "topic, growth, step, nonce"),
    ],
)
def test_side_tables_have_natural_keys(read_only: Client, table: str, engine: str, key: str) -> None:
    rows = read_only.query(
        "SELECT engine, sorting_key FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        parameters={"t": table},
    ).result_rows
    assert list(rows) == [(engine, key)]


@pytest.mark.parametrize("clause", ["ENGINE", "ORDER BY", "PARTITION BY", "TTL"])
def test_every_table_says_why(clause: str) -> None:
    for migration in load_migrations():
        for statement in migration.statements:
            if statement.startswith("CREATE TABLE"):
                table = statement.split()[5]
                assert re.search(rf"^-- {clause}: \S", statement, re.MULTILINE), f"{table}: no why for {clause}"
                if clause in {"ENGINE", "ORDER BY", "PARTITION BY"} and re.search(rf"^{clause}\b", statement, re.M):
                    assert re.search(rf"^-- {clause}:.*\n(--.*\n)*{clause}\b", statement, re.MULTILINE), table
