"""Walking tiers: plain functions from a quantity to charges.

With below-zero quantities (a correction, outcomes taken back) the first tier is extended downwards: each unit is
credited at its amount, without flat fees.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Literal

from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.money import CONTEXT, round_amount
from fleetmeter_billing.rates.price_models import PercentTier, Tier, Tiered

ZERO = Decimal(0)
ONE = Decimal(1)
Charges = tuple[tuple[TierCharge, ...], Decimal]
"""The tiers that contributed, and their exact sum."""

_ROUNDING = {"up": ROUND_CEILING, "down": ROUND_FLOOR, "nearest": ROUND_HALF_UP}


@dataclass(frozen=True, slots=True)
class Step:
    """A tier made ready: `each` is the exact amount of one unit, `shown` the amount that the card gives."""

    up_to: Decimal | None
    shown: Decimal
    each: Decimal
    flat: Decimal


def steps_of(tiers: Iterable[Tier], per: int) -> tuple[Step, ...]:
    """Tiers whose amounts are for `per` units, a power of ten."""
    return tuple(Step(t.up_to, t.amount, CONTEXT.divide(t.amount, Decimal(per)), t.flat) for t in tiers)


def percent_steps(tiers: Iterable[PercentTier]) -> tuple[Step, ...]:
    """Tiers of percentages of a value."""
    hundred = Decimal(100)
    return tuple(
        Step(t.up_to, CONTEXT.divide(t.percent, hundred), CONTEXT.divide(t.percent, hundred), t.flat) for t in tiers
    )


def shortened(steps: Sequence[Step], days: int, period_days: int) -> tuple[Step, ...]:
    """The steps with bounds for so many days of a period."""
    # Multiplied first: a third of 300 is 100, and whoever used 100 has not gone beyond it.
    bounds = (
        None if step.up_to is None else CONTEXT.divide(CONTEXT.multiply(step.up_to, days), period_days)
        for step in steps
    )
    return tuple(Step(bound, step.shown, step.each, step.flat) for bound, step in zip(bounds, steps, strict=True))


def graduated(
    steps: Sequence[Step], quantity: Decimal, *, flat_at_zero: bool = False, exclusive: bool = False
) -> Charges:
    """Each step prices the part of the quantity that lies in it: above the step before, up to and including its own
    bound. A step's flat fee is due once the quantity reaches into it; with `exclusive` bounds it has reached the next
    step when it equals the bound. Call it in CONTEXT."""
    first = steps[0]
    if quantity <= 0:
        return _at_or_below_zero(first, quantity, flat_at_zero=flat_at_zero)
    charges = []
    exact = below = ZERO
    for step in steps:
        inside = quantity if step.up_to is None or step.up_to >= quantity else step.up_to
        part = inside - below
        if part or step.flat:
            amount = part * step.each + step.flat
            charges.append(TierCharge(step.up_to, part, step.shown, step.flat, amount))
            exact += amount
        below = inside
        if inside == quantity and not (exclusive and step.up_to == quantity):
            break
    return tuple(charges), exact


def volume(steps: Sequence[Step], quantity: Decimal, *, flat_at_zero: bool = False, exclusive: bool = False) -> Charges:
    """The step that the whole quantity falls in prices all of it: the first whose bound is not below it, or, with
    `exclusive` bounds, the first whose bound is above it. Call it in CONTEXT."""
    if quantity <= 0:
        return _at_or_below_zero(steps[0], quantity, flat_at_zero=flat_at_zero)
    step = next(
        step
        for step in steps
        if step.up_to is None or quantity < step.up_to or (quantity == step.up_to and not exclusive)
    )
    amount = quantity * step.each + step.flat
    return (TierCharge(step.up_to, quantity, step.shown, step.flat, amount),), amount


def _at_or_below_zero(first: Step, quantity: Decimal, *, flat_at_zero: bool) -> Charges:
    flat = first.flat if flat_at_zero else ZERO
    if not quantity and not flat:
        return (), ZERO
    amount = quantity * first.each + flat
    return (TierCharge(first.up_to, quantity, first.shown, flat, amount),), amount


def tiered(model: Tiered, steps: Sequence[Step], quantity: Decimal, currency: str, *, whole: bool) -> Charges:
    """Walks steps as the model's options say: graduated, or as one `whole` at one step's amount."""
    walk = volume if whole else graduated
    charges = walk(steps, quantity, flat_at_zero=model.flat_at_zero, exclusive=model.bounds == "exclusive")
    return charges if model.rounding == "line" else _round_each(charges[0], currency)


def _round_each(tiers: Sequence[TierCharge], currency: str) -> Charges:
    """Each tier's usage and each flat fee rounded by itself, and their sum."""
    rounded = [
        replace(one, amount=round_amount(one.amount - one.flat, currency) + round_amount(one.flat, currency))
        for one in tiers
    ]
    return tuple(rounded), sum((one.amount for one in rounded), ZERO)


def package(
    amount: Decimal, size: Decimal, quantity: Decimal, rounding: Literal["up", "down", "nearest"] = "up"
) -> Charges:
    """An amount for each package. Rounded up, one that is begun counts whole; a quantity below zero then takes back
    whole packages only. The charge's quantity is the number of packages. Call it in CONTEXT."""
    packages = (quantity / size).to_integral_value(rounding=_ROUNDING[rounding])
    if not packages:
        return (), ZERO
    exact = packages * amount
    return (TierCharge(None, packages, amount, ZERO, exact),), exact
