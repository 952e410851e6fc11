"""What is worth a second look."""

from __future__ import annotations

from fleetmeter_billing.examples import example_names, example_text
from fleetmeter_billing.rates.loading import parse_card
from fleetmeter_billing.rates.remarks import remarks

CARD = """
card: cliffs
currency: EUR
effective_from: 2026-11-01
meters:
  used: {measure: requests}
  unused: {measure: requests}
prices:
  falling:
    label: F
    meter: used
    unit: requests
    per: 1000
    model: {type: volume, tiers: [{up_to: 1000, amount: 2, flat: 5}, {up_to: 5000, amount: 1.5}, {amount: 2}]}
  rising: {label: R, meter: used, model: {type: volume, tiers: [{up_to: 10, amount: 1}, {amount: 2}]}}
  graduated: {label: G, meter: used, model: {type: graduated, tiers: [{up_to: 10, amount: 2}, {amount: 1}]}}
  seats: {label: S, meter: used, model: {type: seat, mode: volume, tiers: [{up_to: 10, amount: 3}, {amount: 1}]}}
  levels: {label: L, meter: used, model: {type: capacity, levels: [{up_to: 10, amount: 50}, {amount: 40}]}}
"""


def test_bills_that_fall_and_meters_without_a_price_are_remarked() -> None:
    assert [(one.path, one.sentence.partition(":")[0]) for one in remarks(parse_card(CARD))] == [
        ("meters.unused", "no price uses this meter"),
        # 1000 x 2/1000 + 5 = 7, and 1000 x 1.5/1000 = 1.5
        ("prices.falling.model.tiers[0]", "the bill falls above 1,000 requests, from 7 to 1.5 EUR"),
        # 10 x 3 and 10 x 1
        ("prices.seats.model.tiers[0]", "the bill falls above 10, from 30 to 10 EUR"),
        ("prices.levels.model.levels[0]", "the level above 10 is cheaper"),
    ]


def test_the_examples_have_only_the_cliff_that_is_meant() -> None:
    found = [(name, one.path) for name in example_names() for one in remarks(parse_card(example_text(name)))]
    # 49 seats at 12 cost more than 50 at 10: a reason to take a seat more
    assert found == [("model_tiers", "prices.professional_seats.model.tiers[0]")]
