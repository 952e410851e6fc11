"""Invoices of closes, from counted usage to stored rows; figures computed by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from fleetmeter_billing.errors import InvoiceError, PeriodError, UnknownInvoiceError
from fleetmeter_billing.invoices.invoice import Invoice
from fleetmeter_billing.invoices.making import make_invoices, read_material
from fleetmeter_billing.invoices.store import list_invoices, read_invoice, read_invoices, write_invoices
from fleetmeter_billing.periods.close import CloseRules, close_period
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, card_version
from fleetmeter_doubles.invoice_samples import card, cards

pytestmark = pytest.mark.clickhouse

RULES = CloseRules(lateness_s=3600, by="test")
CARDS = cards(card())
ACCOUNTS = """
accounts:
  - {account: acme, name: Acme GmbH, currency: EUR, subscription: [{from: 2026-01-01, card: standard}]}
  - account: beta
    currency: EUR
    subscription: [{from: 2026-11-16, card: standard}, {from: 2026-12-01, status: cancelled}]
  - {account: idle, currency: EUR, subscription: []}
"""


def made(counted: CountedUsage, period: str) -> dict[str, Invoice]:
    invoices = list(make_invoices(read_material(counted.client, period, CARDS), CARDS))
    write_invoices(counted.client, period, invoices)
    return {one.account: one for one in invoices}


def close(counted: CountedUsage, period: str, watermark: str) -> None:
    counted.marker(watermark)
    close_period(counted.client, period, lambda: {"standard": [card_version()]}, RULES)


@pytest.fixture
def november(counted: CountedUsage) -> CountedUsage:
    apply_yaml(counted.client, ACCOUNTS)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=999_000, denoising_steps=98_765, placement="cloud")
    counted.usage("beta", "2026-11-20 10:00:00", output_tokens=500_000)
    counted.usage("beta", "2026-11-10 10:00:00", output_tokens=7)
    close(counted, "2026-11", "2026-12-01 02:00:00")
    return counted


def shown(invoice: Invoice) -> list[tuple[str, str, str]]:
    return [(one.usage_period, one.label, str(one.amount)) for one in invoice.lines]


def test_each_account_gets_an_invoice_for_what_its_subscription_covers(november: CountedUsage) -> None:
    """acme: 99, 0.999 x 12 = 11.988, 98.765 x 0.25 = 24.69125. beta, 15 of 30 days: 49.50, and 0.5 x 12."""
    invoices = made(november, "2026-11")
    assert {account: one.number for account, one in invoices.items()} == {
        "acme": "2026-11-000001",
        "beta": "2026-11-000002",
    }
    assert [str(one.amount) for one in invoices["acme"].lines] == ["99.00", "11.99", "24.69"]
    assert str(invoices["acme"].total) == "135.68"
    assert [str(one.amount) for one in invoices["beta"].lines] == ["49.50", "6.00"]
    assert invoices["beta"].lines[0].span.start.day == 16
    assert invoices["beta"].span.start.day == 1


def test_what_is_stored_comes_back_and_is_written_once(november: CountedUsage) -> None:
    invoices = made(november, "2026-11")
    client = november.client
    assert read_invoice(client, "2026-11-000001") == invoices["acme"]
    assert [one.account for one in read_invoices(client, "2026-11")] == ["acme", "beta"]
    assert [one.account for one in read_invoices(client, "2026-11", ["beta"])] == ["beta"]
    more_than_a_request_holds = [f"account-of-somebody-{number}" for number in range(60_000)]
    assert [one.account for one in read_invoices(client, "2026-11", [*more_than_a_request_holds, "beta"])] == ["beta"]
    assert write_invoices(client, "2026-11", invoices.values()) == 0
    ((count, total),) = client.query("SELECT count(), sum(amount) FROM billing_invoice_lines").result_rows
    assert (count, total) == (5, Decimal("191.1800"))
    heads = list_invoices(client, account="beta")
    assert [(one["number"], one["total"], one["lines"]) for one in heads] == [("2026-11-000002", Decimal("55.5000"), 2)]
    with pytest.raises(UnknownInvoiceError, match="there is no invoice 2026-11-000003"):
        read_invoice(client, "2026-11-000003")


def test_late_usage_becomes_a_correction_in_the_next_invoice(november: CountedUsage) -> None:
    """acme has 2,000 tokens more in November: 12 + 0.001 x 10 = 12.01, of which 11.99 were billed. beta, which is gone
    by then, gets an invoice with nothing but its correction: 0.6 x 12 - 6.00 = 1.20."""
    before = made(november, "2026-11")
    november.usage("acme", "2026-11-06 10:00:00", output_tokens=2_000)
    november.usage("beta", "2026-11-21 10:00:00", output_tokens=100_000)
    november.usage("acme", "2026-12-03 10:00:00", output_tokens=1_000_000)
    close(november, "2026-12", "2027-01-01 02:00:00")
    after = made(november, "2026-12")
    assert shown(after["acme"]) == [
        ("2026-12", "Platform fee", "99.00"),
        ("2026-12", "Output tokens", "12.00"),
        ("2026-11", "Output tokens", "0.02"),
    ]
    assert (str(after["acme"].charges), str(after["acme"].corrections)) == ("111.00", "0.02")
    assert shown(after["beta"]) == [("2026-11", "Output tokens", "1.20")]
    assert after["acme"].lines[2].quantity == 2_000
    assert made(november, "2026-11") == before, "invoices of an earlier close never change"


def test_an_adjustment_is_on_the_invoice_and_a_late_one_on_the_next(november: CountedUsage) -> None:
    """November's 999,000 tokens less 9,000: 0.99 x 12 = 11.88, hence 11.88 - 11.99."""
    reason = {"reason": "Outage", "meter": "output_tokens"}
    november.adjustment(
        "acme", "2026-12-04 10:00:00", "a1", effective_time="2026-11-05 00:00:00", quantity=-9_000, **reason
    )
    november.usage("acme", "2026-12-03 10:00:00", output_tokens=1_000_000)
    november.adjustment("acme", "2026-12-05 10:00:00", "a2", quantity=-500_000, **reason)
    close(november, "2026-12", "2027-01-01 02:00:00")
    assert shown(made(november, "2026-12")["acme"]) == [
        ("2026-12", "Platform fee", "99.00"),
        ("2026-12", "Output tokens", "12.00"),
        ("2026-12", "Outage", "-6.00"),
        ("2026-11", "Outage", "-0.11"),
    ]


