"""Rows beside the ledger that belong to no log in it, or to no commit: nothing accounts for them.

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
_LEFT_OUT_ADVICE: Final = (
    "A worker wrote them, and lost its commit to the decision. They are read and billed like what was counted: delete "
    "them if it shall not be."
)


def check_strays(http: ClickHouseHttp) -> Checked:
    """Look for rows of logs that the ledger does not know, from before their start, or of offsets that an operator has
    left out (in quarantine those do no harm)."""
    findings, rows = [], 0
    for table in TABLES:
        ((count, stray, example, left_out, one_left_out),) = http.rows(
            "SELECT count(), countIf(is_stray), anyIf(place, is_stray), countIf(is_left_out), anyIf(place, is_left_out)"
            " FROM (SELECT n.start IS NULL OR s.offset < n.start AS is_stray, "
            "arrayExists(span -> s.offset >= span.1 AND s.offset < span.2, n.left_out) AS is_left_out, "
            "concat(s.topic, '-', toString(s.partition), '/', toString(s.epoch), ' at offset ', toString(s.offset)) "
            f"AS place FROM (SELECT topic, partition, epoch, offset FROM {table} FINAL) AS s "
            # The start is nullable so that what has none is NULL without a setting, which readers may not change.
            "LEFT JOIN (SELECT topic, partition, epoch, toNullable(min(first_offset)) AS start, "
            "groupArrayIf((first_offset, next_offset), event_type = 'skip') AS left_out FROM ledger "
            "WHERE row_kind = 'marker' GROUP BY topic, partition, epoch) AS n USING (topic, partition, epoch))",
            settings=READ_SETTINGS,
        )
        rows += int(count)
        if int(left_out) and table != QUARANTINE.name:
            sentence = (
                f"{int(left_out):,} rows of {table} are of offsets that were left out, for example {one_left_out}."
            )
            findings.append(Finding(sentence, _LEFT_OUT_ADVICE))
        if int(stray):
            findings.append(
                Finding(
                    f"{int(stray):,} rows of {table} belong to no log in the ledger, for example {example}.", _ADVICE
                )
            )
    return Checked("strays", f"{rows:,} rows of {len(TABLES)} side tables", tuple(findings))
