"""A price: a meter, a model, and what modifies it: allowance, minimum, maximum, multipliers, rules, proration."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from fleetmeter_billing.rates.broken_rules import Amount, Filter, Name, Positive, broken
from fleetmeter_billing.rates.meter import CardPart
from fleetmeter_billing.rates.price_models import (
    Graduated,
    Package,
    PriceModel,
    Unit,
    Volume,
)

Share = Literal["days", "none"]
_METERLESS: Final = ("flat", "bundle")
"""Models that may go without the price's own meter."""
_FIXED: Final = ("flat", "seat", "capacity")
_WHOLE: Final = (*_FIXED, "outcome", "credits", "bundle")
_NOT_FOR: Final = {
    "included": ("flat", "capacity"),
    "per": (*_FIXED, "package", "percentage", "graduated_percentage", "credits"),
    "lines_by": _WHOLE,
    "multipliers": _WHOLE,
    "rules": (*_WHOLE, "percentage", "graduated_percentage", "hybrid", "matrix_units"),
}
"""Fields that some models would not look at; there they are refused, since whoever wrote them meant something."""
_RESERVED: Final = ("iterations", "minimum", "maximum", "overage", "trial")
"""Parts that lines of a price have besides rules."""


def allows_included(model: str) -> bool:
    """Whether a model of that type has an allowance."""
    return model not in _NOT_FOR["included"]


class Multiplier(CardPart):
    """Usage counts `values[value of the dimension by]` times, before allowance and tiers: one parallel token as 0.4
    tokens. Several multipliers multiply."""

    by: str
    values: Annotated[Mapping[str, Positive], Field(min_length=1)]
    other: Annotated[Positive, Field(description="Multiplier of values that are not named.")] = Decimal(1)


class Rule(CardPart):
    """Usage that `when` matches has another model: whole requests above a context size, or with many steps. The first
    rule that matches wins; it has a line of its own, and walks its tiers by itself."""

    name: Name
    label: str = ""
    when: Annotated[Filter, Field(min_length=1)]
    model: Annotated[Unit | Graduated | Volume | Package, Field(discriminator="type")]

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name in _RESERVED:
            raise broken("reserved_name", f"{name!r} names a line of its own: call the rule something else")
        return name


class Proration(CardPart):
    """What is shortened in a part of a period, by days: `fixed` amounts (flat fees, seats, capacity), the allowance,
    minimum and maximum, and the bounds of tiers."""

    fixed: Share = "days"
    included: Share = "days"
    minimum: Share = "days"
    maximum: Share = "days"
    tiers: Share = "none"


class Price(CardPart):
    """One price of a card. Its lines stand on the invoice in the order of the card."""

    name: Annotated[str, Field(description="The price's key in the card; need not be written.")] = ""
    label: Annotated[str, Field(min_length=1, description="What the customer reads on the line.")]
    meter: Name | None = None
    unit: Annotated[str, Field(description="What the customer reads beside the quantity.")] = ""
    per: Annotated[Literal[1, 1_000, 1_000_000, 1_000_000_000], Field(description="Amounts are for so many units.")] = 1
    model: PriceModel
    included: Annotated[Amount, Field(description="Allowance: so many units a period are free.")] = Decimal(0)
    minimum: Annotated[Amount | None, Field(description="The price's lines come to at least this amount.")] = None
    maximum: Annotated[Amount | None, Field(description="The price's lines come to at most this amount.")] = None
    lines_by: Annotated[
        tuple[str, ...], Field(description="One line for each value of these dimensions, with tiers of its own.")
    ] = ()
    multipliers: tuple[Multiplier, ...] = ()
    rules: tuple[Rule, ...] = ()
    proration: Proration = Proration()
    negative: Annotated[
        Literal["credit", "zero"],
        Field(description="A quantity below zero is credited at the first tier's amount, or charged as zero."),
    ] = "credit"

    @field_validator("proration", mode="before", json_schema_input_type=Share | Proration)
    @classmethod
    def _shorthand(cls, given: object) -> object:
        if given in ("days", "none"):
            return {field: given for field in Proration.model_fields if field != "tiers"}
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        kind = self.model.type
        if self.meter is None and kind not in _METERLESS:
            raise broken("meter_missing", f"a {kind} price needs a meter", "model")
        if self.meter is not None and kind == "bundle":
            raise broken("meter_missing", "a bundle has meters in its parts, and none of its own", "meter")
        if kind == "flat" and self.model.when_used and self.meter is None:  # type: ignore[union-attr]
            raise broken("meter_missing", "when_used needs a meter to see usage", "model")
        for field, models in _NOT_FOR.items():
            if kind in models and getattr(self, field) != type(self).model_fields[field].default:
                raise broken("not_for_model", f"`{field}` has no meaning for a {kind} price: leave it out", field)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise broken("minimum_above_maximum", f"minimum {self.minimum} is above maximum {self.maximum}", "minimum")
        return self
