"""What a segment comes to, written down once more: in fractions, from a card as plain data, after docs/rating.md alone.

Nothing of it is shared with the product, so that the two can be held against each other for any card and usage.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Group = tuple[tuple[str, str], ...]
Usage = Mapping[str, Mapping[Group, int]]
"""Quantities by meter and group."""
Data = Mapping[str, Any]
"""A part of a card, as its file spells it."""
Tiers = list[tuple[Fraction | None, Fraction, Fraction]]
"""Bound, amount of a unit, flat fee."""


def rounded(amount: Fraction, digits: int) -> Fraction:
    """Half away from zero."""
    sign = 1 if amount >= 0 else -1
    return sign * Fraction(math.floor(abs(amount) * 10**digits + Fraction(1, 2)), 10**digits)


@dataclass(frozen=True)
class Terms:
    """What is known of the segment."""

    days: int
    period_days: int
    first_day: str
    digits: int
    committed: int = 0
    trial_percent: str = "0"
    discounts: Sequence[Data] = ()


@dataclass
class PriceBill:
    """One price, and the allowance that is left of it."""

    card: Data
    price: Data
    usage: Usage
    terms: Terms
    free: Fraction = field(init=False)

    def __post_init__(self) -> None:
        self.free = self.days_of(self.price.get("included", 0), "included")

    def days_of(self, amount: object, what: str) -> Fraction:
        """The amount, for the segment's days if the price says so."""
        given = self.price.get("proration", {})
        known = {"tiers": "none"} | ({what: given} if isinstance(given, str) and what != "tiers" else {})
        known |= {} if isinstance(given, str) else given
        share = Fraction(self.terms.days, self.terms.period_days) if known.get(what, "days") == "days" else 1
        return Fraction(str(amount)) * share

    def charged(self, quantity: Fraction) -> Fraction:
        """What is left of a quantity after the allowance."""
        taken = min(quantity, self.free) if quantity > 0 else Fraction(0)
        self.free -= taken
        return max(quantity - taken, Fraction(0)) if self.price.get("negative") == "zero" else quantity - taken

    def counted(self, meter: str) -> int:
        """The sum over all groups."""
        return sum(self.usage.get(meter, {}).values())

    def tiers(self, tiers: Sequence[Data], per: int = 1, amount: str = "amount") -> Tiers:
        """Ready to be walked."""
        return [
            (
                self.days_of(one["up_to"], "tiers") if "up_to" in one else None,
                Fraction(one[amount]) / per,
                Fraction(one.get("flat", 0)),
            )
            for one in tiers
        ]

    def of_quantity(self, model: Data, quantity: Fraction) -> Fraction:
        """unit, package, graduated, volume and bundle."""
        per = self.price.get("per", 1)
        if model["type"] == "unit":
            return quantity * Fraction(model["amount"]) / per
        if model["type"] == "package":
            packages = quantity / Fraction(model["size"])
            whole = {"up": math.ceil(packages), "down": math.floor(packages), "nearest": rounded(packages, 0)}
            return whole[model["rounding"]] * Fraction(model["amount"])
        walk = volume if "volume" in (model["type"], model.get("mode")) else graduated
        parts = walk(self.tiers(model["tiers"], per), quantity, model)
        if model.get("rounding") == "tier":
            digits = self.terms.digits
            return sum((rounded(used, digits) + rounded(flat, digits) for used, flat in parts), Fraction(0))
        return total(parts)

    def by_rule_and_group(self) -> Iterator[tuple[Data, Fraction]]:
        """The model and weighed quantity of each line, in the order in which the allowance is used up."""
        found: dict[tuple[int, Group], Fraction] = defaultdict(Fraction)
        if not self.price.get("lines_by"):
            found[-1, ()] = Fraction(0)
        rules = self.price.get("rules", ())
        for group, quantity in self.usage.get(self.price["meter"], {}).items():
            values = dict(group)
            fits = (i for i, rule in enumerate(rules) if all(values[n] in v for n, v in rule["when"].items()))
            weight = Fraction(1)
            for one in self.price.get("multipliers", ()):
                weight *= Fraction(one["values"].get(values[one["by"]], one["other"]))
            lines_by = tuple((name, values[name]) for name in self.price.get("lines_by", ()))
            found[next(fits, -1), lines_by] += weight * quantity
        for (rule, _), quantity in sorted(found.items()):
            yield (self.price["model"] if rule < 0 else rules[rule]["model"]), quantity

    def heads(self, model: Data) -> list[Fraction]:
        """seat and capacity."""
        counted, committed = max(0, self.counted(self.price["meter"])), self.terms.committed
        basis = {"counted": counted, "committed": committed, "larger": max(counted, committed)}[model["basis"]]
        if model["type"] == "capacity":
            whole = Fraction(next(one["amount"] for one in model["levels"] if basis <= float(one.get("up_to", "inf"))))
        else:
            tiers = [(one.get("up_to") and Fraction(one["up_to"]), Fraction(one["amount"])) for one in model["tiers"]]
            walk = volume if model["mode"] == "volume" else graduated
            left = basis - min(Fraction(self.price.get("included", 0)), basis)
            whole = total(walk([(bound, amount, Fraction(0)) for bound, amount in tiers], left, {}))
        beyond = max(0, counted - committed) * Fraction(model.get("overage_amount", 0))
        return [self.days_of(whole, "fixed") if basis else Fraction(0), self.days_of(beyond, "fixed")]

    def lines(self) -> list[Fraction]:
        """The price's own lines, exact."""
        price, model = self.price, self.price["model"]
        match model["type"]:
            case "flat":
                return [self.days_of(model["amount"], "fixed")]
            case "unit" | "graduated" | "volume" | "package":
                return [self.of_quantity(one, self.charged(q)) for one, q in self.by_rule_and_group()]
            case "seat" | "capacity":
                return self.heads(model)
            case "percentage":
                value = self.charged(Fraction(self.counted(price["meter"]), 10**self.terms.digits))
                return [value * Fraction(model["percent"]) / 100]
            case "graduated_percentage":
                value = self.charged(Fraction(self.counted(price["meter"]), 10**self.terms.digits))
                return [total(graduated(self.tiers(model["tiers"], 100, "percent"), value, {}))]
            case "hybrid":
                tokens = self.charged(Fraction(self.counted(price["meter"]))) * Fraction(model["amount"])
                iterations = Fraction(self.counted(model["iterations"]["meter"]))
                each = Fraction(model["iterations"]["amount"]) / model["iterations"]["per"]
                below = price.get("negative") == "zero" and iterations < 0
                return [tokens / price.get("per", 1), Fraction(0) if below else iterations * each]
            case "matrix_units":
                units = Fraction(self.counted(price["meter"])) / Fraction(model["gflop_per_unit"])
                return [self.charged(units) * Fraction(model["amount"])]
            case "credits":
                return [self.charged(self.credits(model)) * Fraction(self.card["credits"]["amount"])]
            case "bundle":
                made = sum(
                    (self.counted(one["meter"]) * Fraction(one["weight"]) for one in model["parts"]), Fraction(0)
                )
                return [self.of_quantity(model, self.charged(made))]
            case kind:
                raise NotImplementedError(kind)

    def credits(self, model: Data) -> Fraction:
        """Usage at the first rate that fits, of those that hold on the first day."""
        made = Fraction(0)
        for group, quantity in self.usage.get(self.price["meter"], {}).items():
            fits = (
                one
                for one in model["rates"]
                if one["since"] <= self.terms.first_day
                and all(dict(group)[name] in values for name, values in one.get("when", {}).items())
            )
            rate = next(fits)
            made += quantity * Fraction(rate["credits"]) / rate["per"]
        return made


