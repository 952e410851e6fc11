"""What changes a price's lines once they are charged, in this order: discounts, minimum, maximum, trial.

All of them see rounded lines, and add rounded lines, so that a minimum is met to the cent and a full discount leaves
nothing.
"""

from __future__ import annotations

from decimal import Decimal

from fleetmeter_billing.rates.drafts import Charging, Draft
from fleetmeter_billing.rates.lines import LineKind
from fleetmeter_billing.rates.money import round_amount
from fleetmeter_billing.rates.tiers import ZERO
from fleetmeter_billing.rates.usage import Discount, Segment
from fleetmeter_billing.rates.wording import show

MINIMUM = "minimum"
MAXIMUM = "maximum"
TRIAL = "trial"
DISCOUNT = "discount:"
"""Parts of the lines made here; a discount's is followed by its name."""


class Remainders:
    """How much of each fixed discount is left, while the prices of a segment are gone through in order."""

    def __init__(self, segment: Segment) -> None:
        # Multiplied first, so that half a cent stays half a cent.
        self._left = {
            one.name: (one.amount or ZERO) * segment.days / segment.period_days
            for one in segment.discounts
            if one.percent is None
        }

    def take(self, name: str, most: Decimal) -> Decimal:
        """Takes as much as is left, at most `most` (from 0)."""
        amount = min(self._left[name], most)
        self._left[name] -= amount
        return amount


def modify(charging: Charging, drafts: list[Draft], remainders: Remainders, trial_percent: Decimal) -> list[Draft]:
    """The lines to be added behind a price's own. Each sees the sum of those before it."""
    price, currency, segment = charging.price, charging.prepared.currency, charging.segment
    trial = segment.status == "trial" and trial_percent
    if not (segment.discounts or trial) and price.minimum is None and price.maximum is None:
        return []
    total = sum((round_amount(draft.exact, currency) for draft in drafts), ZERO)
    added: list[Draft] = []
    for discount in segment.discounts:
        if total <= 0 or (discount.prices and price.name not in discount.prices):
            continue
        off, sentence = _off(charging, discount, total, remainders)
        if off:
            total -= off
            added.append(_line(DISCOUNT + discount.name, discount.label, -off, sentence, "discount"))
    if price.minimum is not None:
        least = round_amount(charging.prorated(price.minimum, price.proration.minimum), currency)
        if total < least:
            sentence = f"the minimum is {show(least)} {currency}; the lines above come to {show(total)} {currency}"
            added.append(_line(MINIMUM, f"{price.label}: minimum", least - total, sentence, "minimum"))
            total = least
    if price.maximum is not None:
        most = round_amount(charging.prorated(price.maximum, price.proration.maximum), currency)
        if total > most:
            sentence = f"at most {show(most)} {currency}; the lines above come to {show(total)} {currency}"
            added.append(_line(MAXIMUM, f"{price.label}: maximum", most - total, sentence, "discount"))
            total = most
    if trial and total > 0:
        off = round_amount(total * trial_percent / 100, currency)
        sentence = f"{show(trial_percent)} % off {show(total)} {currency} while the subscription is a trial"
        added.append(_line(TRIAL, f"{price.label}: trial", -off, sentence, "discount"))
    return added


def _off(charging: Charging, discount: Discount, total: Decimal, remainders: Remainders) -> tuple[Decimal, str]:
    currency = charging.prepared.currency
    if discount.percent is None:
        off = round_amount(remainders.take(discount.name, total), currency)
        return off, f"{show(off)} {currency} off {show(total)} {currency}"
    off = round_amount(total * discount.percent / 100, currency)
    return off, f"{show(discount.percent)} % off {show(total)} {currency}"


def _line(part: str, label: str, amount: Decimal, sentence: str, kind: LineKind) -> Draft:
    return Draft(part, label, None, (), Decimal(1), "", 1, (), amount, kind, (sentence,))
