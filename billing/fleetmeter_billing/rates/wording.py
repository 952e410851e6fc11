"""How numbers stand in explanations: plain digits with thousands separated, never an exponent."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache

from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.usage import Group


def show(number: Decimal | int) -> str:
    """`1,234.5`: exact up to 12 digits after the point, then rounded and marked with `~`; trailing zeros cut."""
    if isinstance(number, int):
        return f"{number:,}"
    text = f"{number:,f}"
    if "." not in text:
        return text
    whole, _, digits = text.partition(".")
    if len(digits) > 12:
        return "~" + show(round(number, 12))
    digits = digits.rstrip("0")
    return f"{whole}.{digits}" if digits else whole


def units(quantity: Decimal | int, unit: str) -> str:
    """`1,000 tokens`: the unit as the card spells it."""
    return f"{show(quantity)} {unit}" if unit else show(quantity)


@lru_cache(4096)  # the same few amounts stand in the lines of all accounts
def price_of(amount: Decimal, currency: str, per: int, unit: str) -> str:
    """`0.25 USD per 1,000,000 tokens`."""
    if per == 1:
        return f"{show(amount)} {currency}" + (f" per {unit}" if unit else " each")
    return f"{show(amount)} {currency} per {units(per, unit)}"


def of_group(group: Group) -> str:
    """`model phi-4, region eu-west`; an empty value is unknown."""
    return ", ".join(f"{dimension} {value or 'unknown'}" for dimension, value in group)


def tier_sentences(tiers: Sequence[TierCharge], currency: str, per: int, unit: str) -> list[str]:
    """A sentence for each tier that contributed."""
    return [
        f"{units(tier.quantity, unit)}{_bound(tier.up_to)} at {price_of(tier.unit_amount, currency, per, unit)}"
        f"{_flat(tier.flat, currency)} = {show(tier.amount)} {currency}"
        for tier in tiers
    ]


@lru_cache(4096)
def _bound(up_to: Decimal | None) -> str:
    return "" if up_to is None else f" (up to {show(up_to)})"


@lru_cache(4096)
def _flat(flat: Decimal, currency: str) -> str:
    return f" + {show(flat)} {currency} flat" if flat else ""
