"""Errors of the migrations and named queries.

    SqlError                       domain, retryable; the message says what happened, where, and what to do
    ├── DatabaseNameError          input      a database name that ClickHouse would need to have quoted
    ├── TableOptionsError          input      tables can't be made the way that was asked for
    ├── UnknownQueryError          input      no named query of that name
    ├── UnknownParameterError      input      the query has no such parameter
    ├── MissingParameterError      input      a parameter without a default was left out
    ├── BadParameterError          input      a value that is not of the parameter's type
    ├── DatabaseNewerError         clickhouse the database has migrations that this build does not know
    ├── MigrationChangedError      clickhouse an applied migration is not the file that this build carries
    ├── MigrationFailedError       clickhouse a statement was refused; what was applied stays, and running again goes on
    ├── MigrationInterruptedError  clickhouse retryable: no answer, or one that may be different next time
    └── SqlFileError               internal   a .sql file of this package breaks the rules for such files

`domain` is one of `input`, `clickhouse`, `internal`: where to look. `retryable` means that trying again, with nothing
changed, may succeed.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Domain = Literal["input", "clickhouse", "internal"]


class SqlError(Exception):
    """Base of everything that this package raises on purpose."""

    domain: ClassVar[Domain] = "internal"
    retryable: ClassVar[bool] = False


class DatabaseNameError(SqlError):
    """The name of a database is empty, too long, or has characters that would need quoting everywhere."""

    domain: ClassVar[Domain] = "input"


class TableOptionsError(SqlError):
    """A path in Keeper or the name of a cluster is none; the message says what one looks like."""

    domain: ClassVar[Domain] = "input"


class UnknownQueryError(SqlError):
    """There is no named query of that name; the message suggests the nearest ones."""

    domain: ClassVar[Domain] = "input"


class UnknownParameterError(SqlError):
    """The query has no parameter of that name; the message suggests the nearest one."""

    domain: ClassVar[Domain] = "input"


class MissingParameterError(SqlError):
    """A parameter that has no default was not given."""

    domain: ClassVar[Domain] = "input"


class BadParameterError(SqlError):
    """The value of a parameter can't be read as its type."""

    domain: ClassVar[Domain] = "input"


class DatabaseNewerError(SqlError):
    """The database was migrated by a newer build; going on could misread or damage what that build wrote."""

    domain: ClassVar[Domain] = "clickhouse"


class MigrationChangedError(SqlError):
    """A migration that was applied differs from this build's file: the schema may not be the one expected here."""

    domain: ClassVar[Domain] = "clickhouse"


class MigrationFailedError(SqlError):
    """ClickHouse refused a statement. Earlier statements stay in force; each may be run again."""

    domain: ClassVar[Domain] = "clickhouse"


class MigrationInterruptedError(SqlError):
    """No answer from ClickHouse. Whether the statement took effect does not matter: run it again."""

    domain: ClassVar[Domain] = "clickhouse"
    retryable: ClassVar[bool] = True


class SqlFileError(SqlError):
    """A .sql file of this package is not as its rules ask; a test keeps this from being released."""

    domain: ClassVar[Domain] = "internal"
