"""The demo's last screen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from fleetmeter_jobs.cli.demo_story import Story
from fleetmeter_jobs.cli.invoice_view import draw_explanation, draw_invoice
from fleetmeter_jobs.cli.output import section

BAR_WIDTH: Final = 24
INVOICE_LINES: Final = 6


def draw(story: Story, *, seconds: float) -> RenderableType:
    """All of it, from what was sent to where to look next. `seconds` is the whole run's time."""
    return Group(
        Text(),
        _flow(story),
        _verdict(story),
        *section("Where queries were answered", _answered(story)),
        *section("Parallel and sequential generation: cost follows steps, not tokens", _models(story)),
        *section("Largest accounts of the hour", _accounts(story)),
        *section("Refused, each with a sentence that says why", _refused(story)),
        *_bill(story),
        *section("Where to look next", _next(seconds)),
    )


def _flow(story: Story) -> RenderableType:
    sent, total = story.summary, story.report.total
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim")
    table.add_column()
    rows = {
        "sent": f"[bold]{sent.events_in:,}[/bold] events of a simulated fleet, {sent.value_bytes / 1e6:,.0f} MB: "
        f"{sent.duplicates:,} sent twice, {sent.late:,} late, {sent.rejected:,} broken, many out of order",
        "Kafka": f"[bold]{total.kafka_records:,}[/bold] records in {len(story.report.partitions)} partitions",
        "counted": f"[bold green]{total.accepted:,}[/bold green] accepted + [yellow]{total.duplicates:,}[/yellow] "
        f"duplicates + [red]{total.rejected:,}[/red] refused = {total.events_in:,}",
        "ClickHouse": f"[bold]{story.rollup_rows:,}[/bold] rollup rows by account, minute and dimensions, in "
        f"{story.commits:,} commits",
        "speed": f"[bold]{story.events_per_s:,.0f}[/bold] events/s from simulator to committed rollups "
        f"({story.workers} workers, everything on this machine, {story.counted_s:.1f} s)",
    }
    for name, words in rows.items():
        table.add_row(name, Text.from_markup(words))
    return table


def _verdict(story: Story) -> RenderableType:
    total, comparison = story.report.total, story.comparison
    colour = "green" if story.ok else "red"
    lines = [
        f"[bold]Reconciliation: {total.lost:,} lost / {total.double_counted:,} double-counted[/bold]"
        + (f" / {total.pending:,} not counted in time" if total.pending else "")
    ]
    if comparison.differences:
        lines += [f"{len(comparison.differences):,} of {comparison.figures:,} figures differ from the oracle:"]
        lines += [Text(each).markup for each in comparison.differences[:5]]
    else:
        lines += [f"all {comparison.figures:,} figures, of every account, model, mode, measure and minute, are right"]
    lines += [Text(problem).markup for each in story.report.partitions for problem in each.problems]
    return Padding(Panel(Text.from_markup("\n".join(lines)), border_style=colour, expand=False), (1, 0, 0, 0))


def _answered(story: Story) -> RenderableType:
    found = story.answered
    estimate = (
        f"{found.stayed_local:.1%} of what devices tried; reported as estimates: {found.on_devices_lower:,} to "
        f"{found.on_devices_upper:,}"
    )
    parts = {
        "devices": (found.on_devices, "green", estimate),
        "cloud": (found.in_cloud, "blue", f"{found.fallbacks:,} of them after a device had given up"),
        "own servers": (found.on_own_servers, "cyan", ""),
    }
    whole = sum(count for count, _, _ in parts.values()) or 1
    table = _table(("", "queries", "share", "", ""))
    for name, (count, colour, remark) in parts.items():
        if count:
            table.add_row(
                name, _number(count), f"{count / whole:.1%}", _bar(count / whole, colour), Text(remark, "dim")
            )
    return table


def _models(story: Story) -> RenderableType:
    """Steps are means over what reported them: absent is not zero. Quotients by tokens need that all reported."""
    columns = ("model", "mode", "where", "requests", "tokens each", "steps each", "steps / 100 tokens", "GFLOP / token")
    table = _table(columns)
    for row in story.by_model[:10]:
        table.add_row(
            row["model"],
            row["generation_mode"],
            row["placement"],
            _number(row["requests"]),
            _ratio(row["output_tokens"], row["requests"], 0),
            _ratio(row["denoising_steps"], row["denoising_steps_samples"], 1),
            _by_token(row, "denoising_steps", 100),
            _by_token(row, "matrix_gflop", 1),
        )
    return table


def _accounts(story: Story) -> RenderableType:
    measures = ("requests", "fallbacks", "input_tokens", "output_tokens", "denoising_steps")
    table = _table(("account", *(name.replace("_", " ") for name in measures), "GPU seconds"))
    for row in story.top_accounts:
        numbers = [_number(row[name]) for name in measures]
        table.add_row(row["account_id"], *numbers, _number(row["gpu_ms"] // 1000))
    return table


def _refused(story: Story) -> RenderableType:
    table = _table(("reason", "events", "for example"))
    for reason, count, sentence in story.refused:
        table.add_row(Text(reason, "red"), _number(count), Text(sentence, overflow="ellipsis", no_wrap=True))
    return table


def _bill(story: Story) -> Iterator[RenderableType]:
    """One invoice, and the walk from its largest line back to Kafka."""
    if story.bill is None:
        return
    explanation = story.bill.explanation
    title = f"One of {story.bill.invoices:,} invoices: tokens and denoising iterations, priced apart"
    yield from section(title, draw_invoice(explanation.invoice, INVOICE_LINES))
    line = f"fleetmeter invoice explain {explanation.invoice.number} {explanation.line.number}"
    yield from section(f"{line}: from the line back to Kafka", draw_explanation(explanation))


def _next(seconds: float) -> RenderableType:
    table = Table.grid(padding=(0, 3))
    table.add_column(style="bold")
    table.add_column(style="dim")
    table.add_row(
        "fleetmeter up --detach", "a stack that stays: then simulate, usage, query, quarantine, reconcile, down"
    )
    table.add_row("fleetmeter query", "the questions that data teams ask, with their SQL")
    table.add_row("fleetmeter rates example", "rate cards to begin with; then accounts, close and invoice")
    table.add_row("docs/architecture.md", "how it works, and why each step may be retried")
    table.add_row("docs/events.md", "what an event may say")
    return Group(table, Text(f"\nDone in {seconds:.0f} s; nothing is left running.", "dim"))


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        numeric = column not in {"", "model", "mode", "where", "account", "reason", "for example"}
        table.add_column(column, justify="right" if numeric else "left", no_wrap=index == 0)
    return table


def _bar(share: float, colour: str) -> Text:
    full = round(share * BAR_WIDTH)
    return Text("█" * full, colour) + Text("░" * (BAR_WIDTH - full), "dim")


def _number(value: Any) -> str:
    return f"{value:,}" if value else "-"


def _by_token(row: Mapping[str, Any], measure: str, tokens: int) -> str:
    all_reported = row[f"{measure}_samples"] == row["requests"]
    return _ratio(tokens * row[measure], row["output_tokens"], 1) if all_reported else "-"


def _ratio(above: int, below: int, digits: int) -> str:
    return f"{above / below:,.{digits}f}" if below else "-"
