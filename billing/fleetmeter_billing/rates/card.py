"""A rate card: meters, prices, plans, credits and experiments, as one immutable document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fleetmeter_billing.errors import CurrencyError
from fleetmeter_billing.rates.broken_rules import Amount, Name, broken
from fleetmeter_billing.rates.card_rules import check_experiments, check_plans, check_prices
from fleetmeter_billing.rates.meter import CardPart, Meter
from fleetmeter_billing.rates.money import exponent
from fleetmeter_billing.rates.plan import Arm, Entitlements, Experiment, Plan
from fleetmeter_billing.rates.price import Price
from fleetmeter_billing.rates.price_models import Credits

DEFAULT_PLAN = "default"


class CreditUnit(CardPart):
    """What a credit is called and costs, in the card's currency, beyond prepaid balances."""

    unit: Annotated[str, Field(min_length=1, description="What the customer reads beside the quantity.")] = "credit"
    amount: Amount


class RateCard(CardPart):
    """What a YAML file says. Raises pydantic.ValidationError; `loading` turns that into lines and rules."""

    card: Name
    currency: str
    effective_from: Annotated[
        date,
        Field(
            ge=date(2000, 1, 1),
            le=date(2149, 6, 6),  # the last day that the table can hold
            description="First day; begins at each account's local midnight.",
        ),
    ]
    description: str = ""
    meters: Annotated[Mapping[Name, Meter], Field(min_length=1)]
    prices: Annotated[Mapping[Name, Price], Field(min_length=1)]
    plans: Annotated[Mapping[Name, Plan], Field(description="Without any: one plan, `default`, with all prices.")] = {}
    credits: CreditUnit | None = None
    experiments: Mapping[Name, Experiment] = {}

    @field_validator("meters", "prices", "plans", "experiments", mode="before")
    @classmethod
    def _name_entries(cls, entries: object) -> object:
        """Each entry learns its key, so that a meter or price can be handed around by itself."""
        if not isinstance(entries, Mapping):
            return entries
        return {key: _named(key, entry) for key, entry in entries.items()}

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, currency: str) -> str:
        try:
            exponent(currency)
        except CurrencyError as error:
            raise broken("unknown_currency", str(error)) from error
        return currency

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_prices(self)
        check_plans(self)
        check_experiments(self)
        return self

    def plan(self, name: str) -> Plan:
        """The plan of that name; for a card without plans `default` is one with all prices. Raises KeyError."""
        if not self.plans and name == DEFAULT_PLAN:
            return Plan(name=DEFAULT_PLAN)
        return self.plans[name]

    def prices_of(self, plan: str) -> list[Price]:
        """The prices of a plan, in the card's order. Raises KeyError for an unknown plan."""
        wanted = self.plan(plan).prices
        return [price for name, price in self.prices.items() if wanted is None or name in wanted]

    def cut_dates(self) -> list[date]:
        """Local dates inside the card's life at whose midnight something in it changes (rates of exchange): a segment
        must not reach across one. Sorted; effective_from itself is not among them."""
        found = {
            date.fromisoformat(rate.since)
            for price in self.prices.values()
            if isinstance(price.model, Credits)
            for rate in price.model.rates
        }
        return sorted(one for one in found if one > self.effective_from)

    def to_json(self) -> str:
        """The whole card as canonical JSON, defaults spelled out: what was published keeps its meaning when a later
        release has other defaults."""
        return self.model_dump_json()

    @property
    def content_hash(self) -> str:
        """`hash_of` the card's JSON: two cards with the same hash are the same card."""
        return hash_of(self.to_json())


def hash_of(content: str) -> str:
    """BLAKE2b-128 of a card's JSON, in hex."""
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _named(key: object, entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    if entry.get("name", key) != key:
        raise broken("name_is_key", f"its name is its key, {key!r}, and {entry['name']!r} is another", str(key), "name")
    return {**entry, "name": key}


class PublishedCard(BaseModel):
    """A version of a card that was published: bills name it, so it never changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    card: RateCard
    version: Annotated[int, Field(ge=1)]
    published_at: datetime
    published_by: str
    content_hash: str


__all__ = [
    "DEFAULT_PLAN",
    "Arm",
    "CreditUnit",
    "Entitlements",
    "Experiment",
    "Meter",
    "Plan",
    "Price",
    "PublishedCard",
    "RateCard",
    "hash_of",
]
