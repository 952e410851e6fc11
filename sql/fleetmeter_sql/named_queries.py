"""Named queries: the files in `queries/`, each one question that data teams ask.

A file starts with what it answers, in one sentence, and its parameters, in the order in which people think of them:

    -- Which accounts used which models, and how.
    -- param from DateTime('UTC') = now-1d: start of the span, included
    -- param account String = : only this account; empty for all
    -- Any further comment lines are for the reader of the file.

Parameters are bound by ClickHouse itself, never pasted into the text. A file that breaks these rules, or whose
placeholders are not the parameters it declares, is refused when it is loaded.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources

from fleetmeter_sql.client import QueryAnswer, SqlClient, in_database
from fleetmeter_sql.errors import (
    BadParameterError,
    MissingParameterError,
    SqlFileError,
    UnknownParameterError,
    UnknownQueryError,
)
from fleetmeter_sql.parameters import PARAMETER_TYPES, Parameter, ParameterValue
from fleetmeter_sql.statements import split_statements

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SENTENCE = re.compile(r"-- (?P<sentence>[A-Z].*\.)")
_PARAMETER = re.compile(
    r"-- param (?P<name>[a-z][a-z0-9_]*) (?P<type>\S+?)(?: = (?P<default>[^:\s]*))?: (?P<meaning>\S.*)"
)
_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*):([^{}]+)\}")


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """One question, ready to be asked."""

    name: str
    sentence: str
    """What it answers, in one sentence."""
    parameters: tuple[Parameter, ...]
    sql: str
    """The statement, with its comments; placeholders are `{name:Type}`."""

    def bind(self, values: Mapping[str, ParameterValue], now: datetime | None = None) -> dict[str, str]:
        """The text of every parameter, to be bound by ClickHouse: the given value, or the default.

        `now` (aware; the clock's time unless given) is what relative times are reckoned from.
        Raises UnknownParameterError, MissingParameterError or BadParameterError.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name in values:
            if name not in known:
                has = f"its parameters are {', '.join(known)}" if known else "it has none"
                raise UnknownParameterError(
                    f"query {self.name} has no parameter {name!r}{did_you_mean(name, known)}; {has}"
                )
        moment = datetime.now(UTC) if now is None else now
        bound = {}
        for name, parameter in known.items():
            value = values.get(name, parameter.default)
            if value is None:
                raise MissingParameterError(
                    f"query {self.name} needs the parameter {name} ({parameter.type}): {parameter.meaning}"
                )
            bound[name] = parameter.read(value, moment)
        start, end = bound.get("from"), bound.get("to")
        if start is not None and end is not None and end < start:
            raise BadParameterError(f"query {self.name}: from ({start}) is after to ({end}); nothing lies between")
        return bound


def list_queries() -> tuple[NamedQuery, ...]:
    """All named queries, by name. Raises SqlFileError if a file breaks the rules."""
    return tuple(_load_all().values())


def load_query(name: str) -> NamedQuery:
    """The query of that name. Raises UnknownQueryError, which suggests the nearest names."""
    queries = _load_all()
    if name not in queries:
        raise UnknownQueryError(
            f"there is no query {name!r}{did_you_mean(name, queries)}; there are {', '.join(queries)}"
        )
    return queries[name]


def run_query(
    client: SqlClient,
    query: NamedQuery,
    values: Mapping[str, ParameterValue] | None = None,
    *,
    database: str | None = None,
    now: datetime | None = None,
) -> QueryAnswer:
    """Asks `query` with `values` for its parameters, and returns the whole answer.

    It runs in `database`, or in the client's own. Raises as `NamedQuery.bind` does; ClickHouse's errors pass through.
    """
    settings = {} if database is None else dict(in_database(database))
    return client.query(query.sql, parameters=query.bind(values or {}, now), settings=settings)


def parse_query(name: str, text: str) -> NamedQuery:
    """The query that a file's text declares. Raises SqlFileError, naming the file and the rule that it breaks."""
    where = f"queries/{name}.sql"
    if not _NAME.fullmatch(name):
        raise SqlFileError(f"{where}: a query is called like_this")
    lines = text.splitlines()
    opening = _SENTENCE.fullmatch(lines[0]) if lines else None
    if opening is None:
        raise SqlFileError(f"{where}: the first line must be `-- ` and the sentence of what it answers")
    parameters = [_parse_parameter(line, where) for line in lines if line.startswith("-- param ")]
    statements = split_statements(text, where)
    if len(statements) != 1:
        raise SqlFileError(f"{where}: holds {len(statements)} statements; a named query is one")
    declared = {(parameter.name, parameter.type) for parameter in parameters}
    if len(declared) != len(parameters):
        raise SqlFileError(f"{where}: a parameter is declared twice")
    used = set(_PLACEHOLDER.findall(statements[0]))
    for parameter, kind in sorted(used ^ declared):
        problem = "is used but not declared" if (parameter, kind) in used else "is declared but not used"
        raise SqlFileError(f"{where}: {{{parameter}:{kind}}} {problem}")
    return NamedQuery(name, opening["sentence"], tuple(parameters), statements[0])


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?` for the nearest of the known words; nothing if none is near."""
    near = difflib.get_close_matches(word, list(known), n=2, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


@cache
def _load_all() -> dict[str, NamedQuery]:
    folder = resources.files("fleetmeter_sql").joinpath("queries")
    files = sorted((path.name.removesuffix(".sql"), path) for path in folder.iterdir() if path.name.endswith(".sql"))
    return {name: parse_query(name, path.read_text("utf-8")) for name, path in files}


def _parse_parameter(line: str, where: str) -> Parameter:
    match = _PARAMETER.fullmatch(line)
    if match is None:
        raise SqlFileError(f"{where}: {line!r} is not `-- param name Type = default: meaning`")
    if match["type"] not in PARAMETER_TYPES:
        raise SqlFileError(f"{where}: type {match['type']} is not one of {', '.join(PARAMETER_TYPES)}")
    return Parameter(match["name"], match["type"], match["default"], match["meaning"])
