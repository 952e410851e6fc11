"""Brings a database to this build's schema: `migrate(client, "fleetmeter")`.

Promises:
- Migrations only go forward, in the order of their numbers; an applied one is never applied again.
- Running it again changes nothing. A run that was killed, or failed half-way, is continued by the next: each statement
  is one that may be run twice (`IF NOT EXISTS`), since ClickHouse has no transaction around several.
- Two runs at once end in the same schema, for the same reason; both record what they applied, and records of the same
  migration replace one another.
- A database that a newer build migrated is refused, and so is one whose applied migrations are not the files of this
  build: its schema is not the one that the code was written for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError, OperationalError

from fleetmeter_sql.client import SqlClient, in_database
from fleetmeter_sql.durability import set_durability
from fleetmeter_sql.errors import (
    DatabaseNewerError,
    MigrationChangedError,
    MigrationFailedError,
    MigrationInterruptedError,
    SqlFileError,
)
from fleetmeter_sql.refusals import reason_of
from fleetmeter_sql.statements import split_statements
from fleetmeter_sql.table_options import TableOptions

_FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>[a-z0-9_]+)\.sql")
_RECORD: Final = (
    "INSERT INTO schema_migrations (version, name, checksum, applied_at) "
    "SELECT {version:UInt32}, {name:String}, {checksum:String}, now64(3)"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: what it is called, and the statements to run, in order."""

    version: int
    name: str
    text: str = field(repr=False)

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """The file's statements. Raises SqlFileError if it can't be split."""
        return split_statements(self.text, str(self))

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


@cache
def load_migrations() -> tuple[Migration, ...]:
    """This build's migrations, in order."""
    folder = resources.files("fleetmeter_sql").joinpath("migrations")
    return parse_migrations({path.name: path.read_text("utf-8") for path in folder.iterdir()})


def parse_migrations(files: Mapping[str, str]) -> tuple[Migration, ...]:
    """The migrations in files (name -> text), in order.

    Raises SqlFileError for a file that is not called NNNN_what_it_is.sql, and if the numbers are not 1, 2, 3, ...
    """
    migrations = []
    for file, text in files.items():
        match = _FILE_NAME.fullmatch(file)
        if match is None:
            raise SqlFileError(f"migrations/{file}: a migration is called NNNN_what_it_is.sql")
        migrations.append(Migration(int(match["version"]), match["name"], text))
    migrations.sort(key=lambda migration: migration.version)
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise SqlFileError(f"migrations/{migration}.sql: the next number is {expected:04}")
    return tuple(migrations)


def migrate(
    client: SqlClient,
    database: str,
    *,
    migrations: Sequence[Migration] | None = None,
    options: TableOptions = TableOptions(),  # noqa: B008  (frozen)
) -> list[Migration]:
    """Creates `database` if it is not there and applies what it lacks; returns what was applied, in order.

    `client` may be opened with any database that exists. `migrations` are this build's own unless given. `options` say
    how tables are made; those that exist keep their engines, and only whether inserts wait for the disk is changed.
    Raises DatabaseNewerError, MigrationChangedError, MigrationFailedError, MigrationInterruptedError (retryable).
    """
    settings = in_database(database)
    if not _exists(client, "SELECT count() FROM system.databases WHERE name = {database:String}", database):
        # Asked first, because IF NOT EXISTS needs the right to create databases even where it creates nothing.
        create = options.render(f"CREATE DATABASE IF NOT EXISTS {database}")
        _run(client, create, None, {}, f"creating the database {database}")
    pending = pending_migrations(client, database, migrations=migrations)
    for migration in pending:
        for number, statement in enumerate(migration.statements, start=1):
            _run(client, options.render(statement), None, settings, f"statement {number} of migration {migration}")
        record = {"version": migration.version, "name": migration.name, "checksum": migration.checksum}
        _run(client, _RECORD, record, settings, f"recording migration {migration}")
    try:
        set_durability(client, database, options)
    except ClickHouseError as error:
        raise _explained(error, "setting whether inserts wait for the disk") from error
    return pending


def pending_migrations(
    client: SqlClient, database: str, *, migrations: Sequence[Migration] | None = None
) -> list[Migration]:
    """What `migrate` would apply, in order; empty when the schema is this build's. Changes nothing.

    A database that does not exist lacks everything. Raises DatabaseNewerError and MigrationChangedError.
    """
    own = load_migrations() if migrations is None else migrations
    applied = _applied(client, database)
    known = {migration.version: migration for migration in own}
    newer = {version: names for version, names in applied.items() if version not in known}
    if newer:
        version, records = max(newer.items())
        name = ", ".join(sorted(name for name, _ in records))
        raise DatabaseNewerError(
            f"database {database} has migration {version:04}_{name}, but this build knows none beyond "
            f"{max(known, default=0):04}: upgrade fleetmeter here, or point it at another database"
        )
    for version, records in sorted(applied.items()):
        migration = known[version]
        for name, checksum in sorted(records):
            if (name, checksum) != (migration.name, migration.checksum):
                raise MigrationChangedError(
                    f"database {database} was given migration {version:04}_{name} with checksum {checksum[:12]}, but "
                    f"this build carries {migration} with {migration.checksum[:12]}: its schema may not be the one "
                    "expected here. Use the build that migrated it, or a database of your own"
                )
    return [migration for migration in own if migration.version not in applied]


def _applied(client: SqlClient, database: str) -> dict[int, set[tuple[str, str]]]:
    """Version -> the (name, checksum) pairs recorded for it: one, unless builds disagree."""
    in_database(database)
    has_table = "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'"
    if not _exists(client, has_table, database):
        return {}
    applied: dict[int, set[tuple[str, str]]] = {}
    try:
        answer = client.query(
            f"SELECT DISTINCT version, name, toString(checksum) FROM {database}.schema_migrations"  # noqa: S608
        )
    except ClickHouseError as error:
        raise _explained(error, f"reading {database}.schema_migrations") from error
    for version, name, checksum in answer.result_rows:
        applied.setdefault(version, set()).add((name, checksum))
    return applied


def _exists(client: SqlClient, query: str, database: str) -> bool:
    try:
        answer = client.query(query, parameters={"database": database})
    except ClickHouseError as error:
        raise _explained(error, f"looking for database {database}") from error
    return bool(answer.result_rows[0][0])


def _run(client: SqlClient, statement: str, parameters: dict[str, object] | None, settings: object, doing: str) -> None:
    try:
        client.command(statement, parameters=parameters, settings=settings, use_database=False)
    except ClickHouseError as error:
        raise _explained(error, doing) from error


def _explained(error: ClickHouseError, doing: str) -> MigrationFailedError | MigrationInterruptedError:
    """ClickHouse's refusal with what was being done; an OperationalError is one that may pass."""
    if isinstance(error, OperationalError):
        return MigrationInterruptedError(f"{doing}: {reason_of(error)}. Run it again")
    return MigrationFailedError(
        f"{doing}: ClickHouse refused it: {reason_of(error)}. Correct the cause and run it again"
    )
