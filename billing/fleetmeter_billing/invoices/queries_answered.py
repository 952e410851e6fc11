"""How many queries each account had answered where, for the statement of what local answers were worth.

Devices that may not be metered query by query report estimates with bounds; of those the lower bound is taken, so that
the statement never claims too much. Estimates are read up to the close's positions: the answer is the same for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient
from fleetmeter_billing.periods.close_log import Close
from fleetmeter_billing.periods.completeness import reach_of_facts


@dataclass(frozen=True, slots=True)
class Answered:
    """Queries of one account and period that did not end in an error."""

    cloud: int
    """In the cloud, and where nobody said."""
    local: int
    """On devices, counted or at least estimated, and on the account's own servers."""


_SQL: Final = """
SELECT account_id, toUInt64(sum(cloud)), toUInt64(sum(local)) FROM (
    SELECT account_id,
        sumIf(requests, placement NOT IN ('device', 'on_prem')) AS cloud,
        sumIf(requests, placement IN ('device', 'on_prem')) AS local
    FROM billing_frozen_usage
    WHERE close_id = {close_id:String} AND usage_period = {period:String} AND event_type = 'generation'
        AND status != 'error'
    GROUP BY account_id
    UNION ALL
    SELECT e.account_id, toInt128(0), sum(toInt128(coalesce(e.queries_lower, e.queries, 0)))
    FROM usage_estimates AS e FINAL INNER JOIN (
        SELECT account_id, min(start) AS start, max(end) AS end FROM billing_frozen_segments
        WHERE close_id = {close_id:String} AND usage_period = {period:String} GROUP BY account_id
    ) AS s ON e.account_id = s.account_id
    WHERE e.period_end > s.start AND e.period_end <= s.end
        AND arrayExists(p -> p.1 = e.topic AND p.2 = e.partition AND p.3 = e.epoch AND e.offset < p.4,
            {facts_below:Array(Tuple(String, UInt32, UInt32, UInt64))})
    GROUP BY e.account_id
)
GROUP BY account_id
"""


def answered(client: BillingClient, close: Close) -> dict[str, Answered]:
    """By account, for the period that was closed."""
    facts_below = reach_of_facts(client, close.positions)
    rows = client.query(
        _SQL,
        parameters={"close_id": close.close_id, "period": close.period, "facts_below": facts_below},
        settings=READ_SETTINGS,
    ).result_rows
    return {account: Answered(int(cloud), int(local)) for account, cloud, local in rows}
