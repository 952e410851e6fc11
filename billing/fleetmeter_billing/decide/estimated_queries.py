"""Queries that devices answered and reported voluntarily as estimates: for comparisons, never for bills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient
from fleetmeter_billing.decide.priced_period import ClosedPeriod
from fleetmeter_billing.periods.close_log import close_ids

_SQL: Final = """
SELECT e.account_id, toUInt64(sum(toInt128(coalesce(e.queries_lower, e.queries, 0))))
FROM usage_estimates AS e FINAL INNER JOIN (
    SELECT account_id, min(start) AS start, max(end) AS end FROM billing_frozen_segments
    WHERE has({closed:Array(String)}, close_id) AND usage_period = {period:String} GROUP BY account_id
) AS s ON e.account_id = s.account_id
WHERE e.period_end > s.start AND e.period_end <= s.end
GROUP BY e.account_id ORDER BY e.account_id
"""


def estimated_queries(client: BillingClient, closed: ClosedPeriod, accounts: Sequence[str] = ()) -> dict[str, int]:
    """By account: the least number of queries that its devices' reports of the period allow, as reported so far."""
    rows = client.query(
        _SQL,
        parameters={"closed": close_ids(closed.closes), "period": closed.period},
        settings=READ_SETTINGS,
    ).result_rows
    return {account: int(queries) for account, queries in rows if queries and (not accounts or account in accounts)}
