"""How the arms of an experiment did in a closed period: revenue, margin, outcomes, conversions, cancellations.

An experiment is part of a card, which is published once and for all, so that its arms can't change while it runs. An
account takes part where it subscribed to the plan that the experiment is on, and was billed by its arm's; whoever chose
an arm's plan by itself does not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from fleetmeter_billing.accounts.account import Subscriber
from fleetmeter_billing.accounts.segments import subscribed_terms
from fleetmeter_billing.clickhouse import BillingClient
from fleetmeter_billing.decide.costs import Costs
from fleetmeter_billing.decide.margin import by, read_margins
from fleetmeter_billing.decide.priced_period import ClosedPeriod, as_billed, chosen, rate_all, usage_for
from fleetmeter_billing.errors import ComparisonError
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.cohorts import arm_of
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.rates.plan import Experiment
from fleetmeter_billing.usage.frozen import FrozenSegment, frozen_usage

ZERO = Decimal(0)
_OUTCOMES = Meter(name="outcomes", fact="outcome", group_by=("name",))


@dataclass(frozen=True, slots=True)
class Participant:
    """What one account did under the experiment in the period. `cost` is None where no costs were given."""

    account: str
    arm: str
    currency: str
    revenue: Decimal
    cost: Decimal | None
    unseen: int
    outcomes: Mapping[str, int]
    converted: bool
    """Began the period as a trial, and was active at its end."""
    cancelled: bool
    """Had no subscription at the end of the period."""


@dataclass(frozen=True, slots=True)
class Arm:
    """The participants of one arm together, in one currency."""

    arm: str
    plan: str
    weight: int
    currency: str
    accounts: int
    revenue: Decimal
    cost: Decimal | None
    unseen: int
    outcomes: Mapping[str, int]
    converted: int
    cancelled: int
    mean: float
    """Revenue of an account."""
    standard_error: float | None
    """Of the mean; None for fewer than two accounts. Two means that differ by less than twice the root of the sum of
    both squares are not told apart by this many accounts."""


def takes_part(experiment: Experiment, card: str, frozen: FrozenSegment, subscriber: Subscriber | None) -> str | None:
    """The account's arm, if it takes part in this segment; None else. Pure."""
    if frozen.segment is None or subscriber is None or frozen.segment.card != card:
        return None
    terms = subscribed_terms(subscriber, frozen.first_day)
    if terms is None or (terms.card, terms.plan) != (card, experiment.on):
        return None
    arm = arm_of(experiment, frozen.account)
    return arm if frozen.segment.plan == experiment.arms[arm].plan else None


def read_participants(
    client: BillingClient,
    closed: ClosedPeriod,
    experiment: Experiment,
    card: str,
    subscribers: Mapping[str, Subscriber],
    card_of: Callable[[str, int], PublishedCard],
    costs: Costs | None = None,
) -> list[Participant]:
    """Who took part in the period, by account. Raises ComparisonError if nobody did, and CostsError."""
    arms: dict[tuple[str, int], str] = {}
    for frozen in closed.segments:
        if frozen.segment is None or frozen.segment.card != card:
            continue
        # A version without the experiment, or with another one of that name, is not under it.
        if card_of(card, frozen.segment.version).card.experiments.get(experiment.name) != experiment:
            continue
        arm = takes_part(experiment, card, frozen, subscribers.get(frozen.account))
        if arm is not None:
            arms[frozen.account, frozen.index] = arm
    if not arms:
        raise ComparisonError(f"nobody took part in experiment {experiment.name} of {card} in period {closed.period}")
    under = replace(closed, segments=tuple(one for one in closed.segments if (one.account, one.index) in arms))
    priced = chosen(under, as_billed(card_of))
    lines = rate_all(usage_for(client, under, priced), priced)
    accounts = sorted({account for account, _ in arms})
    margins = read_margins(client, under, costs, as_billed(card_of), accounts) if costs else []
    spent = {one.account: one for one in by(margins, ("account",))}
    outcomes: dict[str, dict[str, int]] = {}
    for version in sorted({one.segment.version for one in under.segments if one.segment is not None}):
        for usage in frozen_usage(client, closed.closes, closed.period, card, version, [_OUTCOMES], accounts):
            if (usage.account, usage.segment) in arms:
                own = outcomes.setdefault(usage.account, {})
                for one in usage.usage:
                    name = dict(one.group)["name"]
                    own[name] = own.get(name, 0) + one.quantity
    whole: dict[str, list[FrozenSegment]] = {}
    for frozen in closed.segments:
        whole.setdefault(frozen.account, []).append(frozen)
    found = []
    for account in accounts:
        first, last = whole[account][0].segment, whole[account][-1].segment
        found.append(
            Participant(
                account,
                arm_of(experiment, account),
                whole[account][0].currency,
                sum((line.rated.amount for line in lines.get(account, ())), ZERO),
                None if costs is None else spent[account].cost if account in spent else ZERO,
                spent[account].unseen if account in spent else 0,
                outcomes.get(account, {}),
                converted=first is not None
                and first.status == "trial"
                and last is not None
                and last.status == "active",
                cancelled=last is None,
            )
        )
    return found


def arms_of(experiment: Experiment, participants: Sequence[Participant]) -> list[Arm]:
    """The arms by currency and name, also those in which nobody is. Pure."""
    found = []
    for currency in sorted({one.currency for one in participants}):
        for name, arm in sorted(experiment.arms.items()):
            own = [one for one in participants if (one.arm, one.currency) == (name, currency)]
            outcomes: dict[str, int] = {}
            for one in own:
                for outcome, quantity in one.outcomes.items():
                    outcomes[outcome] = outcomes.get(outcome, 0) + quantity
            costs = [one.cost for one in own if one.cost is not None]
            revenues = [float(one.revenue) for one in own]
            found.append(
                Arm(
                    *(name, arm.plan, arm.weight, currency, len(own), sum((one.revenue for one in own), ZERO)),
                    cost=sum(costs, ZERO) if len(costs) == len(own) and own else None,
                    unseen=sum(one.unseen for one in own),
                    outcomes=dict(sorted(outcomes.items())),
                    converted=sum(one.converted for one in own),
                    cancelled=sum(one.cancelled for one in own),
                    mean=statistics.fmean(revenues) if revenues else 0.0,
                    standard_error=statistics.stdev(revenues) / math.sqrt(len(own)) if len(own) > 1 else None,
                )
            )
    return found