def test_local_answers_are_valued_at_the_periods_average(counted: CountedUsage) -> None:
    """100 queries in the cloud cost 11.99 + 24.69 = 36.68; 900 more were answered locally, at least: 366.80 for all."""
    apply_yaml(counted.client, ACCOUNTS)
    counted.usage("acme", "2026-11-05 10:00:00", requests=100, output_tokens=999_000, denoising_steps=98_765)
    counted.usage("acme", "2026-11-05 10:01:00", requests=300, placement="device")
    counted.usage("acme", "2026-11-05 10:01:00", requests=50, placement="device", status="error")
    period = {"period_start": "2026-11-01 00:00:00", "period_end": "2026-11-08 00:00:00"}
    counted._side(
        "usage_estimates", "acme", "2026-11-08 00:00:00", "e1", {"queries": 700, "queries_lower": 600, **period}
    )
    close(counted, "2026-11", "2026-12-01 02:00:00")
    counted._side("usage_estimates", "acme", "2026-11-09 00:00:00", "e2", {"queries": 5_000, **period})
    value = made(counted, "2026-11")["acme"].value
    assert value is not None
    assert (value.cloud_queries, value.local_queries) == (100, 900)
    assert (str(value.paid), str(value.cloud_charges)) == ("135.68", "36.68")
    assert (str(value.all_cloud), str(value.saved)) == ("366.80", "231.12")


def test_a_period_that_is_not_closed_has_no_invoices(counted: CountedUsage) -> None:
    with pytest.raises(PeriodError, match="period 2026-11 is not closed; do it with: fleetmeter close"):
        read_material(counted.client, "2026-11", CARDS)
    with pytest.raises(PeriodError, match="'2026-13' is no billing period"):
        read_material(counted.client, "2026-13", CARDS)


def test_an_invoice_that_went_out_never_changes(november: CountedUsage) -> None:
    made(november, "2026-11")
    dearer = cards(card({"platform": {"label": "Fee", "model": {"type": "flat", "amount": "100"}}}))
    changed = make_invoices(read_material(november.client, "2026-11", dearer), dearer)
    with pytest.raises(InvoiceError, match="invoice 2026-11-000001 of acme was issued with another content"):
        write_invoices(november.client, "2026-11", changed)


def test_an_invoice_that_somebody_changed_is_not_read(november: CountedUsage) -> None:
    made(november, "2026-11")
    november.client.command("DELETE FROM billing_invoice_lines WHERE account_id = 'acme' AND line = 2")
    with pytest.raises(InvoiceError, match="is not as it was issued"):
        read_invoice(november.client, "2026-11-000001")
    assert read_invoice(november.client, "2026-11-000002").account == "beta"
