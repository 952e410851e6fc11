"""Arms of an experiment: who takes part, and what each arm brought."""

from __future__ import annotations

from decimal import Decimal

import pytest
from fleetmeter_billing.accounts.account_store import load_accounts
from fleetmeter_billing.decide.costs import parse_costs
from fleetmeter_billing.decide.experiments import Participant, arms_of, read_participants
from fleetmeter_billing.decide.priced_period import read_closed
from fleetmeter_billing.errors import ComparisonError
from fleetmeter_billing.rates.plan import Experiment
from fleetmeter_billing.rates.store import load_card
from fleetmeter_doubles.counted_usage import CountedUsage

D = Decimal
CHEAPER = Experiment.model_validate(
    {
        "name": "cheaper",
        "salt": "autumn",
        "on": "team",
        "arms": {"control": {"weight": 1, "plan": "team"}, "half": {"weight": 1, "plan": "cheap"}},
    }
)
COSTS = parse_costs(
    """
costs: seconds
currency: USD
exchange: {EUR: 0.5}
rules: [{name: all, amounts: [{measure: gpu_ms, amount: 1, per: 1000}]}]
"""
)


def one(account: str, arm: str, revenue: str, **more: object) -> Participant:
    values = {"cost": None, "unseen": 0, "outcomes": {}, "converted": False, "cancelled": False, **more}
    return Participant(account, arm, "EUR", D(revenue), **values)  # type: ignore[arg-type]


def test_arms_are_sums_and_means_of_their_accounts() -> None:
    """Revenues 10 and 20: mean 15; the sample's standard deviation is sqrt(50) = 7.071, over sqrt(2) that is 5."""
    control, half = arms_of(
        CHEAPER,
        [
            one("a", "control", "10", outcomes={"resolved": 2}, converted=True),
            one("b", "control", "20", outcomes={"resolved": 1, "sold": 1}, cancelled=True),
            one("c", "half", "7", cost=D(3)),
        ],
    )
    assert (control.accounts, control.revenue, control.mean, control.cost) == (2, D(30), 15.0, None)
    assert control.standard_error == pytest.approx(5.0)
    assert (control.outcomes, control.converted, control.cancelled) == ({"resolved": 3, "sold": 1}, 1, 1)
    assert (half.accounts, half.revenue, half.cost, half.standard_error, half.plan) == (1, D(7), D(3), None, "cheap")


@pytest.mark.clickhouse
def test_who_took_part_in_a_closed_period(decided: CountedUsage) -> None:
    """acme is in `half`: 160 billed, 340 spent (180 s and 500 s at half a euro), 5 outcomes. delta is in `control`: 30
    billed, nothing known to be spent, 4 outcomes. gamma chose the arm's plan by itself."""
    closed = read_closed(decided.client, "2026-11")
    subscribers = {name: stored.subscriber for name, stored in load_accounts(decided.client).items()}
    found = read_participants(
        decided.client,
        closed,
        load_card(decided.client, "fleet", 1).card.experiments["cheaper"],
        "fleet",
        subscribers,
        lambda name, version: load_card(decided.client, name, version),
        COSTS,
    )
    assert [(p.account, p.arm, p.revenue, p.cost, p.unseen, p.outcomes) for p in found] == [
        ("acme", "half", D("160.00"), D(340), 0, {"ticket_resolved": 5}),
        ("delta", "control", D("30.00"), D(0), 20, {"ticket_resolved": 4}),
    ]
    other = CHEAPER.model_copy(update={"salt": "another"})
    with pytest.raises(ComparisonError, match="nobody took part in experiment cheaper of fleet in period 2026-11"):
        read_participants(
            decided.client, closed, other, "fleet", subscribers, lambda n, v: load_card(decided.client, n, v)
        )
