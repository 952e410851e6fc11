"""Invoices as JSON, CSV and HTML: what stands in them, that they add up, and that nothing gets in by a name."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files

import jsonschema
import orjson
import pytest
from fleetmeter_billing.errors import InvoiceError, UnknownInvoiceError
from fleetmeter_billing.invoices.as_csv import invoice_csv
from fleetmeter_billing.invoices.as_html import invoice_html
from fleetmeter_billing.invoices.document import as_document, content_hash, encode, from_document, head_document, plain
from fleetmeter_billing.invoices.invoice import Prepaid, Span
from fleetmeter_billing.invoices.store import encode_block
from fleetmeter_doubles.invoice_samples import every_kind, line

INVOICE = every_kind()


def test_totals_are_sums_of_the_lines_as_printed() -> None:
    """99.00 + 120.77 + 24.69 + 33.33 + 22.21 - 30.00 - 5.00 - 0.16 = 264.84, and 0.32 for October."""
    assert (str(INVOICE.charges), str(INVOICE.corrections), str(INVOICE.total)) == ("264.84", "0.32", "265.16")


def test_an_invoice_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(InvoiceError, match=r"line 3 stands at place 1"):
        replace(INVOICE, lines=INVOICE.lines[2:])
    with pytest.raises(InvoiceError, match=r"line 1: 0\.125 has more digits than EUR has"):
        replace(INVOICE, lines=(line(1, "usage", "Tokens", "1", "tokens", "0.125"),))
    with pytest.raises(UnknownInvoiceError, match="has lines 1 to 9, and no line 10"):
        INVOICE.line(10)


def test_the_document_keeps_its_schema_and_comes_back_as_it_was() -> None:
    document = orjson.loads(encode(as_document(INVOICE)))
    schema = orjson.loads((files("fleetmeter_billing.invoices") / "invoice.schema.json").read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert set(schema["required"]) == set(document)
    assert set(schema["$defs"]["line"]["required"]) == set(document["lines"][0])
    assert from_document(document) == INVOICE
    settled = replace(INVOICE, prepaid=Prepaid(Decimal("1500"), Decimal("1234.50"), Decimal("12.35")))
    document = orjson.loads(encode(as_document(settled)))
    jsonschema.validate(document, schema)
    assert from_document(document) == settled
    assert encode(head_document(settled)) == encode(head_document(INVOICE)), "what is stored and hashed stays"
    assert document["lines"][1]["tiers"][2] == {
        "up_to": None,
        "quantity": "2345678",
        "unit_amount": "8",
        "flat": "0",
        "amount": "18.765424",
    }
    assert document["value"]["saved"] == "1523.06"  # 1787.90 - 264.84


@pytest.mark.parametrize(
    ("value", "text"),
    [("1.50", "1.5"), ("1E+3", "1000"), ("-0", "0"), ("0.000", "0"), ("100", "100"), ("1E-9", "0.000000001")],
)
def test_decimals_are_written_without_exponents(value: str, text: str) -> None:
    assert plain(Decimal(value)) == text


def test_a_quantity_of_many_digits_can_be_stored() -> None:
    third = replace(every_kind().lines[2], number=1, quantity=Decimal("12345678901234567.333333333333333333"))
    assert encode_block([replace(every_kind(), lines=(third,))], {}).new == 1


def test_the_hash_tells_where_one_document_ends() -> None:
    assert content_hash(b"a", [b"b", b"c"]) != content_hash(b"a", [b"bc"])


def test_csv_has_a_row_a_line_and_adds_up() -> None:
    rows = list(csv.DictReader(io.StringIO(invoice_csv([INVOICE]))))
    assert sum(Decimal(row["amount"]) for row in rows) == INVOICE.total
    assert invoice_csv([INVOICE]).splitlines()[2] == (
        '2026-11-000001,acme,2026-11,2,usage,2026-11,no,Output tokens,output,,tokens,"model=llada-8b-instruct, '
        'generation_mode=diffusion",12345678,tokens,120.765424,120.77,EUR,standard,3,pro,2026-11-01T00:00:00Z,'
        "2026-12-01T00:00:00Z"
    )


def test_no_spreadsheet_takes_a_name_for_a_formula() -> None:
    rows = csv.DictReader(io.StringIO(invoice_csv([replace(INVOICE, account='=HYPERLINK("http://x")')])))
    assert next(rows)["account"] == '\'=HYPERLINK("http://x")'


def test_the_page_shows_every_line_and_needs_nothing_else() -> None:
    page = invoice_html(INVOICE, "Parallel Inc.")
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))
    assert "Invoice 2026-11-000001" in text
    assert "Total 265.16 EUR" in text
    assert "1 November 2026 to 30 November 2026" in text
    assert "2 Output tokens llada-8b-instruct diffusion 12,345,678 tokens 120.77" in text
    assert "3 Denoising steps 98,765 steps 0.25 per 1,000 24.69" in text
    assert "Sum of corrections for 2026-10 0.32" in text
    assert "At least 900,000 of 1,000,000 queries" in text
    assert "1,523.06 EUR less" in text
    assert not re.search(r"<script|<link|src=|url\(|https?:", page)


def test_the_last_day_is_the_one_before_a_day_that_begins_at_one() -> None:
    # Cairo, 2026-04-24: 00:00 becomes 01:00 at 2026-04-23T22:00Z.
    part = Span(datetime(2026, 3, 31, 22, tzinfo=UTC), datetime(2026, 4, 23, 22, tzinfo=UTC))
    page = invoice_html(replace(INVOICE, span=part, time_zone="Africa/Cairo"), "P")
    assert "1 April 2026 to 23 April 2026" in page


def test_the_page_says_so_if_the_cloud_alone_were_cheaper() -> None:
    assert INVOICE.value is not None
    page = invoice_html(replace(INVOICE, value=replace(INVOICE.value, all_cloud=Decimal("200.00"))), "P")
    assert re.search(r"<strong>64\.84 EUR</strong>\s+more", page)


def test_the_page_escapes_what_came_from_outside() -> None:
    nasty = replace(INVOICE.lines[0], label="<script>alert(1)</script>", group=(("model", "<b>"),))
    page = invoice_html(replace(INVOICE, account_name="A & <i>B", lines=(nasty,)), "<Issuer>")
    assert "<script" not in page
    assert "A &amp; &lt;i&gt;B" in page
    assert "&lt;Issuer&gt;" in page


def test_a_page_without_lines_says_so() -> None:
    page = invoice_html(replace(INVOICE, lines=(), value=None), "P")
    assert "Nothing was used in this period" in page
