"""Do the views that people read say what the ledger says? Each row of the usage views, and each partition's line.

They are views over the ledger, so that nothing has to be kept in step; what can still go wrong is a view that somebody
replaced, or one of another version. So what they say is compared with a calculation of its own, made here from the
contract's names: of every row of a month its key and its sums.
"""

# ruff: noqa: S608  (statements are put together from the contract's own names only; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.errors import StoreRejectedError
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS

USAGE_VIEWS: Final = {
    "usage_minutes": ("minute", "minute"),
    "usage_hours": ("hour", "toStartOfHour(minute)"),
    "usage_days": ("day", "toDate(minute)"),
}
"""Each view, its column of time, and that made of the ledger's minute."""
_ADVICE: Final = "`fleetmeter rebuild` makes the views again as this version defines them."
_TRIES: Final = 5
"""Workers commit between one read and the next; what is wrong stays wrong."""
_SETTINGS: Final = {
    **READ_SETTINGS,
    # One state of the ledger for both halves of a comparison: each of them may take longer than workers let it rest.
    "enable_shared_storage_snapshot_in_query": 1,
    # A month of a large fleet has more groups than memory: spill to disk instead of failing.
    "max_bytes_before_external_group_by": 2 * 2**30,
}


def check_derived(http: ClickHouseHttp, progress: Callable[[str], None]) -> Checked:
    """Compare all views with the ledger. Safe beside workers."""
    months = [int(row[0]) for row in http.rows(_MONTHS, settings=READ_SETTINGS)]
    jobs: list[tuple[str, str, partial[tuple[list[Finding], int]]]] = [
        (view, f"{view} {month}", partial(_compare_usage, http, view, month))
        for view in USAGE_VIEWS
        for month in months
    ]
    jobs += [(view, view, partial(_compare_lines, http, view, how)) for view, how in _PARTITION_LINES.items()]
    findings: list[Finding] = []
    rows = 0
    for view, what, compare in jobs:
        progress(what)
        try:
            found, count = compare()
        except StoreRejectedError as error:
            found, count = [Finding(f"{view} can't be read: {error}.", _ADVICE)], 0
        findings += found
        rows += count
    views = len(USAGE_VIEWS) + len(_PARTITION_LINES)
    return Checked("derived", f"{rows:,} rows of {views} views, {len(months)} months", tuple(findings))


_MONTHS: Final = "SELECT DISTINCT toYYYYMM(minute) AS month FROM ledger WHERE row_kind = 'usage' ORDER BY month"


def _compare_usage(http: ClickHouseHttp, view: str, month: int) -> tuple[list[Finding], int]:
    measures = ledger_measures()
    statement = _usage_statement(view)
    for _ in range(_TRIES):
        ((ledger, derived),) = http.rows(statement, parameters={"m": month}, settings=_SETTINGS)
        if ledger == derived:
            return [], int(ledger[0])
    (count, _, *should), (_, _, *there) = ledger, derived
    wrong = [
        Finding(f"{view}, month {month}: {name} is {found}, the ledger has {right}.", _ADVICE)
        for name, right, found in zip(measures, should, there, strict=True)
        if right != found
    ]
    moved = f"{view}, month {month}: the totals are right, but stand under other times, accounts or dimensions."
    return wrong or [Finding(moved, _ADVICE)], int(count)


