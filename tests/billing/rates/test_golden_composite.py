"""Bills computed by hand: hybrid, matrix units, credits, bundles, outcomes, percentages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from fleetmeter_billing.rates.rating import RatedLine

Rate = Callable[..., list[RatedLine]]
Amounts = Callable[..., list[str]]

HYBRID = """
p:
  label: Answers
  meter: total
  unit: token
  per: 1_000_000
  model:
    type: hybrid
    amount: 0.40
    iterations: {meter: steps, amount: 0.20, per: 1000, unit: iteration, label: Denoising}
"""


def steps(band: str, steps_used: int, requests: int, query_class: str = "") -> list[tuple[str, dict[str, str], int]]:
    group = {"steps_band": band, "query_class": query_class}
    return [("steps", group, steps_used), ("asked", group, requests)]


def test_hybrid_has_two_lines(rate: Rate) -> None:
    # 2,500,000 x 0.40 / 1,000,000 = 1.00; 12,345 x 0.20 / 1000 = 2.469
    lines = rate(HYBRID, [("total", {}, 2_500_000), *steps("5-10", 12_345, 1500)])
    assert [(line.part, line.label, str(line.amount)) for line in lines] == [
        ("", "Answers", "1.00"),
        ("iterations", "Denoising", "2.47"),
    ]
    assert lines[1].explanation == ("12,345 iteration at 0.2 EUR per 1,000 iteration = 2.469 EUR",)
    assert (lines[1].meter, lines[1].per, lines[1].quantity) == ("steps", 1000, Decimal(12_345))


def test_servers_that_report_no_steps_pay_for_tokens_alone(amounts: Amounts) -> None:
    assert amounts(HYBRID, [("total", {}, 2_500_000)]) == ["1.00"]


def test_iterations_are_capped_by_band(rate: Rate) -> None:
    capped = HYBRID + "      cap: {by: steps_band, requests: asked, per_request: {20-30: 20, 30-50: 20}}\n"
    capped = capped.replace("iterations: {meter: steps", "iterations:\n      meter: steps").replace(
        ", amount: 0.20, per: 1000, unit: iteration, label: Denoising}",
        "\n      amount: 0.20\n      per: 1000\n      unit: iteration",
    )
    used = [
        ("total", {}, 1_000_000),
        *steps("10-20", 15_000, 1000),  # below the cap: 15,000
        *steps("20-30", 50_000, 2000),  # 2000 x 20 = 40,000
        *steps("30-50", 8_000, 200),  # 200 x 20 = 4,000
    ]
    # 15,000 + 40,000 + 4,000 = 59,000 x 0.20 / 1000 = 11.80; used were 73,000
    lines = rate(capped, used)
    assert [str(line.amount) for line in lines] == ["0.40", "11.80"]
    assert lines[1].quantity == Decimal(73_000)
    assert lines[1].explanation[0] == (
        "steps_band 20-30: 50,000 iteration in 2,000 requests, capped at 20 a request = 40,000"
    )


def test_iterations_are_capped_on_average_by_query_class(amounts: Amounts) -> None:
    capped = HYBRID.replace("label: Denoising}", "cap: {by: query_class, requests: asked, per_request: {simple: 10}}}")
    used = [
        ("total", {}, 1_000_000),
        *steps("5-10", 4_000, 500, "simple"),
        *steps("10-20", 7_500, 500, "simple"),
        *steps("20-30", 5_000, 200, "complex"),
    ]
    # simple: 11,500 in 1000 requests, at most 10,000; complex 5,000; 15,000 x 0.20 / 1000 = 3.00
    assert amounts(capped, used) == ["0.40", "3.00"]


def test_matrix_units_are_one_price_for_all_modes(rate: Rate) -> None:
    price = """
    p:
      label: Compute
      meter: work
      unit: petaflop
      included: 2
      lines_by: []
      model: {type: matrix_units, gflop_per_unit: 1_000_000, amount: 0.03}
    """
    used = [
        ("work", {"generation_mode": "autoregressive"}, 9_500_000),
        ("work", {"generation_mode": "diffusion"}, 2_750_000),
    ]
    # 12,250,000 / 1,000,000 = 12.25 units, 2 included: 10.25 x 0.03 = 0.3075
    (line,) = rate(price, used)
    assert (line.quantity, line.amount) == (Decimal("12.25"), Decimal("0.31"))
    by_mode = rate(price.replace("lines_by: []", "lines_by: [generation_mode]").replace("included: 2", ""), used)
    # 9.5 x 0.03 = 0.285; 2.75 x 0.03 = 0.0825
    assert [(str(line.quantity), str(line.amount)) for line in by_mode] == [("9.5", "0.29"), ("2.75", "0.08")]


CREDITS = """
p:
  label: Credits
  meter: tokens
  unit: token
  model:
    type: credits
    rates:
      - {since: 2026-11-01, when: {generation_mode: diffusion}, per: 1000, credits: 2}
      - {since: 2026-11-01, per: 1000, credits: 5}
      - {since: 2026-11-16, when: {generation_mode: diffusion}, per: 1000, credits: 3}
