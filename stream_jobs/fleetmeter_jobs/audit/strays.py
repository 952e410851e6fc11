"""Rows beside the ledger that belong to no log in it: nothing accounts for them, and nothing that sums up sees them.

Workers write side rows before the commit that they belong to, so rows at or beyond the position are no strays: the
worker that takes the partition next writes them again, under the same keys.
"""

# ruff: noqa: S608  (statements are put together from our own constants only)

from __future__ import annotations

from typing import Final

from fleetmeter_schemas.tables import QUARANTINE, USAGE_ADJUSTMENTS, USAGE_ESTIMATES, USAGE_FACTS

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS

TABLES: Final = (QUARANTINE.name, USAGE_FACTS.name, USAGE_ESTIMATES.name, USAGE_ADJUSTMENTS.name)
_ADVICE: Final = (
    "The ledger was restored without its newest part, or something else than workers wrote them: compare with the "
    "backup, and delete the rows once you know that nobody needs them."
)


def check_strays(http: ClickHouseHttp) -> Checked:
    """Look for rows of logs that the ledger does not know, or from before their start."""
    findings, rows = [], 0
    for table in TABLES:
        ((count, stray, example),) = http.rows(
            f"SELECT count(), countIf(n.start IS NULL OR s.offset < n.start) AS stray, anyIf(concat(s.topic, '-', "
            "toString(s.partition), '/', toString(s.epoch), ' at offset ', toString(s.offset)), "
            f"n.start IS NULL OR s.offset < n.start) FROM (SELECT topic, partition, epoch, offset FROM {table} FINAL) "
            "AS s LEFT JOIN (SELECT topic, partition, epoch, toNullable(min(first_offset)) AS start FROM ledger "
            # The start is nullable so that what has none is NULL without a setting, which readers may not change.
            "WHERE row_kind = 'marker' GROUP BY topic, partition, epoch) AS n USING (topic, partition, epoch)",
            settings=READ_SETTINGS,
        )
        rows += int(count)
        if int(stray):
            findings.append(
                Finding(
                    f"{int(stray):,} rows of {table} belong to no log in the ledger, for example {example}.", _ADVICE
                )
            )
    return Checked("strays", f"{rows:,} rows of {len(TABLES)} side tables", tuple(findings))
