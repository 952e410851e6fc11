"""`fleetmeter usage`: rollups by any dimensions, with every measure."""

# ruff: noqa: S608  (columns come from the contract's own list; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures

from fleetmeter_jobs.errors import SettingsError

DIMENSIONS: Final = ("event_type", "account_id", *ledger_dimensions())
"""What usage can be grouped and filtered by."""
TIME_GROUPS: Final = {
    "minute": "minute",
    "hour": "toStartOfHour(minute, 'UTC')",
    "day": "toStartOfDay(minute, 'UTC')",
}
"""What usage can be grouped by besides."""


class QueryResult(Protocol):
    """What a clickhouse-connect query returns."""

    @property
    def result_rows(self) -> Sequence[Sequence[Any]]:
        """The rows."""
        ...


class QueryClient(Protocol):
    """A clickhouse-connect client, as far as it is used here."""

    def query(self, query: str, parameters: dict[str, Any]) -> QueryResult:
        """Run a SELECT with parameters bound by the server."""
        ...


def usage(
    client: QueryClient,
    by: Sequence[str],
    time_from: datetime | None = None,
    time_to: datetime | None = None,
    filters: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Usage summed by the names in `by` (dimensions, or minute, hour, day), in their order; one row if `by` is empty.

    Only minutes from `time_from` (included) up to `time_to` (excluded) count, both aware datetimes, and rows whose
    dimensions equal `filters`. Each row has the names in `by` and all measures, as whole numbers; hours, days and
    minutes as aware datetimes. Raises SettingsError for a name that does not exist, with those that do.
    """
    filters = filters or {}
    _check_names("--by", by, (*DIMENSIONS, *TIME_GROUPS))
    _check_names("--filter", filters, DIMENSIONS)
    # The ledger itself: the views sum by every dimension first, which takes ten times as long.
    conditions, parameters = ["row_kind = 'usage'"], dict[str, Any]()
    for bound, operator, moment in (("from", ">=", time_from), ("to", "<", time_to)):
        if moment is not None:
            if moment.tzinfo is None:
                raise SettingsError(f"--{bound} {moment} has no time zone; write it with Z or an offset")
            conditions.append(f"minute {operator} toDateTime({{time_{bound}:Int64}}, 'UTC')")
            parameters[f"time_{bound}"] = -(-int(moment.timestamp() * 1_000_000) // 1_000_000)
    for number, (name, value) in enumerate(filters.items()):
        conditions.append(f"{name} = {{filter_{number}:String}}")
        parameters[f"filter_{number}"] = value
    groups = [f"{TIME_GROUPS[name]} AS by_{name}" if name in TIME_GROUPS else f"{name} AS by_{name}" for name in by]
    measures = ledger_measures()
    sums = [f"sum(toUInt128({measure})) AS sum_{measure}" for measure in measures]
    grouping = f"GROUP BY {', '.join(f'by_{name}' for name in by)}" if by else "HAVING count() > 0"
    order = f"ORDER BY {', '.join(f'by_{name}' for name in by)}" if by else ""
    answer = client.query(
        f"SELECT {', '.join([*groups, *sums])} FROM ledger WHERE {' AND '.join(conditions)} {grouping} {order}",
        parameters=parameters,
    )
    return [dict(zip((*by, *measures), map(_value, row), strict=True)) for row in answer.result_rows]


def _check_names(option: str, names: Sequence[str] | Mapping[str, str], valid: Sequence[str]) -> None:
    unknown = [name for name in names if name not in valid]
    if unknown:
        raise SettingsError(f"{option} {', '.join(unknown)}: no such dimension; choose from {', '.join(valid)}")
    if len(set(names)) != len(names):
        raise SettingsError(f"{option} {', '.join(names)}: a name stands there twice")


def _value(value: Any) -> Any:
    """Datetimes of a UTC column come back without their zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
