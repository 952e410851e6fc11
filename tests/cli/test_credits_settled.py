"""Prepaid credits from a grant to what is left to pay: two real closes, their invoices, and what settles them.

A credit costs 0.01, a thousand tokens one credit, the platform 20.00 a month.

              tokens      credits   invoice                before    drawn     after   covered   to pay
acme  Nov     1,234,500   1,234.5   20.00 + 12.35 = 32.35  1,500   1,234.5     265.5     12.35    20.00
beta  Nov        40,000      40     20.00 +  0.40 = 20.40     30      30         0        0.30    20.10
acme  Dec     100,000 of November   20.00 +  1.00 = 21.00    265.5   100       165.5      1.00    20.00

12.345 is rounded to 12.35; with the late tokens November comes to 13.345, hence 13.35, of which 12.35 were billed.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_billing.rates.card import RateCard
from fleetmeter_billing.rates.store import Publisher, publish
from fleetmeter_doubles.billing_store import new_store
from fleetmeter_doubles.commands import run_command
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml
from fleetmeter_local import RunningClickHouse

pytestmark = pytest.mark.clickhouse

CARD = {
    "card": "prepaid",
    "currency": "EUR",
    "effective_from": "2026-01-01",
    "credits": {"unit": "credit", "amount": "0.01"},
    "meters": {"tokens": {"measure": "output_tokens"}},
    "prices": {
        "platform": {"label": "Platform", "model": {"type": "flat", "amount": "20"}},
        "tokens": {
            "label": "Tokens",
            "meter": "tokens",
            "model": {"type": "credits", "rates": [{"since": "2026-01-01", "per": 1000, "credits": 1}]},
        },
    },
}
ACCOUNTS = """
accounts:
  - {account: acme, currency: EUR, subscription: [{from: 2026-01-01, card: prepaid}]}
  - account: beta
    currency: EUR
    subscription: [{from: 2026-01-01, card: prepaid}, {from: 2026-12-01, status: cancelled}]
"""
KILLED_AFTER_THE_FIRST = """
import os, signal
from fleetmeter_jobs.cli import app, credits
settle = credits.settle
def once(*arguments, **options):
    settle(*arguments, **options)
    os.kill(os.getpid(), signal.SIGKILL)
credits.settle = once
app.run(["credits", "settle", "--period", "2026-11"])
"""


@pytest.fixture(scope="module")
def counted(clickhouse: RunningClickHouse) -> Iterator[CountedUsage]:
    with new_store(clickhouse) as store:
        publish(store.client, RateCard.model_validate(CARD), Publisher("test"), backdated=True)
        apply_yaml(store.client, ACCOUNTS)
        yield store


@pytest.fixture
def variables(counted: CountedUsage, clickhouse: RunningClickHouse) -> dict[str, str]:
    return {
        "clickhouse_url": clickhouse.url,
        "clickhouse_user": clickhouse.user,
        "clickhouse_password": clickhouse.password,
        "clickhouse_database": str(counted.client.database),
    }


def succeed(folder: Path, variables: dict[str, str], *arguments: str) -> Any:
    ended = run_command(*arguments, "--json", folder=folder, **variables)
    assert ended.code == 0, ended.err
    return ended.json


def test_from_a_grant_to_what_is_left_to_pay(counted: CountedUsage, variables: dict[str, str], tmp_path: Path) -> None:
    do = partial(succeed, tmp_path, variables)
    first = ("--from", "2026-11-01")
    do("credits", "grant", "acme", "1000", "--name", "p-1", *first, "--expires", "2027-01-01")
    do("credits", "grant", "acme", "500", "--name", "p-2", *first)
    do("credits", "grant", "beta", "30", "--name", "p-3", *first)
    counted.usage("acme", "2026-11-05 10:00:00", output_tokens=1_234_500)
    counted.usage("beta", "2026-11-05 10:00:00", output_tokens=40_000)
    counted.marker("2026-12-03 00:00:00")
    do("close", "--period", "2026-11", "--without-kafka")
    do("invoice", "make", "--period", "2026-11")
    unsettled = do("invoice", "show", "2026-11-000001")
    assert (unsettled["prepaid"], unsettled["total"]) == (None, "32.35")

    assert kill_after_the_first(tmp_path, variables) == -signal.SIGKILL
    assert prepaid(do("invoice", "show", "2026-11-000001")) == ("1500", "1234.5", "265.5", "12.35", "20.00")
    assert do("invoice", "show", "2026-11-000002")["prepaid"] is None
    once = do("credits", "settle", "--period", "2026-11")
    assert [(one["account"], one["covered"], one["total"], one["due"]) for one in once] == [
        ("acme", "12.35", "32.35", "20.00"),
        ("beta", "0.30", "20.40", "20.10"),
    ]
    assert do("credits", "settle", "--period", "2026-11") == once, "twice changes nothing"
    shown = do("credits", "show", "acme")
    assert [(one["grant"], Decimal(one["left"])) for one in shown["grants"]] == [("p-1", 0), ("p-2", Decimal("265.5"))]
    assert [one["invoice"] for one in shown["draws"]] == ["2026-11-000001"]
    assert prepaid(do("invoice", "show", "2026-11-000002")) == ("30", "30", "0", "0.30", "20.10")
    assert {**do("invoice", "show", "2026-11-000001"), "prepaid": None} == unsettled, "the invoice stays as it is"

    counted.usage("acme", "2026-11-06 10:00:00", output_tokens=100_000)
    counted.marker("2027-01-03 00:00:00")
    do("close", "--period", "2026-12", "--without-kafka")
    do("invoice", "make", "--period", "2026-12")
    do("credits", "settle", "--period", "2026-12")
    assert prepaid(do("invoice", "show", "2026-12-000001")) == ("265.5", "100", "165.5", "1.00", "20.00")
    assert prepaid(do("invoice", "show", "2026-11-000001"))[:3] == ("1500", "1234.5", "265.5"), "it says what was then"

    exported = partial(run_command, "invoice", "export", "2026-11-000001", folder=tmp_path, **variables)
    rows = list(csv.DictReader(exported("--format", "focus").out.splitlines()))
    assert [(row["ChargeCategory"], Decimal(row["BilledCost"])) for row in rows] == [
        ("Usage", Decimal("20.00")),
        ("Usage", Decimal("12.35")),
        ("Credit", Decimal("-12.35")),
    ]
    assert rows[2]["ChargeDescription"] == "Prepaid credits: 1234.5 of 1500 drawn, 265.5 left"
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", exported("--format", "html").out.partition("</style>")[2]))
    assert "Balance before this invoice 1,500 Drawn for this invoice 1,234.5 Balance after it 265.5" in page
    assert "Settled by credits -12.35 EUR To pay 20.00 EUR" in page
    text = run_command("invoice", "show", "2026-11-000001", folder=tmp_path, **variables).out
    assert "1,500 before, 1,234.5 drawn, 265.5 left; they settle 12.35, and 20.00 EUR are to pay" in text


def prepaid(document: dict[str, Any]) -> tuple[str, ...]:
    found = document["prepaid"]
    return tuple(found[name] for name in ("credits_before", "credits_drawn", "credits_after", "covered", "due"))


def kill_after_the_first(folder: Path, variables: dict[str, str]) -> int:
    """`credits settle` in a process that is killed when the first of two invoices is settled; its exit code."""
    own = {f"FLEETMETER_{name.upper()}": value for name, value in variables.items()}
    environment = {**os.environ, **own, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_THE_FIRST], env=environment, cwd=folder, timeout=60, check=False
    ).returncode
