"""Table declarations: complete against the event declarations, and consistent."""

import re

import pytest
from fleetmeter_schemas import EVENT_TYPES
from fleetmeter_schemas.fields import Kind, field_table
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures
from fleetmeter_schemas.tables import LEDGER, TABLES, Table

FACTS = {
    "usage_facts": ("device_report", "outcome", "job"),
    "usage_estimates": ("device_report",),
    "usage_adjustments": ("adjustment",),
}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_columns_are_named_once_and_explained(table: Table) -> None:
    assert len(set(table.column_names)) == len(table.columns)
    for column in table.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert column.comment[0].isupper() or not column.comment[0].isalpha() or "," in column.comment
        assert column.comment.endswith(".")


def test_the_ledger_has_a_column_for_each_dimension_and_measure() -> None:
    types = {column.name: column.clickhouse_type for column in LEDGER.columns}
    assert {types[name] for name in ledger_dimensions()} == {"LowCardinality(String)"}
    assert {types[name] for name in ledger_measures()} == {"SimpleAggregateFunction(sum, UInt64)"}


def test_the_ledger_starts_with_its_sorting_key() -> None:
    names = LEDGER.column_names
    head = ("row_kind", "event_type", "account_id", "minute", *ledger_dimensions(), "topic", "partition", "epoch")
    assert names[: len(head)] == head
    assert names[len(head)] == "blob_offset"


def test_what_merges_is_declared_to() -> None:
    """Columns behind the sorting key are merged: each must say how, or be the partition key."""
    key_ends = LEDGER.column_names.index("blob_offset")
    for column in LEDGER.columns[key_ends + 1 :]:
        assert column.name == "table_partition" or column.clickhouse_type.startswith("SimpleAggregateFunction(")


@pytest.mark.parametrize(("table", "shorts"), FACTS.items())
def test_a_fact_keeps_every_field_of_its_types(table: str, shorts: tuple[str, ...]) -> None:
    types = {column.name: column.clickhouse_type for column in TABLES[table].columns}
    wanted = {
        Kind.UINT: {"Nullable(UInt64)"},
        Kind.INT: {"Int64"},
        Kind.TIME: {"Nullable(DateTime64(6, 'UTC'))"},
        Kind.LABELS: {"String"},
        Kind.STRING: {"String", "LowCardinality(String)"},
    }
    for model in EVENT_TYPES.values():
        if model.SHORT in shorts:
            for spec in field_table(model):
                assert types[spec.name] in wanted[spec.kind], spec.name
    assert {"source", "event_id", "topic", "partition", "epoch", "offset", "event_index"} <= set(types)
