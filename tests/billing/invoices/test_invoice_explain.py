"""From a line back to offsets: what is shown adds up, and the command says so where it does not."""

from __future__ import annotations

from typing import Any

import pytest
from fleetmeter_billing.invoices.explain import Explanation, explain_line
from fleetmeter_billing.invoices.making import make_invoices, read_material
from fleetmeter_billing.invoices.store import read_invoice, write_invoices
from fleetmeter_billing.periods.close import CloseRules, close_period
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, card_version
from fleetmeter_doubles.invoice_samples import card, cards

pytestmark = pytest.mark.clickhouse

METERS: dict[str, Any] = {
    "tokens": {
        "measure": "output_tokens",
        "where": {"placement": "cloud"},
        "group_by": ["generation_mode", "context_band"],
    },
    "work": {"measure": "matrix_gflop"},
    "seats": {"fact": "seat", "count": "user"},
    "users": {"distinct": "user"},
}
PRICES: dict[str, Any] = {
    "tokens": {
        "label": "Tokens",
        "meter": "tokens",
        "unit": "tokens",
        "per": 1_000,
        "lines_by": ["generation_mode"],
        "model": {"type": "unit", "amount": "0.5"},
        "rules": [
            {"name": "long", "when": {"context_band": ["128k-200k"]}, "model": {"type": "unit", "amount": "1"}},
        ],
    },
    "work": {
        "label": "Work",
        "meter": "work",
        "unit": "units",
        "model": {"type": "matrix_units", "amount": "0.01", "gflop_per_unit": 1500},
    },
    "seats": {"label": "Seats", "meter": "seats", "unit": "seats", "model": {"type": "seat", "amount": "10"}},
}
FIVE_THIRDS = f"1.{'6' * 58}7"
"""2,500 / 1,500, a quantity without an end."""
ACCOUNTS = """
accounts:
  - {account: acme, currency: EUR, subscription: [{from: 2026-01-01, card: standard}]}
"""
CARDS = cards(card(PRICES, meters=METERS))


def bill(counted: CountedUsage, period: str, watermark: str) -> str:
    counted.marker(watermark)
    rules = CloseRules(lateness_s=3600, by="test")
    close_period(counted.client, period, lambda: {"standard": [card_version()]}, rules)
    invoices = list(make_invoices(read_material(counted.client, period, CARDS), CARDS))
    write_invoices(counted.client, period, invoices)
    return invoices[0].number


def explained(counted: CountedUsage, number: str, line: int) -> Explanation:
    return explain_line(counted.client, read_invoice(counted.client, number), line, CARDS)


def november(counted: CountedUsage) -> str:
    apply_yaml(counted.client, ACCOUNTS)
    at, cloud = "2026-11-05 10:00:00", {"placement": "cloud", "context_band": "0-32k"}
    counted.usage("acme", at, output_tokens=700, first_offset=10, next_offset=12, **cloud)
    counted.usage("acme", at, output_tokens=300, first_offset=30, next_offset=31, partition=1, **cloud)
    counted.usage("acme", "2026-11-06 11:00:00", output_tokens=40, first_offset=55, next_offset=60, **cloud)
    counted.usage("acme", at, output_tokens=5_000, generation_mode="autoregressive", **cloud)
    counted.usage("acme", at, output_tokens=2_000, **{**cloud, "context_band": "128k-200k"})
    counted.usage("acme", at, output_tokens=9_999, placement="device")
    counted.usage("acme", at, matrix_gflop=2_500)
    counted.usage("acme", "2026-12-05 10:00:00", output_tokens=1, **cloud)
    seat = {"kind": "seat", "period_start": "2026-11-01 00:00:00", "period_end": "2026-11-30 00:00:00"}
    counted.fact("acme", "2026-11-30 00:00:00", "e1", user="u1", **seat)
    return bill(counted, "2026-11", "2026-12-01 02:00:00")


def labels(counted: CountedUsage, number: str) -> list[tuple[int, str, str, str]]:
    invoice = read_invoice(counted.client, number)
    return [(one.number, one.label, f"{one.quantity:f}", str(one.amount)) for one in invoice.lines]


def test_a_line_is_followed_to_partitions_and_offsets(counted: CountedUsage) -> None:
    number = november(counted)
    assert [(quantity, amount) for _, _, quantity, amount in labels(counted, number)] == [
        ("5000", "2.50"),
        ("1040", "0.52"),
        ("2000", "2.00"),
        (FIVE_THIRDS, "0.02"),
        ("1", "10.00"),
    ]
    found = explained(counted, number, 2)
    assert found.ok
    assert [
        (one.topic, one.partition, one.first_offset, one.next_offset, one.rows, one.quantity) for one in found.sources
    ] == [
        ("t", 0, 10, 60, 2, 740),
        ("t", 1, 30, 31, 1, 300),
    ]
    assert [(one.seq, one.quantity, one.counts) for one in found.frozen] == [(1, 1_040, True)]
    assert found.metered == 1_040
    assert found.not_closed == 0
    assert [(check.what, check.expected) for check in found.checks] == [
        ("rating what was frozen again gives the same line", "1,040 tokens: 0.52"),
        ("frozen usage adds up to the line's quantity", "1,040"),
        ("the ledger's rows add up to what was frozen", "1,040"),
    ]
    _others(counted, number)


def _others(counted: CountedUsage, number: str) -> None:
    """A rule's line has the usage of its rule alone; work is made of what its meter counts; seats lead to events."""
    rule, work, seats = (explained(counted, number, line) for line in (3, 4, 5))
    assert rule.ok
    assert (rule.line.part, rule.metered) == ("long", 2_000)
    assert work.ok
    assert (work.metered, f"{work.line.quantity:f}") == (2_500, FIVE_THIRDS)
    assert seats.ok
    assert [(one.topic, one.event_id, one.what) for one in seats.facts] == [("t", "e1", "seat")]
    assert seats.facts[0].offset >= 100


def test_a_correction_shows_what_its_close_added_and_where_it_was_read(counted: CountedUsage) -> None:
    first = november(counted)
    late = {"placement": "cloud", "context_band": "0-32k", "first_offset": 200, "next_offset": 201}
    counted.usage("acme", "2026-11-07 10:00:00", output_tokens=960, **late)
    waiting = explained(counted, first, 2)
    assert waiting.ok
    assert waiting.not_closed == 960
    second = bill(counted, "2026-12", "2027-01-01 02:00:00")
    place = next(
        number for number, *_ in labels(counted, second) if read_invoice(counted.client, second).line(number).correction
    )
    found = explained(counted, second, place)
    assert found.ok
    assert (found.line.usage_period, found.line.quantity, str(found.line.amount)) == ("2026-11", 960, "0.48")
    assert [(one.seq, one.quantity, one.counts) for one in found.frozen] == [(1, 1_040, False), (2, 960, True)]
    ((topic, partition, _, begin, end),) = found.read
    assert (topic, partition) == ("t", 0)
    assert 100 < begin < end
    again = explained(counted, first, 2)
    assert again.ok
    assert [one.counts for one in again.frozen] == [True, False]


def test_what_does_not_add_up_is_said(counted: CountedUsage) -> None:
    number = november(counted)
    counted.client.command("ALTER TABLE ledger DELETE WHERE partition = 1 SETTINGS mutations_sync = 2")
    found = explained(counted, number, 2)
    assert not found.ok
    assert [(one.expected, one.found) for one in found.checks if not one.ok] == [("1,040", "740")]
    counted.client.command("DELETE FROM billing_frozen_usage WHERE output_tokens = 1040")
    assert [one.ok for one in explained(counted, number, 2).checks] == [False, False, True]
