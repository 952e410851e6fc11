"""Plans: which prices a customer has, what is included, and which models and features come with it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, model_validator

from fleetmeter_billing.rates.broken_rules import Amount, Name, Percent, broken
from fleetmeter_billing.rates.meter import CardPart

_Count = Annotated[int, Field(ge=0)]


class Entitlements(CardPart):
    """What the plan's customers may have; an empty list is nothing, null is no limit."""

    model_tiers: Annotated[
        tuple[str, ...], Field(description="Size tiers of the model catalogue that may be downloaded, such as 1b, 7b.")
    ] = ()
    models: Annotated[tuple[str, ...], Field(description="Further models that may be downloaded, by name.")] = ()
    fallback_models: Annotated[
        tuple[str, ...], Field(description="Cloud models that queries may fall back to, by name.")
    ] = ()
    features: Annotated[
        tuple[str, ...], Field(description="Premium features and jobs, such as fine_tuning or priority_support.")
    ] = ()
    seats: _Count | None = None
    devices: _Count | None = None
    downloads: _Count | None = None


class Plan(CardPart):
    """One plan. Without `prices` it has all prices of the card."""

    name: Annotated[str, Field(description="The plan's key in the card; need not be written.")] = ""
    label: str = ""
    prices: tuple[Name, ...] | None = None
    included: Annotated[
        Mapping[Name, Amount], Field(description="Allowances by price, instead of what the price itself includes.")
    ] = {}
    entitlements: Entitlements = Entitlements()
    trial_percent: Annotated[
        Percent, Field(description="Discount on everything while the subscription is a trial.")
    ] = Decimal(100)


class Arm(CardPart):
    """One arm of an experiment: its weight, and the plan that its accounts have."""

    weight: Annotated[int, Field(gt=0)]
    plan: Name


class Experiment(CardPart):
    """Accounts of the plan `on` are spread over arms by a hash of (salt, account). Immutable, as all of a card is."""

    name: Annotated[str, Field(description="The experiment's key in the card; need not be written.")] = ""
    salt: Annotated[str, Field(min_length=1)]
    on: Name
    arms: Annotated[Mapping[Name, Arm], Field(min_length=2)]
    label: str = ""

    @model_validator(mode="after")
    def _check(self) -> Self:
        plans = [arm.plan for arm in self.arms.values()]
        if len(set(plans)) != len(plans):
            raise broken("arms_differ", "two arms have the same plan: they would compare it to itself", "arms")
        return self
