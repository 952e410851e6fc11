"""What the same work would have cost, and what it would have been billed at, had it been done otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.decide.costs import Costs, cost_of
from fleetmeter_billing.decide.priced_period import ClosedPeriod, Priced, as_billed, chosen, rate_all, usage_for
from fleetmeter_billing.decide.traffic import Traffic, by_account, dimensions_of, read_traffic
from fleetmeter_billing.invoices.period_lines import PeriodUsage
from fleetmeter_billing.rates.card import PublishedCard, RateCard
from fleetmeter_billing.rates.money import CONTEXT
from fleetmeter_billing.rates.usage import MeteredUsage

ZERO = Decimal(0)
Scenario = Callable[[Sequence[Traffic]], list[Traffic]]


@dataclass(frozen=True, slots=True)
class Work:
    """What an account's work cost and was billed at; `cost` is None where no costs were given."""

    account: str
    currency: str
    requests: int
    bill: Decimal
    cost: Decimal | None
    unseen: int = 0
    """Requests whose cost is not known, which `cost` is too low by."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """One account's work as it was, and as it would have been."""

    actual: Work
    otherwise: Work


@dataclass(frozen=True, slots=True)
class Material:
    """A closed period read for counterfactuals: usage by card, and traffic by every dimension that matters."""

    priced: Priced
    usage: Mapping[str, PeriodUsage]
    traffic: tuple[Traffic, ...]
    currencies: Mapping[str, str]


def read_work(
    client: BillingClient,
    closed: ClosedPeriod,
    card_of: Callable[[str, int], PublishedCard],
    costs: Costs | None,
    accounts: Sequence[str] = (),
) -> Material:
    """Everything that scenarios are calculated from."""
    priced = chosen(closed, as_billed(card_of))
    cards = {id(card): card.card for card, _ in priced.values()}
    names = {"placement", "route", *dimensions_of(cards.values()), *(costs.dimensions if costs else ())}
    return Material(
        priced,
        usage_for(client, closed, priced),
        tuple(read_traffic(client, closed, names, accounts)),
        {one.account: one.currency for one in closed.segments},
    )


def compare_work(material: Material, scenario: Scenario, costs: Costs | None = None) -> list[Otherwise]:
    """By account, the work as it was and by the scenario. Pure.

    Fees, seats, outcomes, commitments and discounts stay. Raises what the scenario does, RatingError and CostsError.
    """
    changed = by_account(scenario(material.traffic))
    cards: dict[str, dict[int, RateCard]] = {}
    for (account, segment), (published, _) in material.priced.items():
        cards.setdefault(account, {})[segment] = published.card
    usage = {
        account: metered_again(of, cards[account], changed.get(account, ())) for account, of in material.usage.items()
    }
    before = _work(material, by_account(material.traffic), material.usage, costs)
    after = _work(material, changed, usage, costs)
    return [Otherwise(before[account], after[account]) for account in sorted(before)]


def metered_again(usage: PeriodUsage, cards: Mapping[int, RateCard], rows: Sequence[Traffic]) -> PeriodUsage:
    """An account's usage with what `rows` make of the meters of measures; facts and subjects stay."""
    found: dict[int, tuple[MeteredUsage, ...]] = {}
    for segment in usage.segments:
        card = cards[segment.index]
        kept = [one for one in usage.usage.get(segment.index, ()) if card.meters[one.meter].measure is None]
        own = [row for row in rows if row.segment == segment.index]
        for meter in card.meters.values():
            sums: dict[tuple[tuple[str, str], ...], int] = {}
            for row in own if meter.measure is not None else ():
                group = tuple((name, row.dimensions[name]) for name in meter.group_by)
                sums[group] = sums.get(group, 0) + row.metered(meter)
            kept += [MeteredUsage(meter.name, group, value) for group, value in sorted(sums.items()) if value]
        found[segment.index] = tuple(kept)
    return replace(usage, usage=found)


def _work(
    material: Material,
    traffic: Mapping[str, Sequence[Traffic]],
    usage: Mapping[str, PeriodUsage],
    costs: Costs | None,
) -> dict[str, Work]:
    lines = rate_all(usage, material.priced)
    found = {}
    for account in sorted({*lines, *traffic}):
        own, currency = traffic.get(account, ()), material.currencies[account]
        each = [cost_of(row, costs) for row in own] if costs else []
        with localcontext(CONTEXT):
            found[account] = Work(
                account,
                currency,
                sum(row.sum("requests") for row in own),
                sum((line.rated.amount for line in lines.get(account, ())), ZERO),
                sum((one.amount for one in each), ZERO) * costs.rate_to(currency) if costs else None,
                sum(one.unseen for one in each),
            )
    return found
