"""Which tables wait for the disk: read from the engine, not from what was asked for."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.client import Client
from fleetmeter_sql import TableOptions, migrate, read_durability, set_durability
from fleetmeter_sql.durability import ALWAYS_DURABLE_TABLES, DURABLE_TABLES, FSYNC_SETTINGS

pytestmark = pytest.mark.clickhouse


def in_force(client: Client, table: str) -> dict[str, str]:
    """The fsync settings in a table's definition, as ClickHouse tells them."""
    ((engine,),) = client.query(
        "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = {t:String}",
        parameters={"t": table},
    ).result_rows
    settings = dict(pair.split(" = ") for pair in engine.rpartition(" SETTINGS ")[2].split(", "))
    return {name: value for name, value in settings.items() if "fsync" in name}


def test_a_migrated_database_waits_for_the_disk_wherever_a_row_counts(clickhouse_client: Client, database: str) -> None:
    migrate(clickhouse_client, database)
    everywhere = (*DURABLE_TABLES, *ALWAYS_DURABLE_TABLES)
    for table in everywhere:
        assert in_force(clickhouse_client, table) == dict.fromkeys(FSYNC_SETTINGS, "1"), table
    found = {one.table: one.lacking for one in read_durability(clickhouse_client, database)}
    assert found == {table: [] for table in everywhere}
    assert set_durability(clickhouse_client, database, TableOptions()) == [], "nothing to change"


def test_it_can_be_switched_off_and_on_again_but_not_for_dedup(clickhouse_client: Client, database: str) -> None:
    migrate(clickhouse_client, database, options=TableOptions(fsync=False))
    assert in_force(clickhouse_client, "ledger") == {}
    lacking = {found.table: set(found.lacking) for found in read_durability(clickhouse_client, database)}
    assert {table for table, names in lacking.items() if names == set(FSYNC_SETTINGS)} == set(DURABLE_TABLES)
    assert {table for table, names in lacking.items() if not names} == set(ALWAYS_DURABLE_TABLES)
    assert in_force(clickhouse_client, "dedup_ids") == dict.fromkeys(FSYNC_SETTINGS, "1")
    migrate(clickhouse_client, database)
    assert in_force(clickhouse_client, "ledger") == dict.fromkeys(FSYNC_SETTINGS, "1")
    migrate(clickhouse_client, database, options=TableOptions(fsync=False))
    assert in_force(clickhouse_client, "ledger") == dict.fromkeys(FSYNC_SETTINGS, "0")


def test_dedup_s_are_put_back_whatever_was_asked_for(clickhouse_client: Client, database: str) -> None:
    migrate(clickhouse_client, database, options=TableOptions(fsync=False))
    clickhouse_client.command("ALTER TABLE dedup_ids MODIFY SETTING fsync_after_insert = 0")
    migrate(clickhouse_client, database, options=TableOptions(fsync=False))
    assert in_force(clickhouse_client, "dedup_ids") == dict.fromkeys(FSYNC_SETTINGS, "1")


def test_a_setting_that_somebody_took_away_is_named(clickhouse_client: Client, database: str) -> None:
    migrate(clickhouse_client, database)
    clickhouse_client.command("ALTER TABLE quarantine MODIFY SETTING fsync_part_directory = 0")
    lacking = {found.table: found.lacking for found in read_durability(clickhouse_client, database)}
    assert lacking.pop("quarantine") == ["fsync_part_directory"]
    assert not any(lacking.values())
    assert set_durability(clickhouse_client, database, TableOptions()) == ["quarantine"]
    assert not any(found.lacking for found in read_durability(clickhouse_client, database))


@pytest.mark.parametrize("value", ["true", "'1'", "1"])
def test_a_setting_is_read_however_somebody_wrote_it(clickhouse_client: Client, database: str, value: str) -> None:
    migrate(clickhouse_client, database)
    clickhouse_client.command(f"ALTER TABLE quarantine MODIFY SETTING fsync_after_insert = {value}")
    assert not any(found.lacking for found in read_durability(clickhouse_client, database))


def test_merges_of_few_rows_have_to_wait_too(clickhouse_client: Client, database: str) -> None:
    migrate(clickhouse_client, database)
    clickhouse_client.command("ALTER TABLE ledger MODIFY SETTING min_rows_to_fsync_after_merge = 1000000")
    lacking = {found.table: found.lacking for found in read_durability(clickhouse_client, database)}
    assert lacking["ledger"] == ["min_rows_to_fsync_after_merge"]
    assert set_durability(clickhouse_client, database, TableOptions()) == ["ledger"]
    assert not any(found.lacking for found in read_durability(clickhouse_client, database))
