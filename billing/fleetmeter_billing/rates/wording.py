"""How numbers stand in explanations: plain digits with thousands separated, never an exponent."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.usage import Group


def show(number: Decimal | int) -> str:
    """`1,234.5`: exact up to 12 digits after the point, then rounded and marked with `~`; trailing zeros cut."""
    text = f"{number:,f}" if isinstance(number, Decimal) else f"{number:,}"
    whole, point, digits = text.partition(".")
    if not point:
        return text
    if len(digits) > 12:
        return "~" + show(round(Decimal(number), 12))
    digits = digits.rstrip("0")
    return f"{whole}.{digits}" if digits else whole


def units(quantity: Decimal | int, unit: str) -> str:
    """`1,000 tokens`: the unit as the card spells it."""
    return f"{show(quantity)} {unit}" if unit else show(quantity)


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
    sentences = []
    for tier in tiers:
        bound = "" if tier.up_to is None else f" (up to {show(tier.up_to)})"
        flat = f" + {show(tier.flat)} {currency} flat" if tier.flat else ""
        sentences.append(
            f"{units(tier.quantity, unit)}{bound} at {price_of(tier.unit_amount, currency, per, unit)}{flat} "
            f"= {show(tier.amount)} {currency}"
        )
    return sentences
