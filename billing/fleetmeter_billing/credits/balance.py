"""The balance of prepaid credits as a fold over its entries. Pure: who asks twice gets the same answer twice.

Grants are drawn down by the day on which they expire, then by age. A draw below zero (a correction lowered what
had been drawn) goes back to where it was taken from last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, localcontext
from typing import Final, Literal

from fleetmeter_billing.rates.money import CONTEXT

ZERO: Final = Decimal(0)
_SMALLEST: Final = Decimal("1e-12")
"""Credits are kept to 12 digits after the point."""

Parts = tuple[tuple[str, Decimal], ...]
"""(grant, credits), in the order in which they were drawn."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of an account's log. Of a grant, `parts` is its name and its credits; of a draw what it took from which
    grants (below zero: gave back). `covered` is the money of the invoice that a draw settles."""

    number: int
    kind: Literal["grant", "draw"]
    parts: Parts
    day: date
    """A grant's first day; the last day of the period whose invoice a draw settles."""
    expires: date | None = None
    """A grant's first day on which it can't be drawn any more; None for never."""
    invoice: str = ""
    covered: Decimal = ZERO
    currency: str = ""

    @property
    def credits(self) -> Decimal:
        """The sum of the parts."""
        with localcontext(CONTEXT):
            return sum((count for _, count in self.parts), ZERO)


@dataclass(frozen=True, slots=True)
class GrantBalance:
    """What is left of one grant."""

    name: str
    granted: Decimal
    left: Decimal
    day: date
    expires: date | None

    def open_on(self, day: date) -> bool:
        """Whether it can be drawn on that day."""
        return self.left > 0 and self.day <= day and (self.expires is None or day < self.expires)


def balances(entries: Sequence[Entry]) -> list[GrantBalance]:
    """What is left of each grant, in the order in which they are drawn down."""
    left: dict[str, Decimal] = {}
    grants: dict[str, Entry] = {}
    for entry in entries:
        for name, count in entry.parts:
            if entry.kind == "grant":
                grants[name], left[name] = entry, count
            else:
                left[name] = CONTEXT.subtract(left[name], count)
    found = [GrantBalance(name, entry.credits, left[name], entry.day, entry.expires) for name, entry in grants.items()]
    numbers = {name: entry.number for name, entry in grants.items()}
    return sorted(found, key=lambda one: (one.expires or date.max, one.day, numbers[one.name]))


def draw(entries: Sequence[Entry], needed: Decimal, day: date) -> Parts:
    """What a need of credits takes from which grants: all of it, or all that there is. A need below zero gives back,
    at most what was drawn."""
    needed = needed.quantize(_SMALLEST, rounding=ROUND_HALF_UP, context=CONTEXT)
    with localcontext(CONTEXT):
        if needed < 0:
            return _give_back(entries, -needed)
        parts = []
        for grant in balances(entries):
            if needed and grant.open_on(day):
                taken = min(needed, grant.left)
                needed -= taken
                parts.append((grant.name, taken))
        return tuple(parts)


def _give_back(entries: Sequence[Entry], most: Decimal) -> Parts:
    drawn: dict[str, Decimal] = {}
    for entry in entries:
        if entry.kind == "draw":
            for name, taken in entry.parts:
                # Taken out and put in again, so that what was drawn last stands last.
                drawn[name] = drawn.pop(name, ZERO) + taken
    parts = []
    for name, taken in reversed(drawn.items()):
        back = min(most, taken)
        if back > 0:
            most -= back
            parts.append((name, -back))
    return tuple(parts)
