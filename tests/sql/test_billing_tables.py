"""The tables of frozen usage have every dimension and measure of the ledger, and every priced column of the facts."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_billing.periods.close_log import FROZEN_TABLES
from fleetmeter_billing.periods.frozen_columns import ADJUSTMENT_COLUMNS, DIMENSIONS, FACT_COLUMNS, MEASURES
from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures
from fleetmeter_schemas.tables import USAGE_ADJUSTMENTS, USAGE_FACTS, Table
from fleetmeter_sql.durability import DURABLE_TABLES

pytestmark = pytest.mark.clickhouse
KEY = ["seq", "close_id", "usage_period", "account_id", "segment"]


def columns(client: Client, table: str) -> dict[str, str]:
    rows = client.query(
        "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {t:String} "
        "ORDER BY position",
        parameters={"t": table},
    ).result_rows
    return dict(rows)


def test_frozen_usage_is_told_apart_by_all_that_a_price_may_look_at(read_only: Client) -> None:
    found = columns(read_only, "billing_frozen_usage")
    assert list(found) == [*KEY, "event_type", *DIMENSIONS, *MEASURES]
    assert set(ledger_dimensions()) - set(DIMENSIONS) == {"labels"}
    assert list(MEASURES) == list(ledger_measures())
    assert {found[name] for name in MEASURES} == {"Int128"}


@pytest.mark.parametrize(
    ("table", "source", "names", "own"),
    [
        ("billing_frozen_facts", USAGE_FACTS, FACT_COLUMNS, ["effective_time"]),
        ("billing_frozen_adjustments", USAGE_ADJUSTMENTS, ADJUSTMENT_COLUMNS, []),
    ],
)
def test_frozen_rows_are_those_that_were_counted(
    read_only: Client, table: str, source: Table, names: tuple[str, ...], own: list[str]
) -> None:
    found = columns(read_only, table)
    assert list(found) == [*KEY, *own, *names]
    kinds = {column.name: column.clickhouse_type for column in source.columns}
    assert {name: found[name] for name in names} == {name: kinds[name] for name in names}


@pytest.mark.parametrize("table", [*FROZEN_TABLES, "billing_closes"])
def test_tokens_are_remembered_and_nothing_expires(read_only: Client, table: str) -> None:
    ((definition,),) = read_only.query(
        "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        parameters={"t": table},
    ).result_rows
    assert "non_replicated_deduplication_window = 10" in definition
    assert " TTL " not in definition
    assert "PARTITION BY" not in definition
    assert table in DURABLE_TABLES