def graduated(tiers: Tiers, quantity: Fraction, options: Data) -> list[tuple[Fraction, Fraction]]:
    """What each tier contributes: usage, and its flat fee."""
    if quantity <= 0:
        return _at_most_zero(tiers, quantity, options)
    parts, below = [], Fraction(0)
    for bound, amount, flat in tiers:
        reached = quantity >= below if options.get("bounds") == "exclusive" else quantity > below
        if not reached and below:
            break
        top = quantity if bound is None else min(quantity, bound)
        parts.append(((max(top, below) - below) * amount, flat))
        below = top if bound is None else bound
    return parts


def volume(tiers: Tiers, quantity: Fraction, options: Data) -> list[tuple[Fraction, Fraction]]:
    """The one tier that the whole quantity falls in."""
    if quantity <= 0:
        return _at_most_zero(tiers, quantity, options)
    exclusive = options.get("bounds") == "exclusive"
    fits = (t for t in tiers if t[0] is None or quantity < t[0] or (quantity == t[0] and not exclusive))
    _, amount, flat = next(fits)
    return [(quantity * amount, flat)]


def _at_most_zero(tiers: Tiers, quantity: Fraction, options: Data) -> list[tuple[Fraction, Fraction]]:
    return [(quantity * tiers[0][1], tiers[0][2] if options.get("flat_at_zero") else Fraction(0))]


def total(parts: Sequence[tuple[Fraction, Fraction]]) -> Fraction:
    """Usage and flat fees together."""
    return sum((used + flat for used, flat in parts), Fraction(0))


def bill(card: Data, usage: Usage, terms: Terms) -> Fraction:
    """What all prices of the card come to: lines, then discounts, minimum, maximum and the trial's share."""
    digits, whole = terms.digits, Fraction(0)
    share = Fraction(terms.days, terms.period_days)
    left = {one["name"]: Fraction(one["amount"]) * share for one in terms.discounts if "amount" in one}
    for name, price in card["prices"].items():
        own = PriceBill(card, price, usage, terms)
        due = sum((rounded(line, digits) for line in own.lines()), Fraction(0))
        for one in terms.discounts:
            if due <= 0 or name not in one.get("prices", (name,)):
                continue
            off = due * Fraction(one["percent"]) / 100 if "percent" in one else min(left[one["name"]], due)
            if "amount" in one:
                left[one["name"]] -= off
            due -= rounded(off, digits)
        if "minimum" in price:
            due = max(due, rounded(own.days_of(price["minimum"], "minimum"), digits))
        if "maximum" in price:
            due = min(due, rounded(own.days_of(price["maximum"], "maximum"), digits))
        if due > 0:
            due -= rounded(due * Fraction(terms.trial_percent) / 100, digits)
        whole += due
    return whole
