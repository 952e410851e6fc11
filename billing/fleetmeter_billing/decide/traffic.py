"""Frozen usage in rows, by whichever dimensions a question needs: what costs and counterfactuals are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fleetmeter_schemas.native_spec import ledger_measures

from fleetmeter_billing.accounts.selection import BY_ACCOUNT, few, rows_of
from fleetmeter_billing.clickhouse import READ_SETTINGS, BillingClient
from fleetmeter_billing.decide.priced_period import ClosedPeriod
from fleetmeter_billing.periods.close_log import close_ids
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.meter import Meter, rollup_dimensions

ALWAYS: Final = ("model", "generation_mode", "usage_fidelity")
"""Dimensions that every row has."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Generations of one account and part of a period with the same dimensions. Measures that are not there are 0."""

    account: str
    segment: int
    dimensions: Mapping[str, str]
    sums: Mapping[str, int] = field(default_factory=dict)

    def sum(self, measure: str) -> int:
        """The sum of a measure."""
        return self.sums.get(measure, 0)

    def metered(self, meter: Meter) -> int:
        """What a meter of a measure counts of it."""
        if meter.measure is None:
            return 0
        dimensions, sums = self.dimensions, self.sums
        for name, values in meter.where.items():
            if dimensions[name] not in values:
                return 0
        if not meter.include_estimated and dimensions.get("usage_fidelity") == "estimated":
            return 0
        quantity = sums.get(meter.measure, 0)
        for one in meter.plus:
            quantity += sums.get(one, 0)
        for one in meter.minus:
            quantity -= sums.get(one, 0)
        return quantity


def by_account(rows: Iterable[Traffic]) -> dict[str, list[Traffic]]:
    """The rows of each account, in their order."""
    found: dict[str, list[Traffic]] = {}
    for row in rows:
        found.setdefault(row.account, []).append(row)
    return found


def dimensions_of(cards: Iterable[RateCard]) -> set[str]:
    """The dimensions that the cards' meters of measures look at."""
    meters = [meter for card in cards for meter in card.meters.values() if meter.measure is not None]
    return {name for meter in meters for name in (*meter.where, *meter.group_by)}


def read_traffic(
    client: BillingClient, closed: ClosedPeriod, dimensions: Iterable[str], accounts: Sequence[str] = ()
) -> list[Traffic]:
    """The generations of a closed period, by account, part, ALWAYS and `dimensions`; exact sums of every measure.

    ClickHouse sums. Raises ValueError for a dimension that rollups don't have.
    """
    names = sorted({*ALWAYS, *dimensions})
    if unknown := [name for name in names if name not in rollup_dimensions()]:
        raise ValueError(f"{', '.join(unknown)}: no dimension of the rollups")
    measures = ledger_measures()
    rows = client.query(
        f"SELECT account_id, segment, {', '.join(names)}, {', '.join(f'sum({one})' for one in measures)} "  # noqa: S608
        "FROM billing_frozen_usage WHERE has({closed:Array(String)}, close_id) AND usage_period = {period:String} "
        f"AND event_type = 'generation' AND {BY_ACCOUNT} GROUP BY account_id, segment, {', '.join(names)} "
        f"ORDER BY account_id, segment, {', '.join(names)}",
        parameters={
            "closed": close_ids(closed.closes),
            "period": closed.period,
            "accounts": few(accounts),
        },
        settings=READ_SETTINGS,
    ).result_rows
    width = 2 + len(names)
    return [
        Traffic(
            row[0],
            row[1],
            dict(zip(names, row[2:width], strict=True)),
            {name: int(value) for name, value in zip(measures, row[width:], strict=True) if value},
        )
        for row in rows_of(accounts, rows)
    ]
