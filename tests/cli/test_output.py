"""How values are printed."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from unittest.mock import patch

import pytest
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress, show
from rich.console import Console


def test_numbers_beyond_64_bits_and_times_are_exact(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"sum": 2**70 + 1, "at": datetime(2026, 3, 1, 12, tzinfo=UTC), "path": Path("a/b"), "x": b"\xff"})
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"sum": 1180591620717411303425, "at": "2026-03-01T12:00:00.000000Z", "path": "a/b", "x": "\ufffd"}


def test_whoever_reads_a_pipe_has_a_document_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers print where they listen, and then stay."""
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(pipe)))  # type: ignore[arg-type]
    print_json({"url": "http://127.0.0.1:8091"})
    assert json.loads(pipe.getvalue()) == {"url": "http://127.0.0.1:8091"}


def test_a_value_without_a_json_form_is_a_defect() -> None:
    with pytest.raises(TypeError, match="object"):
        print_json({"x": object()})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ("", "-"),
        (1234567, "1,234,567"),
        (0.5, "0.5"),
        (12.0, "12"),
        (Decimal("1234.5000"), "1,234.5"),
        (True, "yes"),
        (datetime(2026, 3, 1, 12, 5, tzinfo=UTC), "2026-03-01 12:05:00"),
    ],
)
def test_what_people_read(value: object, shown: str) -> None:
    assert show(value) == shown


def test_text_in_a_table_is_not_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("account", "n"), [("[red]acct[/red]", 1)])
    assert "[red]acct[/red]" in capsys.readouterr().out


def test_nothing_that_is_printed_is_taken_for_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """A folder or an account may have any name; the last of these would end the command with a stack trace."""
    for words in ("Nothing runs in /data/[blue]/x.", "[/x] has no credits."):
        console.print(words)
        assert capsys.readouterr().out == f"{words}\n"


def test_what_a_progress_tells_is_not_taken_for_markup() -> None:
    screen = io.StringIO()
    with patch("fleetmeter_jobs.cli.output.notes", Console(file=screen, force_terminal=True, width=120)):
        with progress() as display:
            display.add_task("Sending [/x].csv", total=None, detail="[/127.0.0.1:9093] waits")
        assert "Sending [/x].csv" in screen.getvalue()
        assert "[/127.0.0.1:9093] waits" in screen.getvalue()
