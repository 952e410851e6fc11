"""Lines of a period, its adjustments and its corrections. Every figure is computed by hand beside it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from fleetmeter_billing.invoices.invoice import Span
from fleetmeter_billing.invoices.period_lines import PeriodUsage, PlacedLine, corrections, metered, rate_period
from fleetmeter_billing.rates.usage import MeteredUsage
from fleetmeter_doubles.invoice_samples import NOVEMBER, PRICES, adjustment, card, cards, segment, used
from hypothesis import given, settings
from hypothesis import strategies as st

CARDS = cards(card())


def shown(lines: list[PlacedLine]) -> list[tuple[str, str, str, str]]:
    return [(one.rated.kind, one.rated.label, f"{one.rated.quantity:f}", f"{one.rated.amount:f}") for one in lines]


def test_a_period_has_a_line_for_each_price_in_the_cards_order() -> None:
    """12,345,678 tokens: 1 x 12 + 9 x 10 + 2.345678 x 8 = 12 + 90 + 18.765424 = 120.765424.
    98,765 steps: 98.765 x 0.25 = 24.69125, which is nearer to 24.69 than to 24.70."""
    lines = rate_period(used(tokens=12_345_678, steps=98_765), CARDS)
    assert shown(lines) == [
        ("fixed", "Platform fee", "1", "99.00"),
        ("usage", "Output tokens", "12345678", "120.77"),
        ("usage", "Denoising steps", "98765", "24.69"),
    ]
    assert [f"{tier.amount:f}".rstrip("0").rstrip(".") for tier in lines[1].rated.tiers] == ["12", "90", "18.765424"]


@pytest.mark.parametrize(
    ("currency", "amount"),
    [
        ("EUR", "1.23"),  # 1.2345: two digits
        ("JPY", "1"),
        ("KWD", "1.235"),  # 1.2345 lies in the middle, and goes away from zero
    ],
)
def test_amounts_have_the_currencys_digits(currency: str, amount: str) -> None:
    prices = {"tokens": {"label": "Tokens", "meter": "tokens", "model": {"type": "unit", "amount": "0.0001"}}}
    usage = used(tokens=12_345, of=segment(currency=currency))
    (line,) = rate_period(usage, cards(card(prices, currency)))
    assert str(line.rated.amount) == amount


def test_an_adjustment_is_a_line_of_its_own_at_the_margin() -> None:
    """Of 12,345,678 tokens 20,000 are taken back: 12 + 90 + 2.325678 x 8 = 120.605424, hence 120.61 - 120.77 = -0.16.
    Then 2,400,000 more: 9,925,678 are left, 12 + 8.925678 x 10 = 101.25678, hence 101.26 - 120.61 = -19.35."""
    taken = [
        adjustment("output_tokens", -20_000),
        adjustment("tokens", -2_400_000, number=2, reason="Goodwill"),
    ]
    lines = rate_period(used(tokens=12_345_678, adjustments=taken), CARDS)
    assert shown(lines)[1:] == [
        ("usage", "Output tokens", "12345678", "120.77"),
        ("adjustment", "Outage on 3 November", "-20000", "-0.16"),
        ("adjustment", "Goodwill", "-2400000", "-19.35"),
    ]
    assert lines[2].rated.explanation == (
        "decided on 2026-11-04 (T-17): -20,000 output_tokens",
        "Output tokens: was 12345678 tokens: 120.77 EUR, is 12325678 tokens: 120.61 EUR",
    )


def test_an_adjustment_that_no_single_meter_fits_is_shown_and_costs_nothing() -> None:
    meters: dict[str, Any] = {
        "diffusion": {"measure": "output_tokens", "where": {"generation_mode": "diffusion"}},
        "sequential": {"measure": "output_tokens", "where": {"generation_mode": "autoregressive"}},
    }
    rates = card({"d": {"label": "D", "meter": "diffusion", "model": {"type": "unit", "amount": "1"}}}, meters=meters)
    vague = adjustment("output_tokens", -5)
    (line,) = rate_period(used(adjustments=[vague]), cards(rates))
    assert (line.rated.kind, line.rated.amount) == ("adjustment", 0)
    assert line.rated.explanation[-1].startswith("costs nothing: card standard has no price for it")
    said = replace(vague, generation_mode="diffusion")
    assert metered(said, rates.card) == MeteredUsage("diffusion", (), -5)


def test_an_adjustments_group_is_what_it_and_its_meter_say() -> None:
    meters = {
        "t": {"measure": "output_tokens", "where": {"placement": "cloud"}, "group_by": ["model", "placement", "region"]}
    }
    rates = card({"p": {"label": "P", "meter": "t", "model": {"type": "unit", "amount": "1"}}}, meters=meters)
    found = metered(replace(adjustment("output_tokens", 7), model="m"), rates.card)
    assert found == MeteredUsage("t", (("model", "m"), ("placement", "cloud"), ("region", "")), 7)


@pytest.mark.parametrize(
    ("before", "after", "quantity", "amount"),
    [
        # 12,385,678: 12 + 90 + 2.385678 x 8 = 121.085424, hence 121.09 - 120.77
        (12_345_678, 12_385_678, "40000", "0.32"),
        # across a bound: 0.999 x 12 = 11.988, hence 11.99; then 12 + 0.001 x 10 = 12.01
        (999_000, 1_001_000, "2000", "0.02"),
        # too small for a cent, and yet a line: 0.000012 rounds to 0.00
        (0, 1, "1", "0.00"),
        # and back again, where usage was taken back
        (1_001_000, 999_000, "-2000", "-0.02"),
    ],
)
def test_a_correction_is_what_the_period_comes_to_now_less_what_was_billed(
    before: int, after: int, quantity: str, amount: str
) -> None:
    lines = corrections(rate_period(used(tokens=before), CARDS), rate_period(used(tokens=after), CARDS))
    assert shown(lines) == [("usage", "Output tokens", quantity, amount)]


def test_nothing_new_makes_no_correction() -> None:
    lines = rate_period(used(tokens=5, steps=7, adjustments=[adjustment("tokens", -1)]), CARDS)
    assert corrections(lines, lines) == []


def test_an_adjustment_that_comes_later_is_a_correction_of_its_own() -> None:
    before = rate_period(used(tokens=12_345_678), CARDS)
    after = rate_period(used(tokens=12_345_678, adjustments=[adjustment("tokens", -20_000)]), CARDS)
    assert shown(corrections(before, after)) == [("adjustment", "Outage on 3 November", "-20000", "-0.16")]


def test_each_part_of_a_period_is_rated_by_its_own_card_version() -> None:
    """10 days at 99 x 10 / 30 = 33, with tokens at 12; 20 days at 150 x 20 / 30 = 100, with tokens at 6."""
    dearer = {**PRICES, "platform": {**PRICES["platform"], "model": {"type": "flat", "amount": "150"}}}
    dearer["tokens"] = {**PRICES["tokens"], "model": {"type": "unit", "amount": "6"}}
    turn = NOVEMBER.start.replace(day=11)
    parts = (
        segment(span=Span(NOVEMBER.start, turn), days=10),
        segment(span=Span(turn, NOVEMBER.end), days=20, index=1, version=2),
    )
    usage = {0: (MeteredUsage("tokens", (), 500_000),), 1: (MeteredUsage("tokens", (), 500_000),)}
    lines = rate_period(PeriodUsage(parts, usage), cards(card(), card(dearer, version=2)))
    assert [(one.segment.index, one.rated.price, f"{one.rated.amount}") for one in lines] == [
        (0, "platform", "33.00"),
        (0, "tokens", "6.00"),
        (1, "platform", "100.00"),
        (1, "tokens", "3.00"),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3_000_000), st.integers(0, 30_000), st.integers(-50_000, 50_000)),
        min_size=1,
        max_size=5,
    )
)
def test_what_was_billed_plus_all_corrections_is_the_bill_computed_once(windows: list[tuple[int, int, int]]) -> None:
    """Whatever the lateness: usage and adjustments come in any number of closes."""
    tokens = steps = 0
    made: list[Any] = []
    bills = []
    for number, (more_tokens, more_steps, change) in enumerate(windows, 1):
        tokens, steps = tokens + more_tokens, steps + more_steps
        if change:
            made.append(adjustment("tokens", change, number=number))
        bills.append(rate_period(used(tokens, steps, adjustments=made), CARDS))
    billed = sum((one.rated.amount for one in bills[0]), Decimal(0))
    for before, after in pairwise(bills):
        billed += sum((one.rated.amount for one in corrections(before, after)), Decimal(0))
    once = sum((one.rated.amount for one in bills[-1]), Decimal(0))
    assert billed == once
