"""Bills computed by hand: unit, graduated, volume, package, allowances, multipliers, rules."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from fleetmeter_billing.rates.rating import RatedLine

Rate = Callable[..., list[RatedLine]]
Amounts = Callable[..., list[str]]

UNIT = "p: {label: Output, meter: total, unit: token, per: 1_000_000, model: {type: unit, amount: 0.75}}"
GRADUATED = """
p:
  label: Output
  meter: total
  unit: token
  per: 1000
  model:
    type: graduated
    tiers:
      - {up_to: 1000, amount: 2, flat: 5}
      - {up_to: 5000, amount: 1.5}
      - {amount: 1, flat: 10}
"""
VOLUME = GRADUATED.replace("graduated", "volume")
PACKAGE = "p: {label: Output, meter: total, unit: token, model: {type: package, amount: 3, size: 1000}}"


def test_unit(rate: Rate) -> None:
    # 1,234,567 x 0.75 / 1,000,000 = 0.92592525, rounded 0.93
    (line,) = rate(UNIT, {"total": 1_234_567})
    assert (line.exact, line.amount) == (Decimal("0.92592525"), Decimal("0.93"))
    assert (line.quantity, line.unit, line.per, line.kind) == (Decimal(1_234_567), "token", 1_000_000, "usage")
    assert (line.card, line.version, line.currency, line.meter) == ("golden", 1, "EUR", "total")
    assert line.explanation == ("1,234,567 token at 0.75 EUR per 1,000,000 token = 0.92592525 EUR",)


def test_rounding_is_half_away_from_zero(amounts: Amounts) -> None:
    price = "p: {label: Output, meter: total, model: {type: unit, amount: 0.005}}"
    # 1 x 0.005 = 0.005 -> 0.01; 3 x 0.005 = 0.015 -> 0.02; 5 x 0.005 = 0.025 -> 0.03 (half to even: 0.00, 0.02, 0.02)
    assert amounts(price, {"total": 1}) == ["0.01"]
    assert amounts(price, {"total": 3}) == ["0.02"]
    assert amounts(price, {"total": 5}) == ["0.03"]
    assert amounts(price, {"total": -5}) == ["-0.03"]


@pytest.mark.parametrize(
    ("currency", "amount"),
    # 7 x 0.1235 = 0.8645
    [("JPY", "1"), ("EUR", "0.86"), ("KWD", "0.865"), ("CLF", "0.8645")],
)
def test_currencies_have_0_2_3_or_4_digits(amounts: Amounts, currency: str, amount: str) -> None:
    price = "p: {label: Output, meter: total, model: {type: unit, amount: 0.1235}}"
    assert amounts(price, {"total": 7}, currency=currency) == [amount]


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        # nothing used: nothing charged, not even the first tier's flat fee
        (0, None),
        # 1 x 2/1000 + 5 = 5.002
        (1, "5.00"),
        # 1000 x 2/1000 + 5 = 7: the bound belongs to the tier
        (1000, "7.00"),
        # 7 + 1 x 1.5/1000 = 7.0015
        (1001, "7.00"),
        # 7 + 4000 x 1.5/1000 = 13
        (5000, "13.00"),
        # 13 + 1 x 1/1000 + 10 = 23.001
        (5001, "23.00"),
        # 13 + 2000 x 1/1000 + 10 = 25
        (7000, "25.00"),
        # below zero the first tier's amount, no flat fee: -500 x 2/1000 = -1
        (-500, "-1.00"),
    ],
)
def test_graduated(amounts: Amounts, quantity: int, amount: str | None) -> None:
    assert amounts(GRADUATED, {"total": quantity}) == ([amount] if amount else [])


def test_the_tiers_of_a_graduated_line_are_shown(rate: Rate) -> None:
    (line,) = rate(GRADUATED, {"total": 7000})
    shown = [(t.up_to, t.quantity, t.unit_amount, t.flat, t.amount) for t in line.tiers]
    assert shown == [
        (Decimal(1000), Decimal(1000), Decimal(2), Decimal(5), Decimal(7)),
        (Decimal(5000), Decimal(4000), Decimal("1.5"), Decimal(0), Decimal(6)),
        (None, Decimal(2000), Decimal(1), Decimal(10), Decimal(12)),
    ]


@pytest.mark.parametrize(
    ("quantity", "amount"),
    [
        (0, None),
        # 1000 x 2/1000 + 5 = 7
        (1000, "7.00"),
        # all 1001 at 1.5/1000 = 1.5015: cheaper than 1000 tokens, the cliff of volume prices
        (1001, "1.50"),
        # 5000 x 1.5/1000 = 7.5
        (5000, "7.50"),
        # 7000 x 1/1000 + 10 = 17
        (7000, "17.00"),
        # -500 x 2/1000 = -1
        (-500, "-1.00"),
    ],
)
def test_volume(amounts: Amounts, quantity: int, amount: str | None) -> None:
    assert amounts(VOLUME, {"total": quantity}) == ([amount] if amount else [])


@pytest.mark.parametrize("model", [GRADUATED, VOLUME])
def test_the_first_flat_fee_at_zero_is_an_option(amounts: Amounts, model: str) -> None:
    wanted = model.replace("    tiers:", "    flat_at_zero: true\n    tiers:")
    assert amounts(wanted, {}) == ["5.00"]
    assert amounts(wanted, {"total": 1000}) == ["7.00"]


@pytest.mark.parametrize(
    ("rounding", "quantity", "amount"),
    [
        # 1 of 1000: one package begun; exactly 2000: two; 2001: three
        ("up", 1, "3.00"),
        ("up", 2000, "6.00"),
        ("up", 2001, "9.00"),
        # taken back are only whole packages: -1500 / 1000 rounded up is -1
        ("up", -1500, "-3.00"),
        ("down", 2999, "6.00"),
        ("nearest", 2499, "6.00"),
        ("nearest", 2500, "9.00"),
    ],
)
def test_package(amounts: Amounts, rounding: str, quantity: int, amount: str) -> None:
    price = PACKAGE.replace("size: 1000", f"size: 1000, rounding: {rounding}")
    assert amounts(price, {"total": quantity}) == [amount]


def test_an_allowance_comes_before_tiers(rate: Rate) -> None:
    # 7000 - 1500 included = 5500: 1000 x 2/1000 + 5 = 7; 4000 x 1.5/1000 = 6; 500 x 1/1000 + 10 = 10.5; sum 23.5
    (line,) = rate(GRADUATED + "  included: 1500\n", {"total": 7000})
    assert (line.amount, line.quantity) == (Decimal("23.50"), Decimal(7000))
    assert line.explanation[0] == "1,500 token are included in the plan"


def test_usage_within_the_allowance_still_has_its_line(rate: Rate) -> None:
    (line,) = rate(GRADUATED + "  included: 1500\n", {"total": 1500})
    assert (line.amount, line.quantity) == (Decimal("0.00"), Decimal(1500))


def test_a_plan_has_allowances_of_its_own(amounts: Amounts) -> None:
    plans = "plans: {basic: {}, pro: {included: {p: 1000}}}"
    # basic: 4000 / 1000 packages of 3 = 12; pro: 3000 / 1000 = 9
    assert amounts(PACKAGE, {"total": 4000}, more=plans, plan="basic") == ["12.00"]
    assert amounts(PACKAGE, {"total": 4000}, more=plans, plan="pro") == ["9.00"]


def test_multipliers_weigh_the_quantity(rate: Rate) -> None:
    price = """
    p:
      label: Output
      meter: tokens
      unit: token
      per: 1000
      model: {type: graduated, tiers: [{up_to: 1000, amount: 2}, {amount: 1}]}
      included: 200
      multipliers:
        - {by: generation_mode, values: {diffusion: 0.4, block_diffusion: 0.5}, other: 1}
        - {by: model, values: {large: 3}}
    """
    mode = "generation_mode"
    used = [
        ("tokens", {mode: "diffusion", "context_band": "0-32k", "model": "small"}, 1000),
        ("tokens", {mode: "block_diffusion", "context_band": "0-32k", "model": "large"}, 1000),
        ("tokens", {mode: "autoregressive", "context_band": "0-32k", "model": "small"}, 300),
    ]
    # 1000 x 0.4 + 1000 x 0.5 x 3 + 300 = 400 + 1500 + 300 = 2200; less 200 = 2000: 1000 x 2/1000 + 1000 x 1/1000 = 3
    (line,) = rate(price, used)
    assert (line.amount, line.quantity) == (Decimal("3.00"), Decimal(2300))
    assert line.explanation[:4] == (
        "1,000 token count 0.4 times: 400",
        "1,000 token count 1.5 times: 1,500",
        "300 token count 1 times: 300",
        "200 token are included in the plan",
    )


RULED = """
p:
  label: Input
  meter: tokens
  unit: token
  per: 1000
  model: {type: unit, amount: 1}
  rules:
    - name: long
      label: Input above 200k
      when: {context_band: [200k-272k, 272k-1000k, 1000k+]}
      model: {type: unit, amount: 2}
    - {name: large, when: {model: large}, model: {type: unit, amount: 5}}
