"""What holds for every card and quantity: continuity, monotony, independence of how usage is cut, telescoping."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.money import CONTEXT
from fleetmeter_billing.rates.price_models import Tier
from fleetmeter_billing.rates.rating import difference, rate_segment
from fleetmeter_billing.rates.tiers import Charges, graduated, package, steps_of, volume
from fleetmeter_billing.rates.usage import MeteredUsage, Segment
from fleetmeter_doubles.spelled_cards import publish, segment_of
from hypothesis import given, settings
from hypothesis import strategies as st

amounts = st.decimals(0, 1000, places=4)
quantities = st.integers(0, 10**15)


@st.composite
def tiers(draw: st.DrawFn, *, flat: bool = False, rising: bool = False) -> tuple[Tier, ...]:
    bounds = sorted(draw(st.sets(st.integers(1, 10**12), max_size=4)))
    prices = [draw(amounts) for _ in range(len(bounds) + 1)]
    flats = [draw(amounts) if flat else Decimal(0) for _ in prices]
    if rising:
        prices.sort()
    return tuple(
        Tier(up_to=bound, amount=amount, flat=fee)
        for bound, amount, fee in zip([*map(Decimal, bounds), None], prices, flats, strict=True)
    )


def exact(walk: Any, given_tiers: Sequence[Tier], quantity: int, per: int = 1) -> Decimal:
    with localcontext(CONTEXT):
        charges: Charges = walk(steps_of(given_tiers, per), Decimal(quantity))
    assert charges[1] == sum((tier.amount for tier in charges[0]), Decimal(0))
    return charges[1]


def reference(given_tiers: Sequence[Tier], quantity: int, per: int) -> Fraction:
    """The integral of the tiers' step function, in fractions."""
    total, below = Fraction(0), Fraction(0)
    for tier in given_tiers:
        top = Fraction(quantity) if tier.up_to is None else min(Fraction(tier.up_to), Fraction(quantity))
        if top > below:
            total += (top - below) * Fraction(tier.amount) / per + Fraction(tier.flat)
        below = Fraction(tier.up_to) if tier.up_to is not None else below
    return total


@given(tiers(flat=True), st.integers(1, 10**15), st.sampled_from([1, 1000, 1_000_000]))
def test_graduated_is_exactly_the_integral(given_tiers: tuple[Tier, ...], quantity: int, per: int) -> None:
    assert Fraction(exact(graduated, given_tiers, quantity, per)) == reference(given_tiers, quantity, per)


@given(tiers(), quantities)
def test_graduated_without_flat_fees_is_continuous_and_rises(given_tiers: tuple[Tier, ...], quantity: int) -> None:
    step = exact(graduated, given_tiers, quantity + 1) - exact(graduated, given_tiers, quantity)
    assert min(t.amount for t in given_tiers) <= step <= max(t.amount for t in given_tiers)


