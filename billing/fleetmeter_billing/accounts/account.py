"""An account that pays, and the rows of its subscription's life."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, field_validator, model_validator

from fleetmeter_billing.errors import CurrencyError
from fleetmeter_billing.periods.period import PeriodRule
from fleetmeter_billing.rates.money import exponent

Status = Literal["trial", "active", "changed", "cancelled"]
Quantity = Annotated[int, Field(ge=0, le=2**40, strict=True)]
Exact = Annotated[Decimal, PlainSerializer(lambda value: format(value.normalize(), "f"))]


class _Part(BaseModel):
    """Frozen, and strict about names, so that a typing error is never a free product."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def content_hash(self) -> str:
        """SHA-256 of what it says, in hex: the same for the same content."""
        body = orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(body).hexdigest()


class DiscountTerms(_Part):
    """What a subscription takes off: a share in percent, or an amount of money. The label is what invoices
    say; without one, it is the name."""

    name: Annotated[str, Field(min_length=1)]
    label: str = ""
    percent: Annotated[Exact | None, Field(gt=0, le=100)] = None
    amount: Annotated[Exact | None, Field(gt=0)] = None
    prices: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _labelled(cls, given: object) -> object:
        return {**given, "label": given.get("label") or given.get("name", "")} if isinstance(given, Mapping) else given

    @field_validator("percent", "amount", mode="before")
    @classmethod
    def _no_binary(cls, value: object) -> object:
        if isinstance(value, float):
            raise ValueError(f"{value!r} is a binary fraction: put it in quotes")
        return value

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.percent is None) == (self.amount is None):
            raise ValueError("a discount has exactly one of percent and amount")
        return self


class Subscription(_Part):
    """One row of an account's subscription: what holds from a local day on, until the next row.

    `changed` goes on as before (in trial, or active) with what the row says anew, so that it may leave out what stays:
    card, plan, version, committed and discounts. `cancelled` ends it; a later `active` begins again.
    """

    # What the table can hold; a day beyond would come back as another one, and not be known again.
    from_day: Annotated[date, Field(alias="from", ge=date(1970, 1, 1), le=date(2149, 6, 6))]
    status: Status = "active"
    card: str | None = None
    plan: str | None = None
    version: Annotated[int | None, Field(ge=1, strict=True)] = None
    committed: Mapping[str, Quantity] | None = None
    discounts: tuple[DiscountTerms, ...] | None = None
    reason: str = ""

    @field_validator("discounts")
    @classmethod
    def _each_named_once(cls, discounts: tuple[DiscountTerms, ...] | None) -> tuple[DiscountTerms, ...] | None:
        names = Counter(one.name for one in discounts or ())
        if twice := sorted(name for name in names if names[name] > 1):
            raise ValueError(f"the discount {twice[0]!r} stands there twice: corrections tell discounts by their names")
        return discounts

    @model_validator(mode="after")
    def _fits_its_status(self) -> Self:
        given = [
            name for name in ("card", "plan", "version", "committed", "discounts") if getattr(self, name) is not None
        ]
        if self.status in {"trial", "active"} and self.card is None:
            raise ValueError(f"a row with status {self.status} names its rate card")
        if self.status == "cancelled" and given:
            raise ValueError(f"a cancelled subscription has no {', '.join(given)}")
        if self.status == "changed" and not given:
            raise ValueError("a changed row says what changes: card, plan, version, committed or discounts")
        return self


class Account(_Part):
    """Who pays, in which currency, and whose midnights cut its periods."""

    account: Annotated[str, Field(min_length=1, max_length=256)]
    name: str = ""
    currency: str
    time_zone: str = "UTC"
    period: Literal["calendar", "anniversary"] = "calendar"
    anchor_day: Annotated[int, Field(ge=1, le=31, strict=True)] = 1
    details: Mapping[str, str] = {}

    @field_validator("currency")
    @classmethod
    def _known_currency(cls, code: str) -> str:
        try:
            exponent(code)
        except CurrencyError as error:
            raise ValueError(str(error)) from error
        return code

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name!r} is no time zone: write an IANA name, such as Europe/Berlin") from error
        return name

    @model_validator(mode="after")
    def _anchored(self) -> Self:
        if self.period == "calendar" and self.anchor_day != 1:
            raise ValueError("calendar periods begin on the 1st; anchor_day is for `period: anniversary`")
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def rule(self) -> PeriodRule:
        """How its periods are cut."""
        return PeriodRule(self.period, self.anchor_day)


class Subscriber(_Part):
    """An account with the rows of its subscription, by day."""

    account: Account
    subscriptions: tuple[Subscription, ...] = ()

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        days = [row.from_day for row in self.subscriptions]
        if days != sorted(set(days)):
            raise ValueError("the rows of a subscription stand in order, one a day")
        holds = False
        for row in self.subscriptions:
            if row.status in {"changed", "cancelled"} and not holds:
                raise ValueError(f"on {row.from_day} nothing holds that could be {row.status}")
            holds = row.status != "cancelled"
        return self
