"""Revenue, cost and margin by account, model and generation mode; and alarms when steps per token move margins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from typing import Literal

from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.decide.attribution import ZERO, share_out
from fleetmeter_billing.decide.costs import Costs, cost_of
from fleetmeter_billing.decide.jobs import read_jobs
from fleetmeter_billing.decide.priced_period import Choose, ClosedPeriod, chosen, rate_all, usage_for
from fleetmeter_billing.decide.traffic import Traffic, by_account, dimensions_of, read_traffic
from fleetmeter_billing.invoices.period_lines import PlacedLine
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.money import CONTEXT

Key = Literal["account", "model", "generation_mode"]
KEYS: tuple[Key, ...] = ("account", "model", "generation_mode")
UNSHARED = "(fees, seats, outcomes)"
"""Stands for the model of revenue that no traffic accounts for."""
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class Margin:
    """What one combination earned and cost, in the currency that its accounts pay in; amounts are not rounded.

    `unseen` requests reported nothing by which they could be costed, so that the margin is too good by what they cost.
    `stepped_tokens` are the output tokens of the requests that report steps: where only some of a row do, their share
    of its tokens.
    """

    currency: str
    account: str = ""
    model: str = ""
    generation_mode: str = ""
    revenue: Decimal = ZERO
    cost: Decimal = ZERO
    requests: int = 0
    unseen: int = 0
    output_tokens: int = 0
    stepped_tokens: int = 0
    steps: int = 0

    @property
    def margin(self) -> Decimal:
        """Revenue less cost."""
        return self.revenue - self.cost

    @property
    def percent(self) -> Decimal | None:
        """The margin in percent of revenue; None without revenue."""
        return CONTEXT.divide(self.margin * _HUNDRED, self.revenue) if self.revenue > 0 else None

    @property
    def steps_per_token(self) -> Decimal | None:
        """Denoising steps per output token, of what reports steps."""
        return CONTEXT.divide(Decimal(self.steps), Decimal(self.stepped_tokens)) if self.stepped_tokens else None

    def plus(self, other: Margin) -> Margin:
        """Both together, under the names of this one."""
        names = ("revenue", "cost", "requests", "unseen", "output_tokens", "stepped_tokens", "steps")
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in names})


def read_margins(
    client: BillingClient,
    closed: ClosedPeriod,
    costs: Costs,
    choose: Choose,
    accounts: Sequence[str] = (),
) -> list[Margin]:
    """The margins of a closed period by account, model and mode, at the prices that `choose` gives it: `as_billed`, or
    another card's. Raises CostsError for a currency without a rate, and what `choose` does."""
    priced = chosen(closed, choose)
    lines = rate_all(usage_for(client, closed, priced), priced)
    cards: dict[str, dict[int, RateCard]] = {}
    for (account, segment), (published, _) in priced.items():
        cards.setdefault(account, {})[segment] = published.card
    every = {id(card): card for of in cards.values() for card in of.values()}
    traffic = read_traffic(client, closed, {*dimensions_of(every.values()), *costs.dimensions}, accounts)
    # What was asked for may be some parts of the period alone.
    asked = {(one.account, one.index) for one in closed.segments}
    traffic = [row for row in traffic if (row.account, row.segment) in asked]
    jobs = [row for row in read_jobs(client, closed, costs.dimensions, accounts) if (row.account, row.segment) in asked]
    currencies = {one.account: one.currency for one in closed.segments}
    return margins(lines, cards, traffic, costs, currencies, jobs)


def simulate_margins(
    client: BillingClient,
    closed: ClosedPeriod,
    costs: Costs,
    before: Choose,
    after: Choose,
    accounts: Sequence[str] = (),
) -> list[tuple[Margin, Margin]]:
    """What the segments that `after` does not leave out yield by both choices: a pair for each currency."""
    new = chosen(closed, after)
    segments = tuple(one for one in closed.segments if (one.account, one.index) in new)
    under = replace(closed, segments=segments)
    was, now = (
        {one.currency: one for one in by(read_margins(client, under, costs, choose, accounts), ())}
        for choose in (before, after)
    )
    return [(was.get(code, Margin(code)), now.get(code, Margin(code))) for code in sorted({*was, *now})]


