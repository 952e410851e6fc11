"""What rating gives back: lines with exact and rounded amounts, and how each came about."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from fleetmeter_billing.rates.usage import Group

LineKind = Literal["usage", "fixed", "credit", "minimum", "discount", "adjustment"]
LineKey = tuple[str, str, Group]


@dataclass(frozen=True, slots=True)
class TierCharge:
    """What one tier contributed: `quantity` units at `unit_amount` for `per` of them (the line's), plus `flat`.

    `up_to` is the tier's upper bound, which belongs to it; None for the last.
    """

    up_to: Decimal | None
    quantity: Decimal
    unit_amount: Decimal
    flat: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line: what was used, what it costs, and why.

    `exact` is unrounded, `amount` rounded once to the currency's exponent; totals are sums of `amount`. `quantity` is
    what the customer used, in `unit`, before allowance and multipliers; amounts
    in `tiers` are for `per` units. `part` tells apart the lines of one price, such
    as `iterations` of a hybrid price or the name of a rule; "" is the main one. `explanation` is sentences in order.
    """

    price: str
    part: str
    label: str
    meter: str | None
    group: Group
    quantity: Decimal
    unit: str
    per: int
    tiers: tuple[TierCharge, ...]
    exact: Decimal
    amount: Decimal
    currency: str
    card: str
    version: int
    kind: LineKind
    explanation: tuple[str, ...]

    @property
    def key(self) -> LineKey:
        """What the line is called within its segment: a correction compares lines of the same key."""
        return self.price, self.part, self.group
