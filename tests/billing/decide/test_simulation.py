"""Another card on the same traffic: winners, losers, totals, and what is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from fleetmeter_billing.decide.priced_period import as_billed, read_closed
from fleetmeter_billing.decide.publish_guard import ChangeLimits, draft_of, exceeded, guard
from fleetmeter_billing.decide.simulation import Change, Effect, instead_of, simulate
from fleetmeter_billing.errors import ComparisonError, PeriodError, PublishRefusedError
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.store import load_card, newest_card
from fleetmeter_doubles.counted_usage import CountedUsage
from fleetmeter_doubles.decided_periods import CARD

D = Decimal


def effect(*changes: tuple[str, str, str]) -> Effect:
    accounts = [Change(name, D(before), D(after)) for name, before, after in changes]
    return Effect("EUR", tuple(sorted(accounts, key=lambda one: one.difference)), ())


def test_winners_pay_less_and_losers_pay_more() -> None:
    one = effect(("a", "100", "90"), ("b", "100", "130"), ("c", "5", "5"), ("d", "0", "2"), ("e", "50", "30"))
    assert [change.name for change in one.winners] == ["e", "a"]
    assert [change.name for change in one.losers] == ["b", "d"]
    # 100 + 100 + 5 + 0 + 50 = 255; 90 + 130 + 5 + 2 + 30 = 257.
    assert (one.total.before, one.total.after, one.total.difference) == (D(255), D(257), D(2))
    assert [change.percent for change in one.losers] == [D(30), None]


def test_limits_are_exceeded_by_more_than_themselves_only() -> None:
    limits = ChangeLimits(D(5), D(25))
    assert exceeded(effect(("a", "100", "105")), limits) == []
    assert exceeded(effect(("a", "100", "105.01")), limits) == [
        "all bills together would change from 100 to 105.01 EUR (+5.0 %)"
    ]
    # The total moves by 1 in 200, and a by 30 %.
    assert exceeded(effect(("a", "100", "70"), ("b", "100", "129")), ChangeLimits(D(5), D(29))) == [
        "a: from 100 to 70 EUR (-30.0 %)"
    ]
    # Whoever paid nothing and shall pay is beyond any limit, be it a cent in ten thousand.
    assert exceeded(effect(("a", "10000", "10000"), ("b", "0", "0.01")), limits) == ["b: from 0 to 0.01 EUR"]


def draft(old: str = "", new: str = "") -> RateCard:
    assert old in CARD
    return parse_card(CARD.replace(old, new) if old else CARD)


@pytest.mark.clickhouse
def test_a_closed_period_is_rated_by_another_card(decided: CountedUsage) -> None:
    closed = read_closed(decided.client, "2026-11")
    billed = as_billed(lambda name, version: load_card(decided.client, name, version))
    # acme is in the arm `half`, delta in `control` (see test_cohorts); gamma subscribed to `cheap` itself.
    # Fees 10 each; acme 150,000 tokens at 1 per 1,000 = 150; delta 10,000 at 2 = 20.
    after = draft_of(draft("amount: 2}", "amount: 3}"), 2)
    (found,) = simulate(decided.client, closed, billed, instead_of("fleet", after))
    assert {one.name: (one.before, one.after) for one in found.accounts} == {
        "acme": (D("160.00"), D("160.00")),
        "delta": (D("30.00"), D("40.00")),
        "gamma": (D("10.00"), D("10.00")),
    }
    assert {one.name: one.difference for one in found.prices} == {"fee": 0, "tokens": 10, "trial_tokens": 0}
    assert [one.name for one in found.losers] == ["delta"]


@pytest.mark.clickhouse
def test_plans_can_be_followed_by_others_and_must_be_there(decided: CountedUsage) -> None:
    closed = read_closed(decided.client, "2026-11", ["gamma", "delta"])
    billed = as_billed(lambda name, version: load_card(decided.client, name, version))
    text = CARD[: CARD.index("experiments:")].replace("cheap:", "basic:").replace("amount: 10", "amount: 12")
    after = draft_of(parse_card(text), 2)
    with pytest.raises(ComparisonError, match=r"gamma has plan cheap, .*--plan cheap=NEW; it has team, basic"):
        simulate(decided.client, closed, billed, instead_of("fleet", after))
    (found,) = simulate(decided.client, closed, billed, instead_of("fleet", after, {"cheap": "basic"}))
    assert {one.name: one.difference for one in found.accounts} == {"delta": 2, "gamma": 2}


@pytest.mark.clickhouse
def test_what_can_not_be_compared_is_refused(decided: CountedUsage) -> None:
    closed = read_closed(decided.client, "2026-11")
    billed = as_billed(lambda name, version: load_card(decided.client, name, version))
    with pytest.raises(PeriodError, match=r"2026-09 is not closed.*Closed: 2026-10, 2026-11"):
        read_closed(decided.client, "2026-09")
    dollars = draft_of(draft("currency: EUR", "currency: USD"), 2)
    with pytest.raises(ComparisonError, match="pays in EUR, and fleet is in USD"):
        simulate(decided.client, closed, billed, instead_of("fleet", dollars))
    with pytest.raises(ComparisonError, match="there are fleet"):
        simulate(decided.client, closed, billed, instead_of("other", dollars))


@pytest.mark.clickhouse
def test_publishing_above_a_limit_is_refused(decided: CountedUsage) -> None:
    newest = newest_card(decided.client, "fleet")
    # All three fees from 10 to 10.10: 0.30 in 200; below both limits.
    guard(decided.client, ChangeLimits())(newest, draft("amount: 10}", "amount: 10.10}"))
    # delta from 30 to 40 is 33 %; 10 in 200 is 5 %, which is not above 5 %.
    with pytest.raises(PublishRefusedError, match=r"delta: from 30.00 to 40.00 EUR \(\+33.3 %\)") as refused:
        guard(decided.client, ChangeLimits())(newest, draft("amount: 2}", "amount: 3}"))
    assert "all bills" not in str(refused.value)
    told: list[str] = []
    guard(decided.client, ChangeLimits(), tell=told.append)(None, draft())
    assert told == []
    other = draft_of(draft("card: fleet", "card: other"), 1)
    guard(decided.client, ChangeLimits(), tell=told.append)(other, draft("card: fleet", "card: other"))
    assert told == ["no closed period was priced by other yet: there is nothing to compare the new version on"]
