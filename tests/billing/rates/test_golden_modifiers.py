"""Bills computed by hand: minimum, maximum, discounts, trials, and in which order they apply."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from fleetmeter_billing.rates.rating import RatedLine
from fleetmeter_billing.rates.usage import Discount

Rate = Callable[..., list[RatedLine]]

PRICE = "p: {label: Output, meter: total, MORE model: {type: unit, amount: 0.01}}"
TEN_PERCENT = Discount("launch", "Launch discount", percent=Decimal(10))


def price(more: str = "") -> str:
    return PRICE.replace("MORE", more)


def shown(lines: list[RatedLine]) -> list[tuple[str, str, str]]:
    return [(line.part, line.kind, str(line.amount)) for line in lines]


def test_a_minimum_is_met_to_the_cent(rate: Rate) -> None:
    # 333 x 0.01 = 3.33, topped up by 1.67
    lines = rate(price("minimum: 5,"), {"total": 333})
    assert shown(lines) == [("", "usage", "3.33"), ("minimum", "minimum", "1.67")]
    assert shown(rate(price("minimum: 5,"), {"total": 500})) == [("", "usage", "5.00")]
    assert shown(rate(price("minimum: 5,"), {})) == [("minimum", "minimum", "5.00")]


def test_a_minimum_tops_up_rounded_lines(rate: Rate) -> None:
    text = """
    p:
      label: Output
      meter: tokens
      lines_by: [model]
      minimum: 1
      model: {type: unit, amount: 0.335}
    """
    used = [("tokens", {"generation_mode": "", "context_band": "", "model": name}, 1) for name in "ab"]
    # 0.335 -> 0.34 twice = 0.68; 1.00 - 0.68 = 0.32, not 1 - 0.67 = 0.33
    assert [str(line.amount) for line in rate(text, used)] == ["0.34", "0.34", "0.32"]


def test_a_minimum_is_for_the_days_of_the_segment(rate: Rate) -> None:
    # 10 x 15 / 30 = 5; usage 3.33
    assert shown(rate(price("minimum: 10,"), {"total": 333}, days=15))[1] == ("minimum", "minimum", "1.67")
    whole = price("minimum: 10, proration: {minimum: none},")
    assert shown(rate(whole, {"total": 333}, days=15))[1] == ("minimum", "minimum", "6.67")


def test_a_maximum(rate: Rate) -> None:
    # 1234 x 0.01 = 12.34, at most 10
    lines = rate(price("maximum: 10,"), {"total": 1234})
    assert shown(lines) == [("", "usage", "12.34"), ("maximum", "discount", "-2.34")]


def test_a_discount_comes_before_the_maximum(rate: Rate) -> None:
    # 10.50 less 10 % = 9.45, below the maximum of 10; the maximum first would give 9.00
    lines = rate(price("maximum: 10,"), {"total": 1050}, discounts=(TEN_PERCENT,))
    assert shown(lines) == [("", "usage", "10.50"), ("discount:launch", "discount", "-1.05")]


def test_a_discount_comes_before_the_minimum(rate: Rate) -> None:
    # 5.50 less 0.55 = 4.95, topped up to 5
    lines = rate(price("minimum: 5,"), {"total": 550}, discounts=(TEN_PERCENT,))
    assert [amount for _, _, amount in shown(lines)] == ["5.50", "-0.55", "0.05"]


def test_discounts_follow_one_another(rate: Rate) -> None:
    fixed = Discount("goodwill", "Goodwill", amount=Decimal(3))
    # 20 - 10 % = 18 - 3 = 15
    lines = rate(price(), {"total": 2000}, discounts=(TEN_PERCENT, fixed))
    assert [amount for _, _, amount in shown(lines)] == ["20.00", "-2.00", "-3.00"]


def test_a_fixed_discount_is_spent_once_over_all_prices(rate: Rate) -> None:
    prices = "a: {label: A, model: {type: flat, amount: 2}}\nb: {label: B, model: {type: flat, amount: 5}}"
    fixed = Discount("goodwill", "Goodwill", amount=Decimal(3))
    lines = rate(prices, {}, discounts=(fixed,))
    # 2 off the first, the remaining 1 off the second
    assert [(line.price, str(line.amount)) for line in lines] == [
        ("a", "2.00"),
        ("a", "-2.00"),
        ("b", "5.00"),
        ("b", "-1.00"),
    ]
    only_b = Discount("goodwill", "Goodwill", amount=Decimal(3), prices=("b",))
    assert [str(line.amount) for line in rate(prices, {}, discounts=(only_b,))] == ["2.00", "5.00", "-3.00"]


def test_a_fixed_discount_for_some_days_is_rounded_once(rate: Rate) -> None:
    fixed = Discount("goodwill", "Goodwill", amount=Decimal("0.14"))
    # 0.14 x 5 / 28 = 0.025, exactly half a cent more than 0.02, although 5 / 28 has no end
    lines = rate(price(), {"total": 100}, discounts=(fixed,), days=5, period_days=28)
    assert [amount for _, _, amount in shown(lines)] == ["1.00", "-0.03"]


@pytest.mark.parametrize(
    ("percent", "expected"), [("100", ["12.34", "-12.34"]), ("50", ["12.34", "-6.17"]), ("0", ["12.34"])]
)
def test_a_trial_takes_the_plans_share_off(rate: Rate, percent: str, expected: list[str]) -> None:
    lines = rate(
        price(), {"total": 1234}, more=f"plans: {{pro: {{trial_percent: {percent}}}}}", plan="pro", status="trial"
    )
    assert [str(line.amount) for line in lines] == expected
