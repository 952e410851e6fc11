"""What this package needs of a ClickHouse client: clickhouse_connect's synchronous client has it, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fleetmeter_sql.errors import DatabaseNameError

_DATABASE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class QueryAnswer(Protocol):
    """A whole result: names, and rows as tuples in the order of the names."""

    @property
    def column_names(self) -> Sequence[str]: ...
    @property
    def result_rows(self) -> Sequence[Sequence[Any]]: ...


class SqlClient(Protocol):
    """The two calls of a clickhouse_connect client that are used here."""

    def query(self, query: str, /, *, parameters: Any = None, settings: Any = None) -> QueryAnswer: ...
    def command(
        self, cmd: str, /, *, parameters: Any = None, settings: Any = None, use_database: bool = True
    ) -> object: ...


def in_database(database: str) -> Mapping[str, str]:
    """The settings that make a statement run in `database`, whatever database the client was opened with.

    Raises DatabaseNameError for a name other than letters, digits and underscores: it would have to be quoted by
    everyone who ever queries it.
    """
    if not _DATABASE_NAME.fullmatch(database):
        raise DatabaseNameError(
            f"{database!r} can't be the name of the database: use up to 63 letters, digits and underscores, "
            "not starting with a digit"
        )
    return {"database": database}
