"""A price: a meter, a model, and what modifies it: allowance, minimum, maximum, multipliers, rules, proration."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Literal, Self

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
METERLESS = ("flat", "bundle")
"""Models that may go without the price's own meter."""
QUANTITY_MODELS = ("unit", "graduated", "volume", "package")
"""Models in which rules may price a request otherwise, and multipliers weigh quantities."""


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
        if self.meter is None and kind not in METERLESS:
            raise broken("meter_missing", f"a {kind} price needs a meter", "model")
        if self.meter is not None and kind == "bundle":
            raise broken("meter_missing", "a bundle has meters in its parts, and none of its own", "meter")
        if kind == "flat" and self.model.when_used and self.meter is None:  # type: ignore[union-attr]
            raise broken("meter_missing", "when_used needs a meter to see usage", "model")
        if self.rules and kind not in QUANTITY_MODELS:
            raise broken("not_for_model", f"rules are for unit, graduated, volume and package, not for {kind}", "rules")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise broken("minimum_above_maximum", f"minimum {self.minimum} is above maximum {self.maximum}", "minimum")
        return self
