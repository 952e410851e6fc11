"""Each example prices the simulated fleet: every meter measures something, and every price has a line in some plan.

Meters are evaluated here event by event, apart from the SQL that closes use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from fleetmeter_billing.examples import example_names, example_text
from fleetmeter_billing.rates.card import PublishedCard
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.meter import Meter
from fleetmeter_billing.rates.rating import rate_segment
from fleetmeter_billing.rates.usage import Group, MeteredUsage
from fleetmeter_doubles.spelled_cards import segment_of
from fleetmeter_producers.simulator import SimulationConfig, records
from fleetmeter_producers.simulator.planned import Planned
from fleetmeter_schemas.bands import CONTEXT_BAND, STEPS_BAND

END_US = 1_795_000_000_000_000


class Counted(NamedTuple):
    """An event as metering sees it."""

    account: str
    short: str
    values: dict[str, object]


@pytest.fixture(scope="module")
def fleet() -> list[Counted]:
    return list(_distinct(SimulationConfig(events=5_000, accounts=4, servers=12, bodies_per_server=16, seed=7)))


def _distinct(config: SimulationConfig) -> Iterator[Counted]:
    seen: set[int] = set()
    for record in records(config, END_US):
        for item in record.items:
            if isinstance(item, Planned) and item.number not in seen:
                seen.add(item.number)
                data = item.body.data
                bands = {band.name: band.label(data.get(band.of)) for band in (CONTEXT_BAND, STEPS_BAND)}
                own = {"requests": 1} if item.body.short == "generation" else {}
                yield Counted(item.account, item.body.short, {**data, **item.subjects.fields, **bands, **own})


def _measure(meter: Meter, event: Counted) -> int | str | None:
    """What an event adds to a meter: a number, a subject to count once, or nothing."""
    values = event.values
    if any(values.get(name, "") not in wanted for name, wanted in meter.where.items()):
        return None
    if not meter.include_estimated and values.get("usage_fidelity") == "estimated":
        return None
    if meter.measure is not None:
        if event.short != "generation":
            return None
        plus = sum(int(str(values.get(name, 0))) for name in (meter.measure, *meter.plus))
        return plus - sum(int(str(values.get(name, 0))) for name in meter.minus)
    kind = event.short if event.short in {"outcome", "job"} else values.get("kind")
    if event.short not in {"outcome", "job", "device_report"} or kind != meter.fact or values.get("reverses"):
        return None
    how, what = meter.aggregate
    if how == "sum":
        return int(str(values.get(what, 0)))
    return 1 if what == "events" else str(values[what])


def _usage(card: PublishedCard, fleet: list[Counted]) -> dict[str, list[MeteredUsage]]:
    """Usage by account."""
    sums: dict[tuple[str, str, Group], int] = defaultdict(int)
    subjects: set[tuple[str, str, Group, str]] = set()
    for name, meter in card.card.meters.items():
        for event in fleet:
            measured = _measure(meter, event)
            if measured is None:
                continue
            group = tuple((dimension, str(event.values.get(dimension, ""))) for dimension in meter.group_by)
            if isinstance(measured, int):
                sums[event.account, name, group] += measured
            elif (key := (event.account, name, group, measured)) not in subjects:
                subjects.add(key)
                sums[key[:3]] += 1
    found: dict[str, list[MeteredUsage]] = defaultdict(list)
    for (account, name, group), quantity in sums.items():
        found[account].append(MeteredUsage(name, group, quantity))
    return found


@pytest.mark.parametrize("name", example_names())
def test_an_example_prices_the_simulated_fleet(name: str, fleet: list[Counted]) -> None:
    card = parse_card(example_text(name))
    published = PublishedCard(
        card=card,
        version=1,
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
        published_by="test",
        content_hash=card.content_hash,
    )
    usage = _usage(published, fleet)
    measured = {one.meter for used in usage.values() for one in used if one.quantity > 0}
    assert measured == set(card.meters)
    priced = {
        line.price
        for plan in card.plans or ["default"]
        for used in usage.values()
        for line in rate_segment(published, segment_of(published, plan=plan, committed={"seats": 5}), used)
    }
    assert priced == set(card.prices)
