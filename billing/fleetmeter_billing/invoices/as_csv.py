"""Invoices as CSV, a row a line, for spreadsheets. Decimals are written in full; the amounts add up to the total."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

from fleetmeter_billing.invoices.document import plain
from fleetmeter_billing.invoices.invoice import Invoice

COLUMNS: Final = (
    "invoice",
    "account",
    "period",
    "line",
    "kind",
    "usage_period",
    "correction",
    "label",
    "price",
    "part",
    "meter",
    "group",
    "quantity",
    "unit",
    "exact",
    "amount",
    "currency",
    "card",
    "version",
    "plan",
    "start",
    "end",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def invoice_csv(invoices: Iterable[Invoice]) -> str:
    """All lines of all invoices, with a header."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for invoice in invoices:
        for line in invoice.lines:
            writer.writerow(
                (
                    invoice.number,
                    _text(invoice.account),
                    invoice.period,
                    line.number,
                    line.kind,
                    line.usage_period,
                    "yes" if line.correction else "no",
                    _text(line.label),
                    _text(line.price),
                    _text(line.part),
                    _text(line.meter or ""),
                    _text(", ".join(f"{name}={value}" for name, value in line.group)),
                    plain(line.quantity),
                    _text(line.unit),
                    plain(line.exact),
                    line.amount,
                    invoice.currency,
                    _text(line.card),
                    line.version,
                    _text(line.plan),
                    f"{line.span.start:%Y-%m-%dT%H:%M:%SZ}",
                    f"{line.span.end:%Y-%m-%dT%H:%M:%SZ}",
                )
            )
    return text.getvalue()


def _text(value: str) -> str:
    """Text that no spreadsheet takes for a formula: names come from producers, and files are opened by accountants."""
    return f"'{value}" if value.startswith(_FORMULA) else value
