"""The cap on the iteration part of a hybrid price: what a hard query costs at most.

Sums per period can't be capped request by request, but requests of one steps band can, if the cap does not lie inside
the band: then either all of them are at or below it, or all above. For other dimensions, such as query_class, the cap
holds on average over the requests of each value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from fleetmeter_schemas.bands import STEPS_BAND
from pydantic import Field, model_validator

from fleetmeter_billing.rates.broken_rules import Name, broken, choices
from fleetmeter_billing.rates.meter import CardPart


class IterationCap(CardPart):
    """At most `per_request[value]` iterations are charged for a request with that value of the dimension `by`;
    values that are not named have no cap. `requests` names the meter that counts the requests."""

    by: str
    requests: Name
    per_request: Annotated[Mapping[str, Annotated[int, Field(ge=0)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_band(self) -> Self:
        if self.by != STEPS_BAND.name:
            return self
        lows = (0, *STEPS_BAND.thresholds)
        highs = (*STEPS_BAND.thresholds, None)
        bounds = dict(zip(STEPS_BAND.labels, zip(lows, highs, strict=True), strict=True))
        for label, cap in self.per_request.items():
            if label not in bounds:
                raise broken("unknown_value", f"{label!r} is no steps band: {choices(bounds)}", "per_request", label)
            low, high = bounds[label]
            if cap > low and (high is None or cap < high):
                raise broken(
                    "cap_inside_band",
                    f"a cap of {cap} lies inside the band {label}, and sums can't tell which of its requests exceed "
                    f"it: give at most {low}" + ("" if high is None else f", or {high} and more for none"),
                    "per_request",
                    label,
                )
        return self
