"""`fleetmeter demo`, small."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest
from stack_under_test import Commands

pytestmark = pytest.mark.long


def test_the_demo_reconciles_and_meets_its_oracle(tmp_path: Path) -> None:
    (tmp_path / "unused").mkdir()
    fleetmeter = Commands(tmp_path / "unused" / "data")
    focus = tmp_path / "focus.csv"
    story = fleetmeter("demo", "--events", "20000", "--workers", "1", "--focus", str(focus))
    assert story["ok"]
    sent, counted = story["sent"], story["reconciliation"]
    assert sent["events_in"] == 20_000
    for name in ("events_in", "accepted", "duplicates", "rejected"):
        assert counted[name] == sent[name]
    assert 0.025 < sent["duplicates"] / 20_000 < 0.035
    assert 0.008 < sent["rejected"] / 20_000 < 0.012
    assert (counted["lost"], counted["double_counted"], counted["pending"]) == (0, 0, 0)
    assert story["oracle"]["differences"] == []
    assert sum(each["events"] for each in story["refused"]) == sent["rejected"]
    bill = story["bill"]
    assert bill["invoices"] > 10
    rows = list(csv.DictReader(focus.read_text("utf-8").splitlines()))
    assert len({row["InvoiceId"] for row in rows}) == bill["invoices"]
    shown = sum(Decimal(row["BilledCost"]) for row in rows if row["InvoiceId"] == bill["number"])
    assert shown == Decimal(bill["total"])
    assert all(check["ok"] for check in bill["explanation"]["checks"])
    behind = sum(each["quantity"] for each in bill["explanation"]["rollups"])
    assert behind == bill["explanation"]["metered"] > 0
    assert not (tmp_path / "unused" / "data").exists(), "the demo keeps to its own folder"
