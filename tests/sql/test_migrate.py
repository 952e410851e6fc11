"""`migrate`: idempotent, continued after a failure, safe when two run at once, and careful with foreign databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import clickhouse_connect
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from fleetmeter_local import RunningClickHouse
from fleetmeter_sql import (
    DatabaseNameError,
    DatabaseNewerError,
    Migration,
    MigrationChangedError,
    MigrationFailedError,
    MigrationInterruptedError,
    SqlFileError,
    load_migrations,
    migrate,
    pending_migrations,
)
from fleetmeter_sql.migrate import parse_migrations

pytestmark = pytest.mark.clickhouse

FIRST = load_migrations()[0]
TABLE = Migration(2, "a", "CREATE TABLE IF NOT EXISTS a (x UInt8) ENGINE = MergeTree ORDER BY x;")


@pytest.fixture
def fresh_client(clickhouse: RunningClickHouse) -> Any:
    """A client opened without a database, as `fleetmeter migrate` does before there is one."""
    with connect(clickhouse) as client:
        yield client


def connect(clickhouse: RunningClickHouse) -> Client:
    return clickhouse_connect.get_client(
        host=clickhouse.host, port=clickhouse.port, username=clickhouse.user, password=clickhouse.password
    )


def names(client: Client, database: str) -> set[str]:
    rows = client.query(
        "SELECT name FROM system.tables WHERE database = {database:String}", parameters={"database": database}
    ).result_rows
    return {name for (name,) in rows}


def test_a_database_that_is_not_there_is_created_and_filled(fresh_client: Client, database: str) -> None:
    fresh_client.command(f"DROP DATABASE {database} SYNC")
    applied = migrate(fresh_client, database)
    assert [migration.version for migration in applied] == list(range(1, len(load_migrations()) + 1))
    assert {name for name in names(fresh_client, database) if not name.startswith("billing_")} == {
        "schema_migrations",
        "ledger",
        "usage_facts",
        "usage_estimates",
        "usage_adjustments",
        "usage_subjects",
        "quarantine",
        "watermarks",
        "dedup_ids",
        "dedup_snapshots",
        "position_changes",
        "partition_growth",
        "usage_minutes",
        "usage_hours",
        "usage_days",
        "ingest_positions",
        "usage_completeness",
    }


def test_again_changes_nothing(fresh_client: Client, database: str) -> None:
    first = migrate(fresh_client, database)
    assert pending_migrations(fresh_client, database) == []
    before = schema_of(fresh_client, database)
    assert migrate(fresh_client, database) == []
    assert schema_of(fresh_client, database) == before
    recorded = fresh_client.query(
        f"SELECT version, name, toString(checksum) FROM {database}.schema_migrations FINAL ORDER BY version"
    ).result_rows
    assert list(recorded) == [(m.version, m.name, m.checksum) for m in first]


def test_every_statement_may_be_run_twice(fresh_client: Client, database: str) -> None:
    migrate(fresh_client, database)
    before = schema_of(fresh_client, database)
    fresh_client.command(f"TRUNCATE TABLE {database}.schema_migrations")
    assert len(migrate(fresh_client, database)) == len(load_migrations())
    assert schema_of(fresh_client, database) == before


def schema_of(client: Client, database: str) -> list[Any]:
    return list(
        client.query(
            "SELECT name, create_table_query FROM system.tables WHERE database = {database:String} ORDER BY name",
            parameters={"database": database},
        ).result_rows
    )


def test_pending_says_what_would_be_applied_and_changes_nothing(fresh_client: Client, database: str) -> None:
    assert pending_migrations(fresh_client, database) == list(load_migrations())
    assert names(fresh_client, database) == set()
    migrate(fresh_client, database, migrations=[FIRST])
    assert pending_migrations(fresh_client, database, migrations=[FIRST, TABLE]) == [TABLE]


def test_several_at_once_end_in_the_same_schema(clickhouse: RunningClickHouse, database: str) -> None:
    with connect(clickhouse) as client:
        client.command(f"DROP DATABASE {database} SYNC")
    barrier = threading.Barrier(4)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with connect(clickhouse) as client:
                barrier.wait(30)
                migrate(client, database)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    with connect(clickhouse) as client:
        assert pending_migrations(client, database) == []
        versions = client.query(f"SELECT version FROM {database}.schema_migrations FINAL ORDER BY version").result_rows
        assert [version for (version,) in versions] == [m.version for m in load_migrations()]


def test_a_failed_statement_is_named_and_the_next_run_goes_on(fresh_client: Client, database: str) -> None:
    broken = Migration(2, "broken", TABLE.text + "CREATE TABLE IF NOT EXISTS b (x Nonsense) ENGINE = Memory;")
    with pytest.raises(MigrationFailedError, match=r"statement 2 of migration 0002_broken.*Nonsense") as caught:
        migrate(fresh_client, database, migrations=[FIRST, broken])
    assert (caught.value.domain, caught.value.retryable) == ("clickhouse", False)
    assert names(fresh_client, database) == {"schema_migrations", "a"}
    mended = Migration(2, "broken", TABLE.text + "CREATE TABLE IF NOT EXISTS b (x UInt8) ENGINE = Memory;")
    assert migrate(fresh_client, database, migrations=[FIRST, mended]) == [mended]
    assert names(fresh_client, database) == {"schema_migrations", "a", "b"}


def test_a_newer_database_is_refused_untouched(fresh_client: Client, database: str) -> None:
    migrate(fresh_client, database, migrations=[FIRST, TABLE])
    with pytest.raises(DatabaseNewerError, match=r"has migration 0002_a, but this build knows none beyond 0001"):
        migrate(fresh_client, database, migrations=[FIRST])
    with pytest.raises(DatabaseNewerError):
        pending_migrations(fresh_client, database, migrations=[FIRST])


def test_a_changed_migration_is_refused_before_anything_is_applied(fresh_client: Client, database: str) -> None:
    migrate(fresh_client, database, migrations=[FIRST, TABLE])
    changed = Migration(2, "a", TABLE.text + "-- another comment\n")
    third = Migration(3, "c", "CREATE TABLE IF NOT EXISTS c (x UInt8) ENGINE = Memory;")
    with pytest.raises(MigrationChangedError, match=TABLE.checksum[:12]):
        migrate(fresh_client, database, migrations=[FIRST, changed, third])
    renamed = Migration(2, "z", TABLE.text)
    with pytest.raises(MigrationChangedError, match="0002_z"):
        migrate(fresh_client, database, migrations=[FIRST, renamed, third])
    assert "c" not in names(fresh_client, database)


def test_builds_that_disagreed_about_a_migration_are_found_out(fresh_client: Client, database: str) -> None:
    migrate(fresh_client, database, migrations=[FIRST, TABLE])
    other = Migration(2, "a", TABLE.text + "\n")
    fresh_client.command(
        f"INSERT INTO {database}.schema_migrations SELECT 2, 'a', {{checksum:String}}, now64(3) + 60",
        parameters={"checksum": other.checksum},
    )
    fresh_client.command(f"OPTIMIZE TABLE {database}.schema_migrations FINAL")
    for mine in (TABLE, other):
        with pytest.raises(MigrationChangedError):
            migrate(fresh_client, database, migrations=[FIRST, mine])


@pytest.mark.parametrize("name", ["", "fleet-meter", "1st", "a.b", "x`; DROP TABLE y", "é", "a" * 64])
def test_a_name_that_would_need_quoting_is_refused(fresh_client: Client, name: str) -> None:
    with pytest.raises(DatabaseNameError, match="letters, digits and underscores"):
        migrate(fresh_client, name)


def test_the_right_to_create_databases_is_not_needed_where_there_is_one(fresh_client: Client, database: str) -> None:
    statements: list[str] = []

    class Spy:
        def query(self, *args: Any, **options: Any) -> Any:
            return fresh_client.query(*args, **options)

        def command(self, cmd: str, **options: Any) -> Any:
            statements.append(cmd)
            return fresh_client.command(cmd, **options)

    migrate(Spy(), database)
    made = [statement for statement in statements if "MODIFY SETTING" not in statement]
    assert len(made) == sum(len(m.statements) + 1 for m in load_migrations())
    assert not [s for s in statements if s.startswith("CREATE DATABASE")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError("connection refused"), MigrationInterruptedError),
        (DatabaseError("Code: 497. Not enough privileges"), MigrationFailedError),
    ],
)
@pytest.mark.parametrize("fails_at", range(4))
def test_whatever_clickhouse_answers_comes_with_what_was_being_done(
    fresh_client: Client, database: str, error: Exception, expected: type[Exception], fails_at: int
) -> None:
    migrate(fresh_client, database, migrations=[FIRST])
    client = FailsAt(fresh_client, fails_at, error)
    with pytest.raises(expected, match=str(error)) as caught:
        migrate(client, database, migrations=[FIRST, TABLE])
    assert caught.value.retryable is (expected is MigrationInterruptedError)  # type: ignore[attr-defined]
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["0001_a.sql", "0003_c.sql"], r"0003_c\.sql: the next number is 0002"),
        (["0001_a.sql", "0001_b.sql"], "the next number is 0002"),
        (["0000_a.sql"], "the next number is 0001"),
        (["0001_a.sql", "2_b.sql"], r"migrations/2_b\.sql: a migration is called NNNN_what_it_is\.sql"),
        (["0001_a.sql", "notes.txt"], r"migrations/notes\.txt: a migration is called"),
    ],
)
def test_misnumbered_files_are_refused(files: list[str], message: str) -> None:
    with pytest.raises(SqlFileError, match=message):
        parse_migrations(dict.fromkeys(files, "SELECT 1;"))


def test_migrations_are_ordered_by_number_whatever_the_folder_says() -> None:
    parsed = parse_migrations({"0002_b.sql": "B", "0001_a.sql": "A"})
    assert [(m.version, m.name, m.text) for m in parsed] == [(1, "a", "A"), (2, "b", "B")]


class FailsAt:
    """A client whose call number `fails_at`, of either kind, raises `error`."""

    def __init__(self, client: Client, fails_at: int, error: Exception) -> None:
        self.client, self.left, self.error = client, fails_at, error

    def query(self, *args: Any, **options: Any) -> Any:
        return self._next(lambda: self.client.query(*args, **options))

    def command(self, *args: Any, **options: Any) -> Any:
        return self._next(lambda: self.client.command(*args, **options))

    def _next(self, call: Callable[[], Any]) -> Any:
        if self.left == 0:
            raise self.error
        self.left -= 1
        return call()
