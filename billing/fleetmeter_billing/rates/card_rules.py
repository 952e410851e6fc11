"""Rules that hold between the parts of a card: names that are used exist, and dimensions are there to be told apart."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from fleetmeter_billing.rates.broken_rules import broken, choices
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.rates.price import Price, allows_included
from fleetmeter_billing.rates.price_models import (
    Bundle,
    Credits,
    GraduatedPercentage,
    Hybrid,
    MatrixUnits,
    Outcome,
    Percentage,
)

if TYPE_CHECKING:
    from fleetmeter_billing.rates.card import RateCard

UPSTREAM_COST: Final = "upstream_cost_nanousd"
_MATRIX: Final = {"matrix_gflop", "draft_matrix_gflop", "wasted_matrix_gflop"}


def check_prices(card: RateCard) -> None:
    """Raises the error of the first price that does not fit the card."""
    for name, price in card.prices.items():
        at = ("prices", name)
        for path, meter in _meters_used(price):
            if meter not in card.meters:
                raise broken("unknown_meter", f"{meter!r} is no meter of this card: {choices(card.meters)}", *at, *path)
        if price.meter is not None:
            _check_groups(card.meters[price.meter], price, at)
        _check_model(card, price, at)


def _meters_used(price: Price) -> Iterable[tuple[tuple[str | int, ...], str]]:
    if price.meter is not None:
        yield ("meter",), price.meter
    if isinstance(price.model, Hybrid):
        iterations = price.model.iterations
        yield ("model", "iterations", "meter"), iterations.meter
        if iterations.cap is not None:
            yield ("model", "iterations", "cap", "requests"), iterations.cap.requests
    if isinstance(price.model, Bundle):
        for index, part in enumerate(price.model.parts):
            yield ("model", "parts", index, "meter"), part.meter


def _check_groups(meter: Meter, price: Price, at: tuple[str, ...]) -> None:
    for index, dimension in enumerate(price.lines_by):
        _grouped(meter, dimension, *at, "lines_by", index)
    for index, multiplier in enumerate(price.multipliers):
        _grouped(meter, multiplier.by, *at, "multipliers", index, "by")
        _known_values(meter, multiplier.by, multiplier.values, *at, "multipliers", index, "values")
    names = [rule.name for rule in price.rules]
    for index, rule in enumerate(price.rules):
        if rule.name in names[:index]:
            raise broken("rule_names_differ", f"{rule.name!r} stands twice", *at, "rules", index, "name")
        for dimension, values in rule.when.items():
            _grouped(meter, dimension, *at, "rules", index, "when", dimension)
            _known_values(meter, dimension, values, *at, "rules", index, "when", dimension)


def _grouped(meter: Meter, dimension: str, *at: str | int) -> None:
    if dimension not in meter.group_by:
        raise broken(
            "not_grouped", f"meter {meter.name} does not tell {dimension!r} apart: add it to its group_by", *at
        )


def _known_values(meter: Meter, dimension: str, values: Iterable[str], *at: str | int) -> None:
    allowed = meter.dimensions[dimension]
    for value in values:
        if allowed is not None and value not in allowed:
            one_of = choices(repr(one) for one in allowed)
            raise broken("unknown_value", f"{value!r} never occurs in {dimension}: {one_of}", *at)


def _check_model(card: RateCard, price: Price, at: tuple[str, ...]) -> None:
    model, meter = price.model, card.meters.get(price.meter or "")
    if isinstance(model, Percentage | GraduatedPercentage) and meter is not None:
        _check_value_meter(card, meter, *at, "meter")
    if isinstance(model, MatrixUnits) and meter is not None and meter.measure not in _MATRIX:
        raise broken("matrix_measure", f"matrix units are made of {choices(_MATRIX)}", *at, "meter")
    if isinstance(model, Outcome) and meter is not None:
        if meter.fact != "outcome" or meter.aggregate != ("sum", "quantity"):
            raise broken("outcome_meter", f"meter {meter.name} has to be `fact: outcome`", *at, "meter")
        _grouped(meter, "name", *at, "meter")
    if isinstance(model, Hybrid):
        iterations = model.iterations
        if iterations.cap is not None:
            for name in (iterations.meter, iterations.cap.requests):
                _grouped(card.meters[name], iterations.cap.by, *at, "model", "iterations", "cap", "by")
    if isinstance(model, Credits) and meter is not None:
        if card.credits is None:
            raise broken("credits_missing", "say in the card's `credits` what a credit costs", *at, "model")
        first_day = card.effective_from.isoformat()
        if not any(rate.since <= first_day and not rate.when for rate in model.rates):
            sentence = (
                f"one rate without `when` has to hold from the card's first day on, {first_day}: it is for the rest"
            )
            raise broken("rate_missing", sentence, *at, "model", "rates")
        for index, rate in enumerate(model.rates):
            for dimension, values in rate.when.items():
                place: tuple[str | int, ...] = (*at, "model", "rates", index, "when", dimension)
                _grouped(meter, dimension, *place)
                _known_values(meter, dimension, values, *place)


def _check_value_meter(card: RateCard, meter: Meter, *at: str | int) -> None:
    if meter.measure == UPSTREAM_COST:
        if card.currency != "USD":
            raise broken("value_currency", f"{UPSTREAM_COST} is in US dollars, and the card in {card.currency}", *at)
    elif meter.fact == "outcome" and meter.sum == "value_minor":
        if meter.where.get("currency") != (card.currency,):
            raise broken(
                "value_currency",
                f"values in other currencies can't be summed: say `where: {{currency: {card.currency}}}` in meter "
                f"{meter.name}",
                *at,
            )
    else:
        raise broken("value_meter", f"a percentage is of {UPSTREAM_COST} or of outcomes' value_minor", *at)


def check_plans(card: RateCard) -> None:
    """Raises the error of the first plan that names a price that is not there."""
    for name, plan in card.plans.items():
        for index, price in enumerate(plan.prices or ()):
            if price not in card.prices:
                sentence = f"{price!r} is no price of this card: {choices(card.prices)}"
                raise broken("unknown_price", sentence, "plans", name, "prices", index)
        for price in plan.included:
            has = card.prices if plan.prices is None else plan.prices
            if price not in has:
                sentence = f"{price!r} is no price of this plan: {choices(has)}"
                raise broken("unknown_price", sentence, "plans", name, "included", price)
            if not allows_included(kind := card.prices[price].model.type):
                sentence = f"{price} is a {kind} price, which has no allowance"
                raise broken("not_for_model", sentence, "plans", name, "included", price)


def check_experiments(card: RateCard) -> None:
    """Raises the error of the first experiment that names a plan that is not there, or shares its plan with another."""
    on: dict[str, str] = {}
    for name, experiment in card.experiments.items():
        if (other := on.setdefault(experiment.on, name)) != name:
            sentence = f"{other} is on plan {experiment.on} already: an account is in one experiment, not in two"
            raise broken("one_experiment_a_plan", sentence, "experiments", name, "on")
        named: list[tuple[tuple[str, ...], str]] = [(("on",), experiment.on)]
        named += [(("arms", arm, "plan"), given.plan) for arm, given in experiment.arms.items()]
        for path, plan in named:
            if plan not in card.plans:
                sentence = f"{plan!r} is no plan of this card: {choices(card.plans)}"
                raise broken("unknown_plan", sentence, "experiments", name, *path)