"""


@pytest.mark.parametrize(("day", "amount"), [(1, "1.40"), (15, "1.40"), (16, "1.60"), (30, "1.60")])
def test_credits_at_the_rate_of_the_day(rate: Rate, day: int, amount: str) -> None:
    used = [
        ("tokens", {"generation_mode": "diffusion", "context_band": "", "model": ""}, 20_000),
        ("tokens", {"generation_mode": "hybrid", "context_band": "", "model": ""}, 20_000),
    ]
    # 20 x 2 + 20 x 5 = 140 credits x 0.01 = 1.40; from the 16th on 20 x 3 + 20 x 5 = 160
    (line,) = rate(CREDITS, used, more="credits: {amount: 0.01}", first_day=date(2026, 11, day))
    assert str(line.amount) == amount
    assert line.unit == "credit"
    assert line.quantity == Decimal(amount) * 100


def test_a_newer_rate_follows_one_that_names_its_values_in_another_order(amounts: Amounts) -> None:
    first, newer = "{generation_mode: [diffusion, hybrid]}", "{generation_mode: [hybrid, diffusion]}"
    price = CREDITS.replace("when: {generation_mode: diffusion}", f"when: {first}", 1)
    price = price.replace("when: {generation_mode: diffusion}", f"when: {newer}")
    used = [("tokens", {"generation_mode": "hybrid", "context_band": "", "model": ""}, 20_000)]
    # 20 x 3 = 60 credits x 0.01
    assert amounts(price, used, more="credits: {amount: 0.01}", first_day=date(2026, 11, 16)) == ["0.60"]


def test_credits_are_called_what_the_card_calls_them(rate: Rate) -> None:
    used = [("tokens", {"generation_mode": "hybrid", "context_band": "", "model": ""}, 20_000)]
    (line,) = rate(CREDITS, used, more="credits: {unit: spark, amount: 0.01}")
    assert (line.unit, str(line.amount)) == ("spark", "1.00")
    assert line.explanation == (
        "20,000 token at 5 sparks per 1,000 (rate since 2026-11-01) = 100 sparks",
        "100 spark at 0.01 EUR per spark = 1 EUR",
    )


def test_credits_included(amounts: Amounts) -> None:
    used = [("tokens", {"generation_mode": "hybrid", "context_band": "", "model": ""}, 20_000)]
    # 100 credits, 30 included: 70 x 0.01
    assert amounts(CREDITS + "  included: 30\n", used, more="credits: {amount: 0.01}") == ["0.70"]


def test_a_bundle_has_one_price_over_mixed_infrastructure(rate: Rate) -> None:
    price = """
    p:
      label: Queries, wherever they ran
      unit: query
      included: 100
      model:
        type: bundle
        parts: [{meter: asked}, {meter: devices, weight: 50}]
        tiers: [{up_to: 1000, amount: 0.01}, {amount: 0.005}]
    """
    used = [("asked", {"steps_band": "", "query_class": ""}, 900), ("devices", {}, 10)]
    # 900 + 10 x 50 = 1400; less 100 = 1300: 1000 x 0.01 + 300 x 0.005 = 11.50
    (line,) = rate(price, used)
    assert (line.amount, line.quantity, line.meter) == (Decimal("11.50"), Decimal(1400), None)


def test_outcomes_by_name(rate: Rate) -> None:
    price = """
    p:
      label: Outcomes
      meter: outcomes
      unit: outcome
      model: {type: outcome, amounts: {ticket_resolved: 0.99, lead_qualified: 15}}
    """
    used = [("outcomes", {"name": name}, count) for name, count in (("ticket_resolved", 101), ("lead_qualified", 3))]
    used += [("outcomes", {"name": "document_drafted"}, 40), ("outcomes", {"name": "ticket_resolved"}, -1)]
    # 3 x 15 = 45; (101 - 1) x 0.99 = 99; document_drafted has no price
    lines = rate(price, used)
    assert [(line.label, line.group, str(line.amount)) for line in lines] == [
        ("Outcomes: lead_qualified", (("name", "lead_qualified"),), "45.00"),
        ("Outcomes: ticket_resolved", (("name", "ticket_resolved"),), "99.00"),
    ]
    # with a price for the rest: 40 x 0.10
    assert str(rate(price.replace("15}", "15}, other: 0.10"), used)[0].amount) == "4.00"
    # more taken back than done: -2 x 0.99
    (line,) = rate(price, [("outcomes", {"name": "ticket_resolved"}, -2)])
    assert str(line.amount) == "-1.98"


def test_percentage_of_outcomes_value(rate: Rate) -> None:
    price = "p: {label: Share, meter: value, included: 100, model: {type: percentage, percent: 2.5}}"
    # 12,345.67 EUR - 100 = 12,245.67 x 2.5 % = 306.14175
    (line,) = rate(price, {"value": 1_234_567})
    assert (line.amount, line.quantity, line.unit) == (Decimal("306.14"), Decimal("12345.67"), "EUR")


def test_graduated_percentage(rate: Rate) -> None:
    price = """
    p:
      label: Share
      meter: value
      model: {type: graduated_percentage, tiers: [{up_to: 1000, percent: 5, flat: 1}, {percent: 2}]}
    """
    # 1000 x 5 % + 1 = 51; 500 x 2 % = 10; 61
    (line,) = rate(price, {"value": 150_000})
    assert str(line.amount) == "61.00"
    assert line.explanation == (
        "5 % of 1,000 EUR + 1 EUR flat = 51 EUR",
        "2 % of 500 EUR = 10 EUR",
    )


def test_percentage_of_what_was_bought(amounts: Amounts) -> None:
    price = "p: {label: Bought, meter: bought, model: {type: percentage, percent: 115}}"
    # 8,765,432,100 x 10^-9 = 8.7654321 USD x 115 % = 10.080246915
    assert amounts(price, {"bought": 8_765_432_100}, currency="USD") == ["10.08"]