"""


def group(band: str, model: str) -> dict[str, str]:
    return {"generation_mode": "diffusion", "context_band": band, "model": model}


def test_the_first_rule_that_matches_prices_whole_requests(rate: Rate) -> None:
    used = [
        ("tokens", group("0-32k", "small"), 3000),
        ("tokens", group("272k-1000k", "large"), 4000),
        ("tokens", group("200k-272k", "small"), 1000),
        ("tokens", group("0-32k", "large"), 2000),
    ]
    lines = rate(RULED, used)
    # base 3000 x 1/1000; long (4000 + 1000) x 2/1000; large 2000 x 5/1000
    assert [(line.part, line.label, str(line.amount)) for line in lines] == [
        ("", "Input", "3.00"),
        ("long", "Input above 200k", "10.00"),
        ("large", "Input (large)", "10.00"),
    ]


def test_an_allowance_is_used_up_in_the_order_of_the_lines(rate: Rate) -> None:
    used = [("tokens", group("0-32k", "small"), 3000), ("tokens", group("1000k+", "small"), 4000)]
    # 3500 included: base 3000 free; of the 4000 long ones 500 free, 3500 x 2/1000 = 7
    assert [str(line.amount) for line in rate(RULED + "  included: 3500\n", used)] == ["0.00", "7.00"]


def test_lines_by_dimension_walk_their_own_tiers(rate: Rate) -> None:
    price = """
    p:
      label: Output
      meter: tokens
      lines_by: [model]
      model: {type: graduated, tiers: [{up_to: 10, amount: 2}, {amount: 1}]}
    """
    used = [("tokens", group("0-32k", name), count) for name, count in (("b", 15), ("a", 4), ("b", 5))]
    lines = rate(price, used)
    # a: 4 x 2 = 8; b: 10 x 2 + 10 x 1 = 30
    assert [(line.group, line.label, str(line.amount)) for line in lines] == [
        ((("model", "a"),), "Output: model a", "8.00"),
        ((("model", "b"),), "Output: model b", "30.00"),
    ]


def test_quantities_below_zero_may_be_charged_as_zero(amounts: Amounts) -> None:
    assert amounts(UNIT.replace("per:", "negative: zero, per:"), {"total": -5_000_000}) == ["0.00"]
    # -5 x 0.75 = -3.75
    assert amounts(UNIT, {"total": -5_000_000}) == ["-3.75"]


def test_exclusive_bounds_are_an_option(amounts: Amounts) -> None:
    exclusive = "    bounds: exclusive\n    tiers:"
    # volume: exactly 1000 is in the second tier: 1000 x 1.5/1000
    assert amounts(VOLUME.replace("    tiers:", exclusive), {"total": 1000}) == ["1.50"]
    assert amounts(VOLUME.replace("    tiers:", exclusive), {"total": 999}) == ["7.00"]  # 1.998 + 5
    # graduated: nothing changes but that the third tier's flat fee is due at 5000: 7 + 6 + 10
    assert amounts(GRADUATED.replace("    tiers:", exclusive), {"total": 5000}) == ["23.00"]
    assert amounts(GRADUATED.replace("    tiers:", exclusive), {"total": 4999}) == ["13.00"]


def test_rounding_by_tier_is_an_option(rate: Rate) -> None:
    price = """
    p:
      label: Output
      meter: total
      model: {type: graduated, tiers: [{up_to: 1, amount: 0.004, flat: 0.004}, {amount: 0.006, flat: 0.006}]}
    """
    # 0.004 + 0.004 + 0.006 + 0.006 = 0.02
    (line,) = rate(price, {"total": 2})
    assert str(line.amount) == "0.02"
    # each by itself: 0.00 + 0.00 + 0.01 + 0.01 = 0.02; with 3 units 0.00 + 0.00 + 0.01 + 0.01, the line has 0.026
    by_tier = price.replace("type: graduated,", "type: graduated, rounding: tier,")
    assert [str(rate(text, {"total": 3})[0].amount) for text in (price, by_tier)] == ["0.03", "0.02"]
    assert [str(tier.amount) for tier in rate(by_tier, {"total": 3})[0].tiers] == ["0.00", "0.02"]
