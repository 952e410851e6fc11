"""Invoices and the explanations of their lines, as tables for people and as documents for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from fleetmeter_billing.invoices.document import line_document, plain
from fleetmeter_billing.invoices.explain import Explanation
from fleetmeter_billing.invoices.invoice import Invoice
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fleetmeter_jobs.cli.output import section, show


def draw_invoice(invoice: Invoice, most_lines: int | None = None) -> RenderableType:
    """The invoice's lines, or the first of them, and its totals."""
    table = _table(("#", "period", "line", "quantity", "unit", "amount"), numbers={"#", "quantity", "amount"})
    for line in invoice.lines[:most_lines]:
        group = f" ({', '.join(value or 'none' for _, value in line.group)})" if line.group else ""
        period = Text(line.usage_period, "yellow" if line.correction else "")
        table.add_row(str(line.number), period, line.label + group, show(line.quantity), line.unit, f"{line.amount:,}")
    first, last = invoice.span.local_days(ZoneInfo(invoice.time_zone))
    head = Text.assemble(
        (f"Invoice {invoice.number}", "bold"),
        f"  {invoice.account_name or invoice.account}, {first} to {last} ({invoice.time_zone})",
    )
    sums = Text(f"charges {invoice.charges:,} + corrections {invoice.corrections:,} = ")
    sums.append(f"{invoice.total:,} {invoice.currency}", "bold green")
    left = 0 if most_lines is None else len(invoice.lines) - most_lines
    parts: list[RenderableType] = [head, table, *([Text(f"and {left:,} more lines", "dim")] if left > 0 else []), sums]
    if prepaid := invoice.prepaid:
        parts.append(
            Text(
                f"prepaid credits: {show(prepaid.before)} before, {show(prepaid.drawn)} drawn, {show(prepaid.after)} "
                f"left; they settle {prepaid.covered:,}, and {invoice.due:,} {invoice.currency} are to pay"
            )
        )
    if value := invoice.value:
        queries = value.cloud_queries + value.local_queries
        parts.append(
            Text(
                f"At least {value.local_queries:,} of {queries:,} queries were answered locally. All in the cloud they "
                f"would have come to {value.all_cloud:,} {invoice.currency} at this period's average; "
                f"{value.paid:,} were charged.",
                "dim",
            )
        )
    return Group(*parts)


def draw_explanation(explanation: Explanation) -> RenderableType:
    """The walk from the line to Kafka, step by step."""
    return Group(*_steps(explanation))


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """The same for `--json`."""
    price, meter = explanation.price, explanation.meter
    return {
        "ok": explanation.ok,
        "invoice": explanation.invoice.number,
        "account": explanation.invoice.account,
        "currency": explanation.invoice.currency,
        "line": line_document(explanation.line),
        "card": {
            "card": explanation.card.card.card,
            "version": explanation.card.version,
            "content_hash": explanation.card.content_hash,
            "published_at": explanation.card.published_at,
            "published_by": explanation.card.published_by,
        },
        "price": None if price is None else price.model_dump(mode="json", exclude_defaults=True),
        "meter": None if meter is None else meter.model_dump(mode="json", exclude_defaults=True),
        "metered": explanation.metered,
        "frozen": [asdict(one) for one in explanation.frozen],
        "read": [
            dict(zip(("topic", "partition", "epoch", "from_offset", "to_offset"), one, strict=True))
            for one in explanation.read
        ],
        "rollups": [asdict(one) for one in explanation.sources],
        "facts": [asdict(one) for one in explanation.facts],
        "not_closed": explanation.not_closed,
        "checks": [asdict(one) for one in explanation.checks],
    }


def _steps(explanation: Explanation) -> Iterator[RenderableType]:
    line, invoice = explanation.line, explanation.invoice
    about = f"correction for {line.usage_period}" if line.correction else line.usage_period
    yield Text.assemble(
        (f"{invoice.number}, line {line.number}: {line.label}", "bold"),
        f" ({about})\n{plain(line.quantity)} {line.unit} = ",
        (f"{line.amount:,} {invoice.currency}", "bold green"),
        f"  (exactly {plain(line.exact)})",
    )
    yield from section(f"Price: {line.card} version {line.version}, {line.price or 'none'}", _price(explanation))
    if explanation.meter is not None:
        yield from section(f"Meter {explanation.meter.name} counted {explanation.metered:,}", _frozen(explanation))
    if explanation.sources:
        yield from section("Rollup rows of the ledger, by Kafka partition", _rollups(explanation))
    if explanation.facts:
        yield from section("Events", _facts(explanation))
    yield from section("Does it add up?", _checks(explanation))


def _price(explanation: Explanation) -> RenderableType:
    published = explanation.card
    sentences = [*explanation.line.explanation]
    sentences.append(f"published {published.published_at:%Y-%m-%d %H:%M} UTC by {published.published_by or 'somebody'}")
    return Text("\n".join(sentences))


def _frozen(explanation: Explanation) -> RenderableType:
    table = _table(("close", "period", "froze", ""), numbers={"close", "froze"})
    for one in explanation.frozen:
        mark = "in this line" if one.counts else "on another invoice"
        table.add_row(str(one.seq), one.period, f"{one.quantity:,}", Text(mark, "" if one.counts else "dim"))
    return table


def _rollups(explanation: Explanation) -> RenderableType:
    table = _table(
        ("topic", "partition", "offsets", "rows", "minutes (UTC)", "quantity"),
        numbers={"partition", "rows", "quantity"},
    )
    for one in explanation.sources:
        table.add_row(
            one.topic if not one.epoch else f"{one.topic} (epoch {one.epoch})",
            str(one.partition),
            f"{one.first_offset:,} to {one.next_offset - 1:,}",
            f"{one.rows:,}",
            f"{one.first_minute:%Y-%m-%d %H:%M} to {one.last_minute:%Y-%m-%d %H:%M}",
            f"{one.quantity:,}",
        )
    table.add_row("", "", "", "", "sum", Text(f"{sum(one.quantity for one in explanation.sources):,}", "bold"))
    if not explanation.line.correction:
        return table
    added = ", ".join(
        f"{topic}/{partition} {first:,} to {last - 1:,}" for topic, partition, _, first, last in explanation.read
    )
    return Group(table, Text(f"What the correction adds was read from these offsets: {added or 'none'}", "dim"))


def _facts(explanation: Explanation) -> RenderableType:
    table = _table(("topic", "partition", "offset", "event", "time (UTC)", ""), numbers={"partition", "offset"})
    for one in explanation.facts:
        table.add_row(
            one.topic,
            str(one.partition),
            f"{one.offset:,}" + (f".{one.event_index}" if one.event_index else ""),
            f"{one.source} {one.event_id}",
            f"{one.time:%Y-%m-%d %H:%M:%S}",
            one.what,
        )
    return table


def _checks(explanation: Explanation) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for one in explanation.checks:
        sign = Text("yes", "green") if one.ok else Text("NO", "bold red")
        table.add_row(
            sign, one.what, Text(f"{one.expected} = {one.found}" if one.ok else f"{one.expected} but {one.found}")
        )
    return table


def _table(columns: tuple[str, ...], *, numbers: set[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table
