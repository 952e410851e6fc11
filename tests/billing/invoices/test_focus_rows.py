"""FOCUS 1.2 rows by the specification's column rules, checked here without its validator (see `make test-focus`)."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any

import orjson
import pytest
from fleetmeter_billing.invoices.focus import COLUMNS, focus_csv
from fleetmeter_billing.invoices.invoice import Invoice, Prepaid
from fleetmeter_billing.invoices.period_lines import rate_period
from fleetmeter_billing.rates.lines import TierCharge
from fleetmeter_billing.rates.money import round_amount
from fleetmeter_doubles.invoice_samples import card, cards, every_kind, line, used
from hypothesis import given, settings
from hypothesis import strategies as st

MANDATORY = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
]
NEVER_NULL = set(MANDATORY) - {"ChargeClass", "PricingQuantity", "PricingUnit"} | {"ChargeFrequency", "InvoiceId"}
DECIMALS = [name for name in COLUMNS if name.endswith(("Cost", "Quantity", "UnitPrice"))]
NUMBER = re.compile(r"-?[0-9]+\.[0-9]+")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
UNIT = re.compile(r"([0-9]+ )?[A-Za-z][A-Za-z0-9]*( [A-Za-z][A-Za-z0-9]*)*")


def rows_of(*invoices: Invoice) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus_csv(invoices, "Parallel Inc."))))


def check(row: dict[str, str]) -> None:
    """The rules that concern one row."""
    assert all(row[name] for name in NEVER_NULL)
    assert all(NUMBER.fullmatch(row[name]) for name in DECIMALS if row[name])
    assert all(TIME.fullmatch(row[name]) for name in row if name.endswith(("PeriodStart", "PeriodEnd")))
    assert row["ChargeCategory"] in {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
    assert row["ChargeClass"] in {"", "Correction"}
    assert row["ChargeFrequency"] in {"One-Time", "Recurring", "Usage-Based"}
    assert bool(row["PricingQuantity"]) == bool(row["PricingUnit"])
    assert bool(row["ConsumedQuantity"]) == bool(row["ConsumedUnit"]) == (row["ChargeCategory"] == "Usage")
    assert all(UNIT.fullmatch(row[name]) for name in ("PricingUnit", "ConsumedUnit") if row[name])
    assert not row["SkuPriceDetails"] or isinstance(orjson.loads(row["SkuPriceDetails"]), dict)
    for unit_price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
        if row["ChargeCategory"] == "Usage" and row["ChargeClass"] != "Correction":
            assert Decimal(row[unit_price]) >= 0
            assert abs(Decimal(row[unit_price]) * Decimal(row["PricingQuantity"]) - Decimal(row[cost])) < Decimal(
                "1E-20"
            )
            assert row["SkuPriceId"].startswith(f"{row['SkuId']}/")
            assert row["PricingCategory"] == "Standard"
    assert bool(row["SkuId"]) == bool(row["SkuMeter"]) == bool(row["SkuPriceId"])
    if row["ChargeCategory"] in {"Credit", "Adjustment"}:
        assert row["ListCost"] == row["ContractedCost"] == row["BilledCost"]


def test_columns_are_named_as_the_specification_says() -> None:
    assert set(MANDATORY) <= set(COLUMNS)
    own = [name for name in COLUMNS if name.startswith("x_")]
    assert list(COLUMNS[-len(own) :]) == own, "columns of our own come last"
    assert all(re.fullmatch(r"(x_)?([A-Z][a-z]+)+", name) for name in COLUMNS)


def test_rows_of_every_kind_keep_the_rules_and_add_up() -> None:
    invoice = every_kind()
    rows = rows_of(invoice)
    for row in rows:
        check(row)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == invoice.total
    assert [(key, len(list(group))) for key, group in groupby(rows, key=lambda row: row["x_InvoiceLine"])] == [
        *(("1", 1), ("2", 3), ("3", 1), ("4", 1), ("5", 1), ("6", 1), ("7", 1), ("8", 1), ("9", 1))
    ]
    shown = [(row["ChargeCategory"], row["ChargeClass"], row["ChargeFrequency"]) for row in rows[4:]]
    assert shown == [
        ("Usage", "", "Usage-Based"),
        ("Usage", "", "Usage-Based"),
        ("Adjustment", "", "One-Time"),
        ("Credit", "", "One-Time"),
        ("Credit", "", "One-Time"),
        ("Adjustment", "", "One-Time"),
        ("Usage", "Correction", "Usage-Based"),
    ]
    assert (rows[-1]["ChargePeriodStart"], rows[-1]["BillingPeriodStart"]) == (
        "2026-10-01T00:00:00Z",
        "2026-11-01T00:00:00Z",
    )


def test_a_line_of_tiers_is_a_row_a_tier_and_rounding_falls_on_the_first() -> None:
    """120.77 is billed for 12 + 90 + 18.765424 = 120.765424, hence 0.004576 more on the first row."""
    first, second, third = (row for row in rows_of(every_kind()) if row["x_InvoiceLine"] == "2")
    shown = [
        (row["PricingQuantity"], row["ListUnitPrice"], row["ListCost"], row["BilledCost"])
        for row in (first, second, third)
    ]
    assert shown == [
        ("1000000.0", "0.000012", "12.0", "12.004576"),
        ("9000000.0", "0.00001", "90.0", "90.0"),
        ("2345678.0", "0.000008", "18.765424", "18.765424"),
    ]
    assert first["SkuPriceDetails"] == '{"x_model":"llada-8b-instruct","x_generation_mode":"diffusion"}'
    assert [row["SkuPriceId"][-2:] for row in (first, second, third)] == ["/1", "/2", "/3"]


def test_tiers_of_many_digits_are_a_row_each() -> None:
    """12,345,678,901,234,567 tokens at 0.012345678901234567, and 98,765,432,109,876,543 at 0.010987654321098765."""
    costs = ("152415787532388.345526596755677489", "1085200426897271.712372824259769395")
    tiers = [
        ("12345678901234567", "12345678901234567", "0.012345678901234567", "0", costs[0]),
        (None, "98765432109876543", "0.010987654321098765", "0", costs[1]),
    ]
    exact = "1237616214429660.057899421015446884"
    long = line(1, "usage", "Tokens", "111111111011111110", "tokens", "1237616214429660.06", exact=exact, tiers=tiers)
    rows = rows_of(replace(every_kind(), lines=(long,)))
    assert [row["PricingQuantity"] for row in rows] == ["12345678901234567.0", "98765432109876543.0"]


def test_costs_without_an_end_add_up_to_the_last_digit() -> None:
    third = "0." + "3" * 60
    tiers = [("1", "1", "100", "0", "100"), (None, third, "1", "0", third)]
    endless = line(1, "usage", "Work", "4000", "units", "100.33", exact="100." + "3" * 57, tiers=tiers)
    rows = rows_of(replace(every_kind(), lines=(endless,)))
    assert len(rows) == 2
    assert sum((Fraction(row["BilledCost"]) for row in rows), Fraction(0)) == Fraction("100.33")


def test_an_adjustment_that_no_price_fits_is_of_no_product() -> None:
    free = replace(line(1, "adjustment", "Outage", "-5", "downloads", "0.00"), price="", meter=None)
    (row,) = rows_of(replace(every_kind(), lines=(free,)))
    check(row)
    assert (row["SkuId"], row["BilledCost"], row["ChargeDescription"]) == ("", "0.0", "Outage")


def test_prepaid_credits_are_a_credit_and_leave_what_is_to_pay() -> None:
    """265.16 less 12.35 that 1,234.5 credits at 0.01 settled."""
    rows = rows_of(replace(every_kind(), prepaid=Prepaid(Decimal(1_500), Decimal("1234.5"), Decimal("12.35"))))
    for row in rows:
        check(row)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal("252.81")
    assert (rows[-1]["ChargeCategory"], rows[-1]["BilledCost"], rows[-1]["SkuId"]) == ("Credit", "-12.35", "")


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("tokens", "Tokens"),
        ("1M tokens", "N1M Tokens"),
        ("GPU-ms", "GPU Ms"),
        ("", "Units"),
        ("€", "Units"),
        ("1000 calls", "1000 Calls"),
    ],
)
def test_units_are_words(unit: str, written: str) -> None:
    base = line(1, "usage", "X", "5", unit, "1.00", tiers=[(None, "5", "0.2", "0", "1")])
    (row,) = rows_of(replace(every_kind(), lines=(base,)))
    assert row["PricingUnit"] == written
    check(row)


money = st.decimals(0, 10_000, places=4)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**9), money, money), max_size=4),
    st.sampled_from([0, 0, 1, -5]),
    st.integers(0, 99),
)
def test_whatever_the_tiers_rows_keep_the_rules_and_add_up(
    tiers: list[tuple[int, Decimal, Decimal]], off: int, free: int
) -> None:
    """`off` stands for caps and minimums, `free` for an allowance."""
    charges = tuple(
        TierCharge(None, Decimal(quantity), price, flat, quantity * price / 1000 + flat)
        for quantity, price, flat in tiers
    )
    exact = max(sum((one.amount for one in charges), Decimal(0)) + off, Decimal(0))
    quantity = Decimal(sum(quantity for quantity, _, _ in tiers) + free)
    base = line(
        1, "usage", "Tokens", str(quantity), "tokens", str(round_amount(exact, "EUR")), exact=str(exact), per=1000
    )
    invoice = replace(every_kind(), lines=(replace(base, tiers=charges),))
    rows = rows_of(invoice)
    for row in rows:
        check(row)
    assert sum(Decimal(row["BilledCost"]) for row in rows) == invoice.total
    assert sum(Decimal(row["ConsumedQuantity"]) for row in rows) == quantity


def test_packages_are_priced_by_the_package_and_consumed_by_the_unit() -> None:
    """2,500 requests are 3 packages of 1,000 at 4."""
    model: dict[str, Any] = {"type": "package", "amount": "4", "size": 1000}
    prices = {"p": {"label": "P", "meter": "tokens", "unit": "tokens", "model": model}}
    (placed,) = rate_period(used(tokens=2_500), cards(card(prices)))
    base = line(1, "usage", "P", "2500", "tokens", str(placed.rated.amount), exact="12")
    packed = replace(base, tiers=placed.rated.tiers, tier_unit="packages")
    (row,) = rows_of(replace(every_kind(), lines=(packed,)))
    assert (row["PricingQuantity"], row["PricingUnit"], row["ListUnitPrice"]) == ("3.0", "Packages", "4.0")
    assert (row["ConsumedQuantity"], row["ConsumedUnit"], row["BilledCost"]) == ("2500.0", "Tokens", "12.0")
