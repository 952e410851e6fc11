"""Makes the views again: everything that people read is a view over tables, so that is how derived data is rebuilt.

Nothing that is summed by hour or day is stored; a view can't fall behind the ledger, only be replaced by another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from clickhouse_connect.driver.exceptions import ClickHouseError

from fleetmeter_sql.client import SqlClient, in_database
from fleetmeter_sql.errors import MigrationFailedError
from fleetmeter_sql.migrate import Migration, load_migrations
from fleetmeter_sql.refusals import reason_of
from fleetmeter_sql.table_options import TableOptions

_CREATE: Final = re.compile(r"CREATE (?:OR REPLACE VIEW|VIEW IF NOT EXISTS|VIEW) (?P<name>\w+)\b")


def view_definitions(migrations: Sequence[Migration] | None = None) -> dict[str, str]:
    """By name, the statement that makes each view as this build's last migration about it defines it, whatever is
    there. In the order of first definition, so that a view comes after those that it reads."""
    views: dict[str, str] = {}
    for migration in load_migrations() if migrations is None else migrations:
        for statement in migration.statements:
            if match := _CREATE.match(statement):
                views[match["name"]] = f"CREATE OR REPLACE VIEW {match['name']}{statement[match.end() :]}"
    return views


def rebuild_views(client: SqlClient, database: str, options: TableOptions = TableOptions()) -> list[str]:  # noqa: B008
    """Make every view again; returns their names. The tables must be this build's (see `pending_migrations`);
    `options` say on which cluster.

    Each view is replaced in one step: readers see the old one or the new one. Raises MigrationFailedError.
    """
    settings = in_database(database)
    views = view_definitions()
    for name, statement in views.items():
        try:
            client.command(options.render(statement), settings=settings, use_database=False)
        except ClickHouseError as error:
            raise MigrationFailedError(
                f"view {name}: ClickHouse refused it: {reason_of(error)}. Correct the cause"
            ) from error
    return list(views)