@given(tiers(flat=True), quantities, quantities)
def test_graduated_rises_with_flat_fees_too(given_tiers: tuple[Tier, ...], one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert exact(graduated, given_tiers, less) <= exact(graduated, given_tiers, more)


@given(tiers(), quantities, quantities)
def test_volume_rises_within_a_tier(given_tiers: tuple[Tier, ...], one: int, other: int) -> None:
    less, more = sorted((one, other))
    bounds = [tier.up_to for tier in given_tiers if tier.up_to is not None]
    if not any(less <= bound < more for bound in bounds):
        assert exact(volume, given_tiers, less) <= exact(volume, given_tiers, more)


@given(tiers(rising=True), quantities, quantities)
def test_volume_rises_over_bounds_if_its_amounts_do(given_tiers: tuple[Tier, ...], one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert exact(volume, given_tiers, less) <= exact(volume, given_tiers, more)


@given(amounts, st.integers(1, 10**9), quantities, quantities)
def test_packages_rise(amount: Decimal, size: int, one: int, other: int) -> None:
    less, more = sorted((one, other))
    with localcontext(CONTEXT):
        charged = [package(amount, Decimal(size), Decimal(quantity))[1] for quantity in (less, more)]
    assert charged[0] <= charged[1]
    # never less than the quantity in packages, never a whole package more
    assert Fraction(amount) * less / size <= Fraction(charged[0]) <= Fraction(amount) * (Fraction(less, size) + 1)


PRICES = """
graduated:
  label: Output
  meter: tokens
  per: 1000
  included: 500
  minimum: 3
  maximum: 5000
  multipliers: [{by: generation_mode, values: {diffusion: 0.4}}]
  model: {type: graduated, tiers: [{up_to: 1000, amount: 2, flat: 1}, {up_to: 100000, amount: 1.5}, {amount: 0.333}]}
  rules:
    - {name: long, when: {context_band: 1000k+}, model: {type: volume, tiers: [{up_to: 5000, amount: 4}, {amount: 3}]}}
packages: {label: Packages, meter: tokens, lines_by: [model], model: {type: package, amount: 0.7, size: 3000}}
hybrid:
  label: Hybrid
  meter: tokens
  per: 1_000_000
  model:
    type: hybrid
    amount: 0.4
    iterations:
      meter: steps
      amount: 0.0123
      cap: {by: steps_band, requests: asked, per_request: {20-30: 20}}
work: {label: Work, meter: work, model: {type: matrix_units, gflop_per_unit: 3000, amount: 0.07}}
outcomes: {label: Outcomes, meter: outcomes, included: 3, model: {type: outcome, amounts: {a: 0.99, b: 5}}}
"""
CARD = publish(PRICES)
MODES = st.sampled_from(["diffusion", "autoregressive"])
BANDS = st.sampled_from(["0-32k", "1000k+"])


def _group(**dimensions: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[tuple[str, str], ...]]:
    return st.fixed_dictionaries(dimensions).map(lambda found: tuple(found.items()))


TOKENS = _group(generation_mode=MODES, context_band=BANDS, model=st.sampled_from(["x", "y"]))
STEPS = _group(steps_band=st.sampled_from(["10-20", "20-30"]), query_class=st.just(""))
USAGE = st.lists(
    st.one_of(
        st.builds(MeteredUsage, st.just("tokens"), TOKENS, st.integers(0, 10**7)),
        st.builds(MeteredUsage, st.sampled_from(["steps", "asked"]), STEPS, st.integers(0, 10**5)),
        st.builds(MeteredUsage, st.just("work"), _group(generation_mode=MODES), st.integers(0, 10**7)),
        st.builds(MeteredUsage, st.just("outcomes"), _group(name=st.sampled_from(["a", "b"])), st.integers(-5, 50)),
    ),
    max_size=12,
)


@settings(max_examples=40)
@given(USAGE, st.data())
def test_how_usage_is_cut_into_windows_never_changes_the_bill(usage: list[MeteredUsage], data: st.DataObject) -> None:
    pieces = []
    for one in usage:
        cuts = sorted(data.draw(st.lists(st.integers(0, abs(one.quantity)), max_size=3)))
        sign = 1 if one.quantity >= 0 else -1
        parts = [b - a for a, b in zip([0, *cuts], [*cuts, abs(one.quantity)], strict=True)]
        pieces += [MeteredUsage(one.meter, one.group, sign * part) for part in parts]
    shuffled = data.draw(st.permutations(pieces))
    segment = segment_of(CARD)
    whole, cut = rate_segment(CARD, segment, usage), rate_segment(CARD, segment, shuffled)
    assert [(line.key, line.quantity, line.exact, line.amount, line.tiers) for line in whole] == [
        (line.key, line.quantity, line.exact, line.amount, line.tiers) for line in cut
    ]


@settings(max_examples=40)
@given(st.lists(USAGE, min_size=1, max_size=4))
def test_a_bill_and_its_corrections_are_the_bill_of_everything(rounds: list[list[MeteredUsage]]) -> None:
    segment, usage = segment_of(CARD), rounds[0]
    lines = rate_segment(CARD, segment, usage)
    billed: dict[Any, Decimal] = {line.key: line.amount for line in lines}
    for late in rounds[1:]:
        usage = usage + late
        newer = rate_segment(CARD, segment, usage)
        for change in difference(lines, newer):
            billed[change.key] = billed.get(change.key, Decimal(0)) + change.amount
        lines = newer
    assert {key: amount for key, amount in billed.items() if amount} == {
        line.key: line.amount for line in lines if line.amount
    }


@settings(max_examples=40)
@given(USAGE)
def test_lines_are_rounded_and_keep_minimum_and_maximum(usage: list[MeteredUsage]) -> None:
    lines = rate_segment(CARD, segment_of(CARD), usage)
    assert len({line.key for line in lines}) == len(lines)
    for line in lines:
        assert line.amount.as_tuple().exponent == -2
        assert abs(line.amount - line.exact) <= Decimal("0.005")
        with localcontext(CONTEXT):
            assert not line.tiers or sum((tier.amount for tier in line.tiers), Decimal(0)) == line.exact
    assert Decimal(3) <= sum(line.amount for line in lines if line.price == "graduated") <= Decimal(5000)


@given(st.integers(1, 30))
def test_shares_of_a_period_add_up(days: int) -> None:
    card = publish("p: {label: P, model: {type: flat, amount: 77.77}}")
    parts = [rate_segment(card, _days(card, part), []) for part in (days, 30 - days) if part]
    with localcontext(CONTEXT):
        total = sum((lines[0].exact for lines in parts), Decimal(0))
        assert abs(total - Decimal("77.77")) < Decimal("1e-50")


def _days(card: PublishedCard, days: int) -> Segment:
    return segment_of(card, days=days)


def test_the_card_survives_its_own_json() -> None:
    text = CARD.card.to_json()
    assert type(CARD.card).model_validate_json(text) == CARD.card
    assert type(CARD.card).model_validate(json.loads(text)).content_hash == CARD.card.content_hash


def test_a_card_that_was_copied_is_rated_as_it_is() -> None:
    card = publish("p: {label: P, model: {type: flat, amount: 5}}")
    segment = segment_of(card)
    assert str(rate_segment(card, segment, [])[0].amount) == "5.00"
    dearer = publish("p: {label: P, model: {type: flat, amount: 7}}").card
    copy = card.model_copy(update={"card": card.card.model_copy(update={"prices": dearer.prices})})
    assert str(rate_segment(copy, segment, [])[0].amount) == "7.00"
    assert copy.card.content_hash == dearer.content_hash
