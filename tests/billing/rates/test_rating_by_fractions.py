"""Random cards, segments and usage, rated and calculated once more in fractions: the same to the last digit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from fleetmeter_billing.rates.money import exponent
from fleetmeter_billing.rates.rating import rate_segment
from fleetmeter_billing.rates.usage import Discount, MeteredUsage
from fleetmeter_doubles.fraction_bills import Terms, bill
from fleetmeter_doubles.spelled_cards import publish, segment_of

MODES, MODELS, BANDS = ("diffusion", "autoregressive"), ("x", "y"), ("0-32k", "1000k+")
QUANTITIES = (-300, 1, 99, 100, 300, 999, 1000, 12_345_678)
"""Those at a bound for a part of a month are among them: a third of 300, of 3,000."""


def number(draw: random.Random, most: int, digits: int) -> str:
    return f"{Decimal(draw.randrange(most * 10**digits)).scaleb(-digits):f}"


def tiers(draw: random.Random, amount: str = "amount") -> list[dict[str, str]]:
    bounds = sorted(draw.sample([2, 3, 100, 300, 999, 3000], draw.randrange(3)))
    found = [{amount: number(draw, 3, draw.randrange(6))} for _ in range(len(bounds) + 1)]
    for one, bound in zip(found, bounds, strict=False):
        one["up_to"] = str(bound)
    if draw.random() < 0.5:
        found[-1]["flat"] = number(draw, 5, 2)
    return found


def of_quantity(draw: random.Random) -> dict[str, Any]:
    kind = draw.choice(["unit", "graduated", "volume", "package"])
    if kind == "unit":
        return {"type": kind, "amount": number(draw, 2, 6)}
    if kind == "package":
        rounding = draw.choice(["up", "down", "nearest"])
        return {"type": kind, "amount": number(draw, 9, 3), "size": draw.randrange(1, 700), "rounding": rounding}
    options = {"bounds": draw.choice(["inclusive", "exclusive"]), "rounding": draw.choice(["line", "tier"])}
    return {"type": kind, "tiers": tiers(draw), "flat_at_zero": draw.random() < 0.3, **options}


def tokens(draw: random.Random) -> dict[str, Any]:
    price: dict[str, Any] = {"meter": "tokens", "model": of_quantity(draw)}
    if price["model"]["type"] != "package":
        price["per"] = draw.choice([1, 1000])
    if draw.random() < 0.4:
        price["lines_by"] = draw.sample(["generation_mode", "model"], draw.randrange(1, 3))
    if draw.random() < 0.4:
        price["multipliers"] = [{"by": "generation_mode", "values": {"diffusion": "0.4"}, "other": "1.337"}]
    if draw.random() < 0.4:
        price["rules"] = [{"name": "long", "when": {"context_band": ["1000k+"]}, "model": of_quantity(draw)}]
    return price


def heads(draw: random.Random) -> dict[str, Any]:
    basis = draw.choice(["counted", "committed", "larger"])
    more = {"overage_amount": number(draw, 30, 2)} if basis == "committed" else {}
    if draw.random() < 0.5:
        levels = [{"up_to": 2, "amount": number(draw, 30, 2)}, {"amount": number(draw, 90, 2)}]
        return {
            "meter": "seats",
            "model": {"type": "capacity", "committed": "seats", "levels": levels, "basis": basis, **more},
        }
    shown = [{name: value for name, value in one.items() if name != "flat"} for one in tiers(draw)]
    mode = draw.choice(["graduated", "volume"])
    return {"meter": "seats", "model": {"type": "seat", "tiers": shown, "mode": mode, "basis": basis, **more}}


def exchanged(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.5:
        size = draw.choice([3, 7, 1500])
        return {
            "meter": "work",
            "model": {"type": "matrix_units", "gflop_per_unit": size, "amount": number(draw, 3, 4)},
        }
    per = draw.choice([1, 3, 1000])
    rates = [
        {"since": "2026-11-10", "credits": number(draw, 3, 2), "per": per, "when": {"generation_mode": ["diffusion"]}},
        {"since": "2026-01-01", "credits": number(draw, 3, 2), "per": 7},
    ]
    return {"meter": "tokens", "model": {"type": "credits", "rates": rates}}


def composite(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.5:
        iterations = {"meter": "steps", "amount": number(draw, 1, 4), "per": draw.choice([1, 7])}
        return {"meter": "total", "per": 1000, "model": {"type": "hybrid", "amount": "0.4", "iterations": iterations}}
    parts = [{"meter": "asked", "weight": 1}, {"meter": "total", "weight": "0.37"}]
    mode, rounding = draw.choice(["graduated", "volume"]), draw.choice(["line", "tier"])
    return {"model": {"type": "bundle", "parts": parts, "tiers": tiers(draw), "mode": mode, "rounding": rounding}}


def shares(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.5:
        return {"meter": "value", "model": {"type": "percentage", "percent": number(draw, 100, 3)}}
    return {"meter": "value", "model": {"type": "graduated_percentage", "tiers": tiers(draw, "percent")}}


def fee(draw: random.Random) -> dict[str, Any]:
    return {"model": {"type": "flat", "amount": number(draw, 200, 2)}}


KINDS: tuple[Callable[[random.Random], dict[str, Any]], ...] = (
    tokens,
    tokens,
    heads,
    exchanged,
    composite,
    shares,
    fee,
)


def a_price(draw: random.Random) -> dict[str, Any]:
    price = {"label": "P", **draw.choice(KINDS)(draw)}
    kind = price["model"]["type"]
    if kind not in {"flat", "capacity"} and draw.random() < 0.4:
        price["included"] = number(draw, 400, draw.randrange(2))
    if draw.random() < 0.25:
        price["minimum"] = number(draw, 60, 2)
    if draw.random() < 0.25:
        price["maximum"] = f"{Decimal(price.get('minimum', '0')) + Decimal(number(draw, 90, 2)):f}"
    if draw.random() < 0.6:
        price["proration"] = draw.choice(["none", {"tiers": "days"}, {"included": "none", "tiers": "days"}])
    if draw.random() < 0.3:
        price["negative"] = "zero"
    return price


def some_usage(draw: random.Random) -> dict[str, dict[tuple[tuple[str, str], ...], int]]:
    groups = [
        (("generation_mode", mode), ("context_band", band), ("model", model))
        for mode in MODES
        for band in BANDS
        for model in MODELS
    ]
    found = {"tokens": {group: draw.choice(QUANTITIES) for group in draw.sample(groups, draw.randrange(4))}}
    bands = dict.fromkeys(("steps", "asked"), (("steps_band", "20-30"), ("query_class", "")))
    places = {**bands, "work": (("generation_mode", "diffusion"),), "total": (), "seats": (), "value": ()}
    for meter, group in places.items():
        if draw.random() < 0.7:
            found[meter] = {group: draw.choice((0, 1, 2, 3, 7) if meter == "seats" else QUANTITIES)}
    return found


DISCOUNTS = (
    {"name": "loyal", "percent": "12.5"},
    {"name": "goodwill", "amount": "0.14"},
    {"name": "some", "amount": "9"},
)


def test_every_bill_is_the_one_in_fractions(tell: Callable[[str], None]) -> None:
    seed = random.SystemRandom().randrange(10**9)
    tell(f"cards and usage were drawn with seed {seed}")
    draw = random.Random(seed)
    for _ in range(150):
        currency = draw.choice(["EUR", "EUR", "JPY", "KWD"])
        data = {"prices": {f"p{place}": a_price(draw) for place in range(3)}, "credits": {"amount": number(draw, 1, 3)}}
        more = f"credits: {json.dumps(data['credits'])}\nplans: {{default: {{trial_percent: 37}}}}"
        # A value can only be summed in the card's own currency.
        card = publish(json.dumps(data["prices"]), currency=currency, more=more, value_currency=currency)
        days, period_days = draw.choice([(30, 30), (10, 30), (5, 28), (draw.randrange(1, 31), 31)])
        status, discounts = draw.choice(["active", "active", "trial"]), draw.sample(DISCOUNTS, draw.randrange(3))
        seats, day = draw.randrange(5), draw.choice(["2026-11-01", "2026-11-10"])
        usage = some_usage(draw)
        segment = segment_of(
            card,
            days=days,
            period_days=period_days,
            first_day=date.fromisoformat(day),
            committed={"seats": seats},
            status=status,
            discounts=tuple(
                Discount(one["name"], "", *(Decimal(one[n]) if n in one else None for n in ("percent", "amount")))
                for one in discounts
            ),
        )
        rows = [MeteredUsage(meter, group, q) for meter, groups in usage.items() for group, q in groups.items()]
        trial = "37" if status == "trial" else "0"
        terms = Terms(days, period_days, day, exponent(currency), seats, trial, discounts)
        rated = sum((Fraction(line.amount) for line in rate_segment(card, segment, rows)), Fraction(0))
        assert rated == bill(data, usage, terms), (data, usage, terms)
