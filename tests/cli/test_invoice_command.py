"""`fleetmeter invoice` without a store: what it writes, and where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import orjson
import pytest
from fleetmeter_billing.errors import PeriodError, UnknownInvoiceError
from fleetmeter_doubles.invoice_samples import every_kind
from fleetmeter_jobs.cli import invoice as commands
from typer.testing import CliRunner

INVOICE = every_kind()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """`run(*arguments)` with a store that holds one invoice."""

    def read_all(_client: object, period: str, _accounts: object) -> Iterator[Any]:
        return iter([INVOICE] if period == INVOICE.period else [])

    monkeypatch.setattr(commands, "connect", lambda *_arguments, **_options: nullcontext())
    monkeypatch.setattr(commands, "read_invoice", lambda _client, _number: INVOICE)
    monkeypatch.setattr(commands, "read_invoices", read_all)
    monkeypatch.setattr(commands, "settled", lambda _client, invoices: invoices)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(commands.app, list(arguments), catch_exceptions=False)


def test_show_prints_lines_that_add_up(run: Any) -> None:
    shown = run("show", INVOICE.number).stdout
    assert "Output tokens (llada-8b-instruct, diffusion)" in shown
    assert "charges 264.84 + corrections 0.32 = 265.16 EUR" in shown
    assert orjson.loads(run("show", INVOICE.number, "--json").stdout)["total"] == "265.16"


@pytest.mark.parametrize(
    ("form", "begins"),
    [("json", "{\n"), ("csv", "invoice,account,"), ("html", "<!doctype html>"), ("focus", "BilledCost,")],
)
def test_one_invoice_is_exported_to_stdout_or_a_file(run: Any, tmp_path: Path, form: str, begins: str) -> None:
    text = run("export", INVOICE.number, "--format", form, "--issuer", "Parallel Inc.").stdout
    assert text.startswith(begins)
    file = tmp_path / "invoice"
    run("export", INVOICE.number, "--format", form, "--issuer", "Parallel Inc.", "--output", str(file))
    assert file.read_text("utf-8") == text


def test_a_period_is_exported_as_a_document_a_line_or_a_page_each(run: Any, tmp_path: Path) -> None:
    (document,) = run("export", "--period", "2026-11").stdout.splitlines()
    assert orjson.loads(document)["number"] == INVOICE.number
    run("export", "--period", "2026-11", "--format", "html", "--output", str(tmp_path / "pages"))
    assert [page.name for page in (tmp_path / "pages").iterdir()] == ["2026-11-000001.html"]
    for form in ("json", "csv", "focus", "html"):
        with pytest.raises(UnknownInvoiceError, match="there are no invoices of 2026-10"):
            run("export", "--period", "2026-10", "--format", form, "--output", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    with pytest.raises(PeriodError, match="'2026-13' is no billing period"):
        run("export", "--period", "2026-13")


def test_export_wants_an_invoice_or_a_period(run: Any) -> None:
    with pytest.raises(commands.CommandError, match="Name either one invoice or"):
        run("export")
    with pytest.raises(commands.CommandError, match="need a folder"):
        run("export", "--period", "2026-11", "--format", "html")
