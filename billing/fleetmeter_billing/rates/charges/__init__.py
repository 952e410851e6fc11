"""From usage to draft lines, a module for each family of price models. All of it runs in money's CONTEXT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fleetmeter_billing.rates.charges import composite, exchanged, fixed, quantity, value
from fleetmeter_billing.rates.drafts import Charging, Draft

CHARGES: Final[dict[str, Callable[[Charging], list[Draft]]]] = {
    "unit": quantity.by_quantity,
    "graduated": quantity.by_quantity,
    "volume": quantity.by_quantity,
    "package": quantity.by_quantity,
    "flat": fixed.flat,
    "percentage": value.percentage,
    "graduated_percentage": value.percentage,
    "seat": fixed.seat,
    "capacity": fixed.capacity,
    "outcome": quantity.outcome,
    "hybrid": composite.hybrid,
    "matrix_units": exchanged.matrix_units,
    "credits": exchanged.credit,
    "bundle": composite.bundle,
}
"""By the model's `type`. Each gives the price's lines in the order in which they stand on the invoice."""
