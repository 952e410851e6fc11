"""What rating is given: exact quantities, and the part of a billing period in which one card version and plan hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

Group = tuple[tuple[str, str], ...]
"""((dimension, value), ...) in the order of the meter's group_by; () for a meter without."""


@dataclass(frozen=True, slots=True)
class MeteredUsage:
    """The quantity of one meter in one segment, for one combination of the meter's group_by values.

    `quantity` is exact. It may be negative: a correction by the operator, or outcomes of earlier periods taken back.
    """

    meter: str
    group: Group
    quantity: int


@dataclass(frozen=True, slots=True)
class Discount:
    """A discount that a subscription carries: `percent` of what the named prices charge, or `amount` off in the card's
    currency (never below zero). Exactly one of both; `prices` empty means all prices of the plan."""

    name: str
    label: str
    percent: Decimal | None = None
    amount: Decimal | None = None
    prices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a billing period in which card version, plan, committed quantities and discounts stay the same.

    [start, end) are UTC instants of local midnights, `first_day` is the local date of the first; `days` and
    `period_days` are counts of local days, so that a day with 23 or 25 hours counts as one. `committed` has quantities
    by the name that a price's `committed` gives.
    """

    card: str
    version: int
    plan: str
    start: datetime
    end: datetime
    first_day: date
    days: int
    period_days: int
    committed: Mapping[str, int] = field(default_factory=dict)
    discounts: tuple[Discount, ...] = ()
    status: Literal["trial", "active"] = "active"