def _usage_statement(view: str) -> str:
    """Two tuples of strings: number of rows, a sum of hashes of the whole rows, and each measure's total; made from the
    ledger and from the view."""
    time, of_minute = USAGE_VIEWS[view]
    keys = ", ".join(("event_type", "account_id", *ledger_dimensions()))
    measures = ledger_measures()
    sums = ", ".join(f"sum(toUInt128({name})) AS total_{name}" for name in measures)
    own = (
        f"SELECT {of_minute} AS at, {keys}, {sums} FROM ledger "
        f"WHERE row_kind = 'usage' AND toYYYYMM(minute) = {{m:UInt32}} GROUP BY at, {keys}"
    )
    theirs = f"SELECT {time} AS at, {keys}, {', '.join(measures)} FROM {view} WHERE toYYYYMM({time}) = {{m:UInt32}}"

    def digest(rows: str, prefix: str) -> str:
        totals = ", ".join(f"toString(sum({prefix}{name}))" for name in measures)
        names = ", ".join((f"toUInt32(at), {keys}", *(f"{prefix}{name}" for name in measures)))
        return f"(SELECT [toString(count()), toString(sum(cityHash64({names}))), {totals}] FROM ({rows}))"

    return f"SELECT {digest(own, 'total_')}, {digest(theirs, '')}"


_POSITIONS_OWN: Final = (
    "SELECT topic, partition, epoch, min(first_offset), max(next_offset), sum(commits), "
    "sum(records) + sum(control_offsets) + sum(aborted_offsets) + sum(skipped_offsets), sum(events_in), "
    "sum(accepted), sum(duplicates), sum(rejected), toString(max(watermark)) "
    "FROM ledger WHERE row_kind = 'marker' GROUP BY topic, partition, epoch ORDER BY topic, partition, epoch"
)
_POSITIONS_VIEW: Final = (
    "SELECT topic, partition, epoch, first_offset, next_offset, commits, offsets_counted, events_in, accepted, "
    "duplicates, rejected, toString(watermark) FROM ingest_positions ORDER BY topic, partition, epoch"
)
_COMPLETENESS_OWN: Final = (
    "SELECT topic, partition, m.epoch, m.position, toString(greatest(m.seen, if(i.at <= m.position, i.until, "
    "toDateTime64(0, 6, 'UTC')))) FROM (SELECT topic, partition, epoch, max(next_offset) AS position, "
    "max(watermark) AS seen FROM ledger WHERE row_kind = 'marker' GROUP BY topic, partition, epoch "
    "ORDER BY epoch DESC LIMIT 1 BY topic, partition) AS m "
    "LEFT JOIN (SELECT topic, partition, epoch, max(next_offset) AS at, max(watermark) AS until FROM watermarks "
    "GROUP BY topic, partition, epoch) AS i USING (topic, partition, epoch) ORDER BY topic, partition"
)
_COMPLETENESS_VIEW: Final = (
    "SELECT topic, partition, epoch, next_offset, toString(watermark) FROM usage_completeness ORDER BY topic, partition"
)
_PARTITION_LINES: Final = {
    "ingest_positions": (_POSITIONS_OWN, _POSITIONS_VIEW),
    "usage_completeness": (_COMPLETENESS_OWN, _COMPLETENESS_VIEW),
}
"""By view, the same lines calculated from the tables, and read from the view; topic and partition come first."""


def _compare_lines(http: ClickHouseHttp, view: str, statements: tuple[str, str]) -> tuple[list[Finding], int]:
    for _ in range(_TRIES):
        # A worker that commits between two reads makes them differ: what both reads of the tables say did not change.
        before, theirs, after = (
            _by_partition(http.rows(statement, settings=READ_SETTINGS))
            for statement in (statements[0], statements[1], statements[0])
        )
        wrong = [key for key in before.keys() | theirs.keys() if theirs.get(key) != before.get(key)]
        settled = [key for key in wrong if before.get(key) == after.get(key)]
        if not wrong:
            break
    return [
        Finding(f"{view}, {key[0]}-{key[1]}: it says {theirs.get(key)}, the tables {before.get(key)}.", _ADVICE)
        for key in sorted(settled)
    ], len(before)


def _by_partition(rows: list[list[Any]]) -> dict[tuple[str, int], list[list[Any]]]:
    lines: dict[tuple[str, int], list[list[Any]]] = {}
    for topic, partition, *rest in rows:
        lines.setdefault((topic, partition), []).append(rest)
    return lines