def margins(
    lines: Mapping[str, Sequence[PlacedLine]],
    cards: Mapping[str, Mapping[int, RateCard]],
    traffic: Iterable[Traffic],
    costs: Costs,
    currencies: Mapping[str, str],
    jobs: Iterable[Traffic] = (),
) -> list[Margin]:
    """Pure: the lines of each account shared out to its traffic, less what traffic and jobs cost. What jobs are billed
    at is with the fees, as that of all facts is."""
    rows_of, jobs_of = by_account(traffic), by_account(jobs)
    found: list[Margin] = []
    for account in sorted({*lines, *rows_of, *jobs_of}):
        currency = currencies[account]
        exchange, rows = costs.rate_to(currency), rows_of.get(account, [])
        shares = share_out(lines.get(account, ()), cards.get(account, {}), rows)
        for place, row in enumerate(rows):
            cost = cost_of(row, costs)
            steps = row.sum("denoising_steps")
            found.append(
                Margin(
                    *(currency, account, row.dimensions["model"], row.dimensions["generation_mode"]),
                    revenue=shares.get(place, ZERO),
                    cost=CONTEXT.multiply(cost.amount, exchange),
                    requests=row.sum("requests"),
                    unseen=cost.unseen,
                    output_tokens=row.sum("output_tokens"),
                    stepped_tokens=_stepped_tokens(row),
                    steps=steps,
                )
            )
        for row in jobs_of.get(account, ()):
            cost = cost_of(row, costs)
            found.append(
                Margin(
                    *(currency, account, row.dimensions["model"], row.dimensions["generation_mode"]),
                    cost=CONTEXT.multiply(cost.amount, exchange),
                    requests=row.sum("requests"),
                    unseen=cost.unseen,
                )
            )
        if shares.get(None):
            found.append(Margin(currency, account, UNSHARED, revenue=shares[None]))
    return by(found, KEYS)


def _stepped_tokens(row: Traffic) -> int:
    requests = row.sum("requests")
    return row.sum("output_tokens") * row.sum("denoising_steps_samples") // requests if requests else 0


def by(margins: Iterable[Margin], keys: Sequence[Key]) -> list[Margin]:
    """Margins summed over everything but `keys` and the currency, in their order."""
    found: dict[tuple[str, ...], Margin] = {}
    with localcontext(CONTEXT):
        for one in margins:
            names = {key: getattr(one, key) for key in keys}
            place = (one.currency, *names.values())
            found[place] = found.get(place, Margin(one.currency, **names)).plus(one)
    return [found[place] for place in sorted(found)]


@dataclass(frozen=True, slots=True)
class Drift:
    """How one model and mode moved between two periods, and what of it steps are behind.

    `steps_percent` is the change of steps per token, `points` that of the margin in percentage points, `cost_of_steps`
    what the later period's traffic costs more than it would with as many steps per token as before (its cost taken as
    proportional to its steps), `points_of_steps` the percentage points that this is.
    """

    before: Margin
    after: Margin
    steps_percent: Decimal
    points: Decimal
    cost_of_steps: Decimal
    points_of_steps: Decimal


def drifts(
    before: Iterable[Margin], after: Iterable[Margin], *, steps_percent: Decimal, points: Decimal
) -> list[Drift]:
    """Models and modes whose steps per token moved by at least `steps_percent`, and whose margin this moved by at least
    `points`, up or down; the worst first. Those that report no steps, or earn nothing, in one of the periods are none.
    """
    keys: tuple[Key, ...] = ("model", "generation_mode")
    old = {(one.currency, one.model, one.generation_mode): one for one in by(before, keys)}
    found = []
    for now in by(after, keys):
        was = old.get((now.currency, now.model, now.generation_mode))
        drift = None if was is None else _drift(was, now)
        if drift and abs(drift.steps_percent) >= steps_percent and abs(drift.points_of_steps) >= points:
            found.append(drift)
    return sorted(found, key=lambda one: (one.points_of_steps, one.after.model, one.after.generation_mode))


def _drift(was: Margin, now: Margin) -> Drift | None:
    ratio_was, ratio_now = was.steps_per_token, now.steps_per_token
    if not ratio_was or not ratio_now or was.percent is None or now.percent is None:
        return None
    relative = CONTEXT.divide(ratio_now, ratio_was)
    extra = CONTEXT.subtract(now.cost, CONTEXT.divide(now.cost, relative))
    return Drift(
        was,
        now,
        steps_percent=(relative - 1) * _HUNDRED,
        points=now.percent - was.percent,
        cost_of_steps=extra,
        points_of_steps=CONTEXT.divide(-extra * _HUNDRED, now.revenue),
    )
