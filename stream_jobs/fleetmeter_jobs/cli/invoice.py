"""`fleetmeter invoice`: make the invoices of a closed period, look at them, export them, and explain their lines."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from fleetmeter_billing.credits.prepaid import settled
from fleetmeter_billing.errors import UnknownInvoiceError
from fleetmeter_billing.invoices.as_csv import invoice_csv
from fleetmeter_billing.invoices.as_html import invoice_html
from fleetmeter_billing.invoices.document import as_document
from fleetmeter_billing.invoices.explain import explain_line
from fleetmeter_billing.invoices.focus import focus_csv
from fleetmeter_billing.invoices.invoice import Invoice
from fleetmeter_billing.invoices.making import read_material
from fleetmeter_billing.invoices.period_lines import CardOf
from fleetmeter_billing.invoices.raters import encoded_blocks
from fleetmeter_billing.invoices.store import (
    issued_hashes,
    list_invoices,
    read_invoice,
    read_invoices,
    write_block,
)
from fleetmeter_billing.periods.period import first_day_of
from fleetmeter_billing.rates.store import load_card

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect, connect_to_write
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.invoice_view import draw_explanation, draw_invoice, explanation_document
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress

app = command_app(help="Make, show, export and explain invoices of closed periods.")

ISSUER: Final = "fleetmeter"


class Format(StrEnum):
    """What an invoice can be exported as."""

    JSON = "json"
    CSV = "csv"
    HTML = "html"
    FOCUS = "focus"


Number = Annotated[str, typer.Argument(metavar="INVOICE", help="The invoice's number, such as 2026-11-000001.")]
Period = Annotated[str, typer.Option("--period", "-p", help="A closed period, such as 2026-11 or 2026-11-15.")]
OfPeriod = Annotated[str | None, typer.Option("--period", "-p", help="Only invoices of this period.")]
OfAccount = Annotated[str | None, typer.Option("--account", "-a", help="Only invoices of this account.")]
Issuer = Annotated[str, typer.Option("--issuer", help="Name of who sends the invoice.")]
Processes = Annotated[
    int | None,
    typer.Option(
        "--processes", min=1, help="How many processes rate side by side (default: one a core).", show_default=False
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="File, or folder for the pages of many; without, stdout.")
]


@app.command("make")
def make(
    period: Period,
    processes: Processes = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Make and store the invoices of a closed period. Repeating it, also after a kill, changes nothing.

    Example: fleetmeter invoice make --period 2026-11
    """
    settings = settings_of_stack(data_dir, setting)
    with connect_to_write(settings) as client:
        written, accounts = make_and_store(client, period, quiet=as_json, processes=processes or cores())
    if as_json:
        print_json({"period": period, "invoices": accounts, "written": written})
    else:
        before = f", {accounts - written:,} of them before" if accounts != written else ""
        console.print(f"Invoices of {period}: {accounts:,}{before}. See `fleetmeter invoice list --period {period}`.")


def make_and_store(client: Any, period: str, *, quiet: bool = False, processes: int = 1) -> tuple[int, int]:
    """Makes the invoices of a closed period; how many were new, and how many there are. Raises InvoiceError."""
    card_of = published(client)
    with _shown(quiet=quiet) as show:
        material = read_material(client, period, card_of, show)
        # What was read stays until the end; the garbage collector need not look through it again and again.
        gc.freeze()
        written, count, total = 0, 0, len(material.accounts)
        show("rating and writing", 0, total)
        try:
            for block in encoded_blocks(material, card_of, issued_hashes(client, period), processes):
                written += write_block(client, block)
                count += block.invoices
                show("rating and writing", count, total)
        finally:
            gc.unfreeze()
    return written, count


