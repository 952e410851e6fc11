"""The price models: how a quantity becomes money. Each is data, told apart by `type`; `charging` computes them.

Bounds of tiers are inclusive above: `up_to: 1000` holds the thousandth unit, and what lies between 1000 and 1001 of a
fractional quantity belongs to the next tier. Amounts are per unit, or per `per` units where the price says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from fleetmeter_billing.rates.broken_rules import Amount, Filter, Name, Number, Percent, Positive, broken
from fleetmeter_billing.rates.iteration_cap import IterationCap
from fleetmeter_billing.rates.meter import CardPart


class Tier(CardPart):
    """One tier of amounts, for quantities above the tier before it, up to and including `up_to`; the last has none."""

    up_to: Positive | None = None
    amount: Amount = Decimal(0)
    flat: Annotated[Amount, Field(description="Charged once as soon as the quantity reaches into the tier.")] = Decimal(
        0
    )


class PercentTier(CardPart):
    """One tier of percentages, of values above the tier before it, up to and including `up_to` in the currency."""

    up_to: Positive | None = None
    percent: Annotated[Number, Field(ge=0, le=1000)]
    flat: Amount = Decimal(0)


class Level(CardPart):
    """One capacity level: `amount` for any quantity up to and including `up_to`."""

    up_to: Positive | None = None
    amount: Amount
    label: str = ""


def check_bounds(tiers: Sequence[Tier | PercentTier | Level], field: str) -> None:
    """Bounds rise, and only the last tier is open. Raises the error of the first that breaks this."""
    if not tiers:
        raise broken("no_tiers", "give at least one tier", field)
    below = Decimal(0)
    for index, tier in enumerate(tiers):
        last = index == len(tiers) - 1
        if last and tier.up_to is not None:
            raise broken(
                "last_tier_open", "the last tier has no up_to, so that every quantity has a price", field, index
            )
        if tier.up_to is None:
            if not last:
                raise broken("last_tier_open", "only the last tier may go without up_to", field, index)
        elif tier.up_to <= below:
            raise broken("tiers_rise", f"up_to {tier.up_to} is not above {below}", field, index, "up_to")
        else:
            below = tier.up_to


class Unit(CardPart):
    """The same amount for each unit."""

    type: Literal["unit"]
    amount: Amount


class Tiered(CardPart):
    """Base of the models with tiers. The three options are for customers who come from other systems, see
    docs/rating.md."""

    tiers: tuple[Tier, ...]
    bounds: Annotated[
        Literal["inclusive", "exclusive"],
        Field(description="Whether a quantity of exactly `up_to` belongs to the tier, or to the next (Meteroid)."),
    ] = "inclusive"
    rounding: Annotated[
        Literal["line", "tier"],
        Field(description="Round the line once, or each tier and flat fee by itself (OpenMeter)."),
    ] = "line"
    flat_at_zero: Annotated[
        bool, Field(description="Charge the first tier's flat fee even if nothing was used (OpenMeter, Lago).")
    ] = False

    @model_validator(mode="after")
    def _check_tiers(self) -> Self:
        check_bounds(self.tiers, "tiers")
        return self


class Graduated(Tiered):
    """Each tier prices the part of the quantity that lies in it."""

    type: Literal["graduated"]


class Volume(Tiered):
    """The tier that the whole quantity falls in prices all of it. Crossing a bound may make the whole cheaper."""

    type: Literal["volume"]


class Package(CardPart):
    """An amount for each package of `size` units; a package that is begun counts whole, unless `rounding` says else."""

    type: Literal["package"]
    amount: Amount
    size: Positive
    rounding: Literal["up", "down", "nearest"] = "up"


class Flat(CardPart):
    """A fixed amount for the period. With a meter and `when_used`, only if there was usage."""

    type: Literal["flat"]
    amount: Amount
    when_used: bool = False


class Percentage(CardPart):
    """A percentage of a value: outcomes' value_minor in the card's currency, or upstream_cost_nanousd."""

    type: Literal["percentage"]
    percent: Annotated[Number, Field(ge=0, le=1000)]


class GraduatedPercentage(CardPart):
    """Each tier takes its percentage of the part of the value that lies in it."""

    type: Literal["graduated_percentage"]
    tiers: tuple[PercentTier, ...]

    @model_validator(mode="after")
    def _check_tiers(self) -> Self:
        check_bounds(self.tiers, "tiers")
        return self


Basis = Literal["counted", "committed", "larger"]


class Seat(CardPart):
    """An amount for each seat and period: those counted, those committed to, or the larger number of both.

    With basis `committed`, seats counted beyond the commitment cost `overage_amount` each; null refuses nothing and
    charges nothing for them (entitlements list them).
    """

    type: Literal["seat"]
    amount: Amount | None = None
    tiers: tuple[Tier, ...] = ()
    mode: Annotated[Literal["graduated", "volume"], Field(description="How `tiers` are applied.")] = "graduated"
    basis: Basis = "counted"
    committed: Annotated[Name, Field(description="Name of the committed quantity in subscriptions.")] = "seats"
    overage_amount: Amount | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.amount is None) == (not self.tiers):
            raise broken("one_amount", "a seat has either one `amount` or `tiers`")
        if self.tiers:
            check_bounds(self.tiers, "tiers")
        if self.overage_amount is not None and self.basis != "committed":
            raise broken("one_amount", "overage_amount is for basis: committed", "overage_amount")
        return self


class Capacity(CardPart):
    """A licence for a capacity, such as up to 100 devices: the amount of the level that covers the basis.

    With basis `committed`, what is counted beyond the commitment costs `overage_amount` a unit.
    """

    type: Literal["capacity"]
    levels: tuple[Level, ...]
    basis: Basis = "larger"
    committed: Annotated[Name, Field(description="Name of the committed quantity in subscriptions.")] = "devices"
    overage_amount: Amount | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_bounds(self.levels, "levels")
        if self.overage_amount is not None and self.basis != "committed":
            raise broken("one_amount", "overage_amount is for basis: committed", "overage_amount")
        return self


class Outcome(CardPart):
    """An amount for each outcome, by its name; reversed ones are taken off. One line a name."""

    type: Literal["outcome"]
    amounts: Annotated[Mapping[str, Amount], Field(description="Amount by the outcome's name.")]
    other: Annotated[Amount | None, Field(description="Amount of outcomes with other names; else not charged.")] = None


class Iterations(CardPart):
    """The second part of a hybrid price."""

    meter: Name
    amount: Amount
    per: Annotated[int, Field(gt=0)] = 1
    unit: str = "iteration"
    label: str = ""
    cap: IterationCap | None = None


class Hybrid(CardPart):
    """cost = tokens x amount + iterations x rate, on two lines. The price's own meter counts the tokens."""

    type: Literal["hybrid"]
    amount: Amount
    iterations: Iterations


