"""An invoice as one HTML page that needs nothing else: for a browser, and to be printed on A4.

Every text on it that came from outside (names, labels, groups) is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined

from fleetmeter_billing.invoices.document import plain
from fleetmeter_billing.invoices.invoice import Invoice, InvoiceLine, Span, total_of


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    sum_label: str
    lines: tuple[InvoiceLine, ...]
    total: Decimal


def invoice_html(invoice: Invoice, issuer: str) -> str:
    """The page. `issuer` is the name of who sends the invoice."""
    zone = ZoneInfo(invoice.time_zone)
    value = invoice.value
    widest = max(value.paid, value.all_cloud, Decimal(1)) if value else Decimal(1)
    environment = _environment()
    return environment.get_template("invoice.html").render(
        invoice=invoice,
        issuer=issuer,
        first_day=_days(invoice.span, zone)[0],
        last_day=_days(invoice.span, zone)[1],
        days=lambda span: " to ".join(_days(span, zone)),
        cards=sorted({f"{line.card} version {line.version}" for line in invoice.lines}),
        sections=_sections(invoice),
        queries=value.cloud_queries + value.local_queries if value else 0,
        average=_significant(value.cloud_charges / value.cloud_queries) if value else Decimal(0),
        paid_percent=_percent(value.paid, widest) if value else 0,
        cloud_percent=_percent(value.all_cloud, widest) if value else 0,
        money=lambda amount: f"{amount:,} {invoice.currency}",
    )


def _sections(invoice: Invoice) -> list[_Section]:
    """The period itself first, then each earlier period that is corrected."""
    by_period: dict[tuple[bool, str], list[InvoiceLine]] = {}
    for line in invoice.lines:
        by_period.setdefault((line.correction, line.usage_period), []).append(line)
    return [
        _Section(
            f"Corrections for {period}" if correction else "Charges",
            f"Sum of corrections for {period}" if correction else "Sum of charges",
            tuple(lines),
            total_of(lines, invoice.currency),
        )
        for (correction, period), lines in sorted(by_period.items())
    ]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("fleetmeter_billing.invoices"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=_number, digits=_digits, day=_day)
    return environment


def _number(value: Decimal | int) -> str:
    whole, point, fraction = plain(Decimal(value)).partition(".")
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    return f"{sign}{int(whole):,}{point}{fraction}"


def _digits(amount: Decimal) -> str:
    return f"{amount:,}"


def _days(span: Span, zone: ZoneInfo) -> tuple[str, str]:
    """The first and the last local day of a span."""
    first, last = span.local_days(zone)
    return _day(first), _day(last)


def _significant(value: Decimal) -> Decimal:
    """Three digits that mean something, since the average query costs a fraction of a cent."""
    return Decimal(plain(Decimal(f"{value:.3g}")))


def _day(day: date) -> str:
    return f"{day.day} {day:%B %Y}"


def _percent(part: Decimal, whole: Decimal) -> int:
    return max(0, round(100 * part / whole))
