"""The columns of what is frozen, and which of them occur at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleetmeter_schemas.native_spec import ledger_dimensions, ledger_measures, rollup_types
from fleetmeter_schemas.tables import USAGE_ADJUSTMENTS, USAGE_FACTS

DIMENSIONS: Final = tuple(name for name in ledger_dimensions() if name != "labels")
"""What frozen usage is told apart by: everything that a price may look at."""
MEASURES: Final = tuple(ledger_measures())
NOT_FROZEN: Final = frozenset(
    {
        "labels",
        "period_hash",
        "memory_bandwidth_mbps",
        "active_ms",
        *(f"{name}{end}" for name in ("queries", "input_tokens", "output_tokens") for end in ("", "_lower", "_upper")),
    }
)
"""Columns of facts that are never priced: labels, and what only estimates have."""
FACT_COLUMNS: Final = tuple(name for name in USAGE_FACTS.column_names if name not in {*NOT_FROZEN, "account_id"})
ADJUSTMENT_COLUMNS: Final = tuple(name for name in USAGE_ADJUSTMENTS.column_names if name != "account_id")

EVENT_TYPES: Final = ", ".join(f"'{model.SHORT}'" for model in rollup_types())
"""The types whose events are counted in rollups, as a list for SQL."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The dimensions and measures that occur in what is frozen; the others are empty or 0 throughout."""

    dimensions: tuple[str, ...]
    measures: tuple[str, ...]


def not_among(found: set[str]) -> list[str]:
    """The dimensions and measures that are not in `found`, in order."""
    return [name for name in (*DIMENSIONS, *MEASURES) if name not in found]
