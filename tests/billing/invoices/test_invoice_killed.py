"""kill -9 at every step of writing invoices: whole invoices or none, and no invoice twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_billing.invoices.making import make_invoices, read_material
from fleetmeter_billing.invoices.store import list_invoices, read_invoices, write_invoices
from fleetmeter_billing.periods.close import CloseRules, close_period
from fleetmeter_doubles.counted_usage import CountedUsage, apply_yaml, card_version
from fleetmeter_doubles.invoice_samples import card, cards
from fleetmeter_local import RunningClickHouse

pytestmark = [pytest.mark.clickhouse, pytest.mark.long]

CARDS = cards(card())
ACCOUNTS = [f"a{number}" for number in range(5)]
TABLES = ("billing_invoices", "billing_invoice_lines")


def make(running: RunningClickHouse, database: str, point: str) -> int:
    user = f"{running.user}:{running.password}@" if running.user else ""
    url = f"http://{user}{running.host}:{running.port}"
    doubles = Path(__file__).resolve().parents[2] / "doubles"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(doubles)])}
    script = Path(__file__).with_name("make_invoices.py")
    return subprocess.run(
        [sys.executable, str(script), url, database, point], env=environment, timeout=60, check=False
    ).returncode


def stored(client: Any) -> list[list[Any]]:
    return [client.query(f"SELECT * FROM {table} FINAL ORDER BY ALL").result_rows for table in TABLES]


def test_a_kill_at_any_step_leaves_whole_invoices_and_repeating_it_completes_them(
    clickhouse: RunningClickHouse, counted: CountedUsage
) -> None:
    """Five invoices in blocks of two: each insert is a step, and the process is killed around all of them."""
    client = counted.client
    listed = "\n".join(
        f"  - {{account: {name}, currency: EUR, subscription: [{{from: 2026-01-01, card: standard}}]}}"
        for name in ACCOUNTS
    )
    apply_yaml(client, f"accounts:\n{listed}\n")
    for place, name in enumerate(ACCOUNTS):
        counted.usage(name, "2026-11-05 10:00:00", output_tokens=1_000_000 * place + 1)
    counted.marker("2026-12-01 02:00:00")
    close_period(client, "2026-11", lambda: {"standard": [card_version()]}, CloseRules(lateness_s=3600))
    wanted = list(make_invoices(read_material(client, "2026-11", CARDS), CARDS))
    write_invoices(client, "2026-11", wanted)
    straight = stored(client)
    for table in TABLES:
        client.command(f"TRUNCATE TABLE {table}")
    # Of the later runs each goes on behind what is complete: in the third that is nothing, in the fourth one block.
    for point, there in (("lines-1", 0), ("heads-1", 0), ("lines-2", 2), ("heads-2", 4), ("after-1", 5)):
        assert make(clickhouse, client.database, point) == -signal.SIGKILL
        complete = len(list_invoices(client))
        assert complete == there
        assert list(read_invoices(client, "2026-11")) == wanted[:complete], "none is half there"
    assert complete == len(ACCOUNTS)
    assert make(clickhouse, client.database, "") == 0
    assert stored(client) == straight
    assert list(read_invoices(client, "2026-11")) == wanted
