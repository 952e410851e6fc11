"""flat, seat and capacity: amounts for a period, shortened by days where a segment is a part of it."""

from __future__ import annotations

from decimal import Decimal

from fleetmeter_billing.rates.drafts import Charging, Draft
from fleetmeter_billing.rates.lines import LineKind, TierCharge
from fleetmeter_billing.rates.price_models import Basis, Capacity, Flat, Level, Seat
from fleetmeter_billing.rates.tiers import ZERO, Charges, Step, graduated, volume
from fleetmeter_billing.rates.wording import show, tier_sentences, units


def flat(charging: Charging) -> list[Draft]:
    """One line of quantity 1; none if it depends on usage and there was none."""
    price, model = charging.price, charging.price.model
    if not isinstance(model, Flat):
        raise TypeError(f"{type(model).__name__} is no flat price")
    if model.when_used and not any(one.quantity for one in charging.of(price.meter)):
        return []
    exact = charging.fixed(model.amount)
    tiers = (TierCharge(None, Decimal(1), exact, ZERO, exact),)
    explanation = (f"{show(model.amount)} {charging.prepared.currency} a period{_days(charging)}",)
    unit = price.unit or "period"
    return [Draft("", price.label, price.meter, (), Decimal(1), unit, 1, tiers, exact, "fixed", explanation)]


def seat(charging: Charging) -> list[Draft]:
    """One line of seats, and one of those beyond the commitment if they have an amount."""
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, Seat):
        raise TypeError(f"{type(model).__name__} has no seats")
    counted, committed, basis = _basis(charging, model.basis, model.committed)
    unit = price.unit or "seat"
    # Seats are free whole; a segment's allowance is not shortened, since its amounts are.
    free = min(charging.prepared.included, Decimal(basis))
    charged = basis - free
    tiers, exact = _seats(charging, model, charged)
    drafts = []
    if basis:
        sentences = [_basis_sentence(model.basis, counted, committed, unit)]
        if free:
            sentences.append(f"{units(free, unit)} are included in the plan")
        sentences += tier_sentences(tiers, currency, 1, unit)
        if days := _days(charging):
            sentences.append(f"{show(exact)} {currency}{days}")
        kind: LineKind = "usage" if model.basis == "counted" else "fixed"
        drafts.append(
            Draft(
                *("", price.label, price.meter, (), Decimal(basis), unit, 1),
                *(tiers, charging.fixed(exact), kind, tuple(sentences)),
            )
        )
    if model.overage_amount is not None:
        drafts += _overage(charging, model.overage_amount, counted - committed, unit)
    return drafts


def _seats(charging: Charging, model: Seat, charged: Decimal) -> Charges:
    steps = charging.prepared.steps
    return volume(steps, charged) if model.mode == "volume" else graduated(steps, charged)


def capacity(charging: Charging) -> list[Draft]:
    """The level that covers the basis, and what goes beyond the commitment if that has an amount. A capacity of zero
    has no line."""
    price, model, currency = charging.price, charging.price.model, charging.prepared.currency
    if not isinstance(model, Capacity):
        raise TypeError(f"{type(model).__name__} has no capacity")
    counted, committed, basis = _basis(charging, model.basis, model.committed)
    unit = price.unit or "device"
    drafts = []
    if basis:
        level = level_of(model, basis)
        exact = charging.fixed(level.amount)
        bound = f"up to {units(level.up_to, unit)}" if level.up_to is not None else "without a bound"
        sentences = (
            _basis_sentence(model.basis, counted, committed, unit),
            f"the level {level.label or bound} is {show(level.amount)} {currency} a period{_days(charging)}",
        )
        tiers = (TierCharge(level.up_to, Decimal(1), exact, ZERO, exact),)
        kind: LineKind = "usage" if model.basis == "counted" else "fixed"
        drafts.append(
            Draft(
                *("", price.label, price.meter, (), Decimal(basis), unit, 1, tiers, exact),
                *(kind, sentences),
            )
        )
    if model.overage_amount is not None:
        drafts += _overage(charging, model.overage_amount, counted - committed, unit)
    return drafts


def level_of(model: Capacity, quantity: int) -> Level:
    """The lowest level whose bound is not below the quantity."""
    return next(level for level in model.levels if level.up_to is None or quantity <= level.up_to)


def _basis(charging: Charging, basis: Basis, committed_name: str) -> tuple[int, int, int]:
    """What was counted, what was committed to, and what is charged of both."""
    counted = max(0, sum(one.quantity for one in charging.of(charging.price.meter)))
    committed = charging.segment.committed.get(committed_name, 0)
    return counted, committed, {"counted": counted, "committed": committed, "larger": max(counted, committed)}[basis]


def _overage(charging: Charging, amount: Decimal, beyond: int, unit: str) -> list[Draft]:
    if beyond <= 0:
        return []
    price, currency = charging.price, charging.prepared.currency
    tiers, whole = graduated((Step(None, amount, amount, ZERO),), Decimal(beyond))
    sentences = (f"{units(beyond, unit)} beyond the commitment", *tier_sentences(tiers, currency, 1, unit))
    if days := _days(charging):
        sentences = (*sentences, f"{show(whole)} {currency}{days}")
    return [
        Draft(
            *("overage", f"{price.label}: beyond the commitment", price.meter, (), Decimal(beyond), unit, 1),
            *(tiers, charging.fixed(whole), "usage", sentences),
        )
    ]


def _basis_sentence(basis: Basis, counted: int, committed: int, unit: str) -> str:
    if basis == "counted":
        return f"{units(counted, unit)} counted"
    return f"{units(counted, unit)} counted, {show(committed)} committed to; the {basis} number is charged"


def _days(charging: Charging) -> str:
    if charging.whole or charging.price.proration.fixed == "none":
        return ""
    return f", for {charging.segment.days} of {charging.segment.period_days} days"
