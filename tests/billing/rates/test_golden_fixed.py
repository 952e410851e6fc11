"""Bills computed by hand: flat fees, seats, capacity, and what happens to them in a part of a period."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from fleetmeter_billing.rates.rating import RatedLine

Rate = Callable[..., list[RatedLine]]
Amounts = Callable[..., list[str]]
HALF = {"days": 15, "period_days": 30}


def test_flat(rate: Rate) -> None:
    (line,) = rate("p: {label: Platform, model: {type: flat, amount: 99.90}}", {})
    assert (line.amount, line.quantity, line.kind, line.meter) == (Decimal("99.90"), Decimal(1), "fixed", None)


def test_flat_for_a_part_of_the_period(rate: Rate) -> None:
    # 100 x 10 / 31 = 32.258...
    price = "p: {label: Platform, model: {type: flat, amount: 100}}"
    (line,) = rate(price, {}, days=10, period_days=31)
    assert line.amount == Decimal("32.26")
    assert line.explanation == ("100 EUR a period, for 10 of 31 days",)
    (line,) = rate(price.replace("model:", "proration: none, model:"), {}, days=10, period_days=31)
    assert line.amount == Decimal("100.00")


def test_flat_only_if_used(amounts: Amounts) -> None:
    price = "p: {label: Platform, meter: total, model: {type: flat, amount: 10, when_used: true}}"
    assert amounts(price, {}) == []
    assert amounts(price, {"total": 1}) == ["10.00"]


SEAT = "p: {label: Seats, meter: seats, unit: seat, model: {type: seat, amount: 12.50}}"


def test_seats_counted(rate: Rate) -> None:
    # 7 x 12.5 = 87.5
    (line,) = rate(SEAT, {"seats": 7})
    assert (line.amount, line.quantity, line.kind) == (Decimal("87.50"), Decimal(7), "usage")
    # for 15 of 30 days: 43.75
    (line,) = rate(SEAT, {"seats": 7}, **HALF)
    assert line.amount == Decimal("43.75")
    assert rate(SEAT, {}) == []


def test_included_seats_are_not_shortened_twice(amounts: Amounts) -> None:
    # (7 - 2) x 12.5 x 15 / 30 = 31.25
    assert amounts(SEAT.replace("unit:", "included: 2, unit:"), {"seats": 7}, **HALF) == ["31.25"]


@pytest.mark.parametrize(
    ("basis", "counted", "committed", "expected"),
    [
        ("committed", 7, 10, ["125.00"]),
        ("committed", 12, 10, ["125.00", "40.00"]),  # 10 x 12.5; 2 beyond x 20
        ("larger", 7, 10, ["125.00"]),
        ("larger", 12, 10, ["150.00"]),  # 12 x 12.5
        ("counted", 7, 10, ["87.50"]),
    ],
)
def test_seats_committed_and_counted(
    amounts: Amounts, basis: str, counted: int, committed: int, expected: list[str]
) -> None:
    overage = ", overage_amount: 20" if basis == "committed" else ""
    price = SEAT.replace("amount: 12.50", f"amount: 12.50, basis: {basis}{overage}")
    assert amounts(price, {"seats": counted}, committed={"seats": committed}) == expected


def test_seats_in_tiers(amounts: Amounts) -> None:
    price = (
        "p: {label: Seats, meter: seats, model: {type: seat, mode: MODE, tiers: [{up_to: 5, amount: 10}, {amount: 8}]}}"
    )
    # graduated: 5 x 10 + 2 x 8 = 66; volume: 7 x 8 = 56
    assert amounts(price.replace("MODE", "graduated"), {"seats": 7}) == ["66.00"]
    assert amounts(price.replace("MODE", "volume"), {"seats": 7}) == ["56.00"]


CAPACITY = """
p:
  label: Device licence
  meter: devices
  model:
    type: capacity
    basis: larger
    levels: [{up_to: 100, amount: 500, label: S}, {up_to: 1000, amount: 3000}, {amount: 10000}]
"""


@pytest.mark.parametrize(
    ("counted", "committed", "amount"),
    [(1, 0, "500.00"), (100, 0, "500.00"), (101, 0, "3000.00"), (7, 1000, "3000.00"), (1001, 1000, "10000.00")],
)
def test_capacity_is_the_level_that_covers_it(amounts: Amounts, counted: int, committed: int, amount: str) -> None:
    assert amounts(CAPACITY, {"devices": counted}, committed={"devices": committed}) == [amount]


def test_capacity_with_overage(rate: Rate) -> None:
    price = CAPACITY.replace("basis: larger", "basis: committed\n    overage_amount: 6")
    # committed to 80: level S, 500; 30 devices beyond x 6 = 180
    lines = rate(price, {"devices": 110}, committed={"devices": 80})
    assert [(line.part, str(line.amount), line.kind) for line in lines] == [
        ("", "500.00", "fixed"),
        ("overage", "180.00", "usage"),
    ]
    # half of the period: half of both
    lines = rate(price, {"devices": 110}, committed={"devices": 80}, **HALF)
    assert [str(line.amount) for line in lines] == ["250.00", "90.00"]
    assert rate(price, {}) == []


def test_what_a_part_of_a_period_shortens(amounts: Amounts) -> None:
    price = """
    p:
      label: Output
      meter: total
      included: 1000
      model: {type: graduated, tiers: [{up_to: 1000, amount: 2}, {amount: 1}]}
    """
    # 15 of 30 days: 500 included, bounds as they are: 1700 - 500 = 1200: 1000 x 2 + 200 x 1 = 2200
    assert amounts(price, {"total": 1700}, **HALF) == ["2200.00"]
    # bounds, too: 500 x 2 + 700 x 1 = 1700
    assert amounts(price + "  proration: {tiers: days}\n", {"total": 1700}, **HALF) == ["1700.00"]
    # nothing: 1700 - 1000 = 700 x 2 = 1400
    assert amounts(price + "  proration: none\n", {"total": 1700}, **HALF) == ["1400.00"]


def test_a_bound_for_a_third_of_the_month_holds_its_last_unit(amounts: Amounts) -> None:
    price = """
    p:
      label: Output
      meter: total
      proration: {tiers: days}
      model: {type: volume, tiers: [{up_to: 300, amount: 1}, {amount: 2, flat: 50}]}
    """
    # 300 x 10 / 30 = 100, although a third has no end: 100 x 1; and 101 x 2 + 50
    assert amounts(price, {"total": 100}, days=10) == ["100.00"]
    assert amounts(price, {"total": 101}, days=10) == ["252.00"]


def test_a_month_in_two_segments_makes_one_month(rate: Rate) -> None:
    # 100 x 7/30 = 23.333 -> 23.33 and 100 x 23/30 = 76.667 -> 76.67
    price = "p: {label: Platform, model: {type: flat, amount: 100}}"
    parts = [rate(price, {}, days=days)[0].amount for days in (7, 23)]
    assert parts == [Decimal("23.33"), Decimal("76.67")]
