"""The schema that fleetmeter keeps in ClickHouse, and the questions that people ask it.

    migrate(client, "fleetmeter")                                # numbered, forward-only migrations
    run_query(client, load_query("freshness"), database="fleetmeter")  # named queries with typed parameters

Both live in `.sql` files inside this package, so that an installed wheel carries them.
"""

from fleetmeter_sql.durability import TableDurability, read_durability, set_durability
from fleetmeter_sql.errors import (
    BadParameterError,
    DatabaseNameError,
    DatabaseNewerError,
    MigrationChangedError,
    MigrationFailedError,
    MigrationInterruptedError,
    MissingParameterError,
    SqlError,
    SqlFileError,
    TableOptionsError,
    UnknownParameterError,
    UnknownQueryError,
)
from fleetmeter_sql.migrate import Migration, load_migrations, migrate, pending_migrations
from fleetmeter_sql.named_queries import NamedQuery, list_queries, load_query, run_query
from fleetmeter_sql.parameters import Parameter
from fleetmeter_sql.table_options import TableOptions
from fleetmeter_sql.views import rebuild_views, view_definitions

__all__ = [
    "BadParameterError",
    "DatabaseNameError",
    "DatabaseNewerError",
    "Migration",
    "MigrationChangedError",
    "MigrationFailedError",
    "MigrationInterruptedError",
    "MissingParameterError",
    "NamedQuery",
    "Parameter",
    "SqlError",
    "SqlFileError",
    "TableDurability",
    "TableOptions",
    "TableOptionsError",
    "UnknownParameterError",
    "UnknownQueryError",
    "list_queries",
    "load_migrations",
    "load_query",
    "migrate",
    "pending_migrations",
    "read_durability",
    "rebuild_views",
    "run_query",
    "set_durability",
    "view_definitions",
]