class MatrixUnits(CardPart):
    """Matrix operations as the unit of all generation modes: 10^9 operations are metered, `gflop_per_unit` make one
    unit, and fractions of units count."""

    type: Literal["matrix_units"]
    gflop_per_unit: Annotated[Positive, Field(description="In 10^9 operations: 1_000_000 makes a unit of 10^15.")]
    amount: Amount


class ExchangeRate(CardPart):
    """From a local date on, `per` units of usage that `when` matches cost so many credits.

    Rates with the same `when` follow one another by date; of several that match, the one that stands first wins.
    """

    since: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="First day, such as 2026-11-01.")]
    credits: Amount
    per: Annotated[int, Field(gt=0)] = 1
    when: Annotated[
        Filter, Field(default_factory=dict, description="Values of dimensions; leave it out for all the rest.")
    ]

    @field_validator("since")
    @classmethod
    def _is_a_day(cls, since: str) -> str:
        try:
            date.fromisoformat(since)
        except ValueError as error:
            raise broken("no_such_day", f"there is no {since}: {error}") from error
        return since


class Credits(CardPart):
    """Usage is exchanged for credits, at dated rates per model or mode; credits cost what the card's `credits` says."""

    type: Literal["credits"]
    rates: Annotated[tuple[ExchangeRate, ...], Field(min_length=1)]


class BundlePart(CardPart):
    """One kind of usage in a bundle: how many units of the bundle one unit of the meter is."""

    meter: Name
    weight: Positive = Decimal(1)


class Bundle(Tiered):
    """One price over mixed infrastructure: several meters, weighed, make one quantity that has one price."""

    type: Literal["bundle"]
    parts: Annotated[tuple[BundlePart, ...], Field(min_length=1)]
    mode: Literal["graduated", "volume"] = "graduated"


PriceModel = Annotated[
    Unit
    | Graduated
    | Volume
    | Package
    | Flat
    | Percentage
    | GraduatedPercentage
    | Seat
    | Capacity
    | Outcome
    | Hybrid
    | MatrixUnits
    | Credits
    | Bundle,
    Field(discriminator="type"),
]

__all__ = [
    "Basis",
    "Bundle",
    "BundlePart",
    "Capacity",
    "Credits",
    "ExchangeRate",
    "Flat",
    "Graduated",
    "GraduatedPercentage",
    "Hybrid",
    "IterationCap",
    "Iterations",
    "Level",
    "MatrixUnits",
    "Outcome",
    "Package",
    "Percent",
    "PercentTier",
    "Percentage",
    "PriceModel",
    "Seat",
    "Tier",
    "Tiered",
    "Unit",
    "Volume",
    "check_bounds",
]