@app.command("list")
def list_(
    period: OfPeriod = None,
    account: OfAccount = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """List invoices with their totals, newest period first.

    Example: fleetmeter invoice list --period 2026-11
    """
    if period is not None:
        first_day_of(period)
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = list_invoices(client, period, account)
    if as_json:
        print_json(rows)
    elif not rows and account:
        console.print(f"No invoices of {account}{f' in {period}' if period else ''}: see `fleetmeter accounts list`.")
    elif not rows:
        name = period or "2026-11"
        console.print(f"No invoices. Close a period, then make them: fleetmeter invoice make --period {name}")
    else:
        columns = ("number", "account_id", "period", "lines", "charges", "corrections", "total", "currency")
        print_table(columns, [[row[name] for name in columns] for row in rows])


@app.command("show")
def show(number: Number, as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Show one invoice, as it was issued, and what prepaid credits settled of it.

    Example: fleetmeter invoice show 2026-11-000001
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        (invoice,) = settled(client, [read_invoice(client, number)])
    if as_json:
        print_json(as_document(invoice))
    else:
        console.print(draw_invoice(invoice))


@app.command("export")
def export(
    number: Annotated[str | None, typer.Argument(metavar="[INVOICE]", help="One invoice's number.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="What to write; --json says json.")] = Format.JSON,
    period: OfPeriod = None,
    account: OfAccount = None,
    output: Output = None,
    issuer: Issuer = ISSUER,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Export one invoice, or all of a period, as JSON (a document a line for many), CSV, HTML or FOCUS 1.2 rows.

    Example: fleetmeter invoice export --period 2026-11 --format focus --output focus.csv
    """
    form = Format.JSON if as_json else form
    if (number is None) == (period is None):
        raise CommandError("Name either one invoice or, with --period, a period.")
    if period is not None:
        first_day_of(period)
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        if number is not None:
            (invoice,) = settled(client, [read_invoice(client, number)])
            _write(output, _one(form, invoice, issuer))
            return
        found = read_invoices(client, period or "", [account] if account else [])
        invoices = settled(client, _some(found, period or "", account))
        if form is Format.HTML:
            _write_pages(output, invoices, issuer)
        else:
            _write(output, _many(form, invoices, issuer))


@app.command("explain")
def explain(
    number: Number,
    line: Annotated[int, typer.Argument(metavar="LINE", min=1, help="Number of the line.")],
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Walk from a line to its price, its rollup rows and the Kafka offsets behind them; exit 1 if they do not add up.

    Example: fleetmeter invoice explain 2026-11-000001 2
    """
    settings = settings_of_stack(data_dir, setting)
    with connect(settings, database=settings.clickhouse_database) as client:
        explanation = explain_line(client, read_invoice(client, number), line, published(client))
    if as_json:
        print_json(explanation_document(explanation))
    else:
        console.print(draw_explanation(explanation))
    if not explanation.ok:
        raise typer.Exit(Exit.NO)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def published(client: Any) -> CardOf:
    """Published cards, each read once."""
    return cache(partial(load_card, client))


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Progress with a bar."""
    with progress(quiet=quiet) as bar:
        task = bar.add_task("invoices", total=None, detail="")

        def tell(doing: str, done: int, total: int) -> None:
            bar.update(task, description=doing, completed=done, total=total, detail=f"{done:,} / {total:,}")

        yield tell


def _one(form: Format, invoice: Invoice, issuer: str) -> str:
    match form:
        case Format.JSON:
            return _json(invoice, indent=True)
        case Format.HTML:
            return invoice_html(invoice, issuer)
        case _:
            return _many(form, [invoice], issuer)


def _many(form: Format, invoices: Iterable[Invoice], issuer: str) -> str:
    match form:
        case Format.CSV:
            return invoice_csv(invoices)
        case Format.FOCUS:
            return focus_csv(invoices, issuer)
        case _:
            return "".join(_json(invoice, indent=False) for invoice in invoices)


def _json(invoice: Invoice, *, indent: bool) -> str:
    option = orjson.OPT_APPEND_NEWLINE | (orjson.OPT_INDENT_2 if indent else 0)
    return orjson.dumps(as_document(invoice), option=option).decode()


def _write(output: Path | None, text: str) -> None:
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


def _some(invoices: Iterator[Invoice], period: str, account: str | None) -> Iterator[Invoice]:
    """The invoices; an empty export would look like a period in which nobody paid. Raises UnknownInvoiceError."""
    first = next(invoices, None)
    if first is None:
        whose = f" for {account}" if account else ""
        raise UnknownInvoiceError(
            f"there are no invoices of {period}{whose}; `fleetmeter invoice list` shows those there are"
        )
    yield first
    yield from invoices


def _write_pages(output: Path | None, invoices: Iterable[Invoice], issuer: str) -> None:
    if output is None:
        raise CommandError("The pages of a period need a folder: --output invoices/")
    count = 0
    for count, invoice in enumerate(invoices, start=1):
        if count == 1:
            output.mkdir(parents=True, exist_ok=True)
        (output / f"{invoice.number}.html").write_text(invoice_html(invoice, issuer), encoding="utf-8")
    console.print(f"{count:,} pages in {output}")
