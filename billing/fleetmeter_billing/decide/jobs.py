"""Jobs of a closed period (fine-tuning, distillation, evaluation, premium features) as rows that costs can price.

Jobs are facts, one by one, and in no rollup. What they report of accelerator time and matrix operations has the names
of the rollups' measures, so that a rule such as "own GPUs, 2.10 an hour" prices both.
"""

# ruff: noqa: S608  (columns of our own; every value is bound by ClickHouse)

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from fleetmeter_billing.accounts.selection import BY_ACCOUNT, few, rows_of
from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient
from fleetmeter_billing.decide.priced_period import ClosedPeriod
from fleetmeter_billing.decide.traffic import ALWAYS, Traffic
from fleetmeter_billing.periods.close_log import close_ids

JOBS: Final = "(jobs)"
"""Stands for the generation mode of jobs, also in the rules of costs."""
_MEASURES: Final = ("gpu_ms", "matrix_gflop")
_SQL: Final = f"""
SELECT account_id, segment, if(base_model = '', result_model, base_model) AS of_model, project_id, status, count(),
    {", ".join(f"sum(toInt128(coalesce({one}, 0))), count({one})" for one in _MEASURES)}
FROM billing_frozen_facts
WHERE has({{closed:Array(String)}}, close_id) AND usage_period = {{period:String}} AND event_type = 'job'
    AND {BY_ACCOUNT}
GROUP BY account_id, segment, of_model, project_id, status
ORDER BY account_id, segment, of_model, project_id, status
"""


def read_jobs(
    client: BillingClient, closed: ClosedPeriod, dimensions: Iterable[str], accounts: Sequence[str] = ()
) -> list[Traffic]:
    """The period's jobs by account, part, model (the one they started from), project and status. Their number is in
    `requests`; `dimensions` that jobs don't have are unknown, hence empty."""
    rows = client.query(
        _SQL,
        parameters={"closed": close_ids(closed.closes), "period": closed.period, "accounts": few(accounts)},
        settings=READ_SETTINGS,
    ).result_rows
    unknown = dict.fromkeys((*ALWAYS, *dimensions), "")
    found = []
    for account, segment, model, project, status, count, *sums in rows_of(accounts, rows):
        known = {"model": model, "generation_mode": JOBS, "project_id": project, "status": status}
        measured = {"requests": int(count)}
        for name, total, samples in zip(_MEASURES, sums[::2], sums[1::2], strict=True):
            measured |= {name: int(total), f"{name}_samples": int(samples)}
        found.append(Traffic(account, segment, {**unknown, **known}, measured))
    return found
