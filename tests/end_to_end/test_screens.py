"""What the commands show to people, on a fleet's events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stack_under_test import Commands, Ran, running_stack

EVENTS = 4_000


@dataclass(frozen=True)
class Fleet:
    """A stack that has counted a simulated fleet, and what must have been counted."""

    fleetmeter: Commands
    oracle_file: Path
    sent: Ran

    @property
    def oracle(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.oracle_file.read_text(encoding="utf-8"))
        return found

    def shown(self, *arguments: str) -> str:
        """What a command that must succeed shows."""
        ran = self.fleetmeter.run(*arguments)
        assert ran.code == 0, ran.err
        return ran.out


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("screens")
    with running_stack(folder / "data", workers=1, flush_interval_s="0.2") as fleetmeter:
        oracle = folder / "oracle.json"
        sent = fleetmeter.run(
            "simulate", "--events", str(EVENTS), "--seed", "3", "--formats", "json=2,ndjson", "--oracle", str(oracle)
        )
        assert sent.code == 0, sent.err
        yield Fleet(fleetmeter, oracle, sent)


def test_simulate_says_what_was_sent_and_what_must_come_out(fleet: Fleet) -> None:
    counts = fleet.oracle["counts"]
    assert f"Sent {EVENTS:,} events" in fleet.sent.out
    assert f"{counts['accepted']:,} must be counted" in fleet.sent.out
    assert "fleetmeter reconcile" in fleet.sent.out


def test_reconcile_shows_a_row_a_partition_and_the_verdict(fleet: Fleet) -> None:
    screen = fleet.shown("reconcile", "--wait", "60", "--oracle", str(fleet.oracle_file))
    assert [f"fleetmeter.usage/{partition}" in screen for partition in range(4)] == [True] * 4
    assert "Reconciled: 0 lost / 0 double-counted." in screen
    assert "figures of the oracle are met" in screen


def test_reconcile_fails_where_the_oracle_says_otherwise(fleet: Fleet, tmp_path: Path) -> None:
    wrong = fleet.oracle
    row = wrong["usage"][0]
    row["requests" if "requests" in row else "fallbacks"] += 1
    wrong["counts"]["accepted"] += 1
    fact, subject = wrong["facts"][0], wrong["subjects"][0]
    fact["sums"]["invented"] = 7
    fact["events"] -= 1
    subject["distinct"] += 1
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(wrong))
    ran = fleet.fleetmeter.run("reconcile", "--wait", "60", "--oracle", str(path))
    assert ran.code == 1
    assert row["account_id"] in ran.out
    assert "totals / accepted" in ran.out
    assert f"facts / {fact['event_type']} / {fact['kind'] or '-'} / events: {fact['events'] + 1} found" in ran.out
    assert f"facts / {fact['event_type']} / {fact['kind'] or '-'} / invented: 0 found, must be 7" in ran.out
    assert f"distinct / {subject['account_id']} / {subject['subject_kind']}" in ran.out
    assert "Reconciled: 0 lost" in ran.out


def test_usage_is_a_table_with_the_sums_of_the_oracle(fleet: Fleet) -> None:
    fleet.shown("reconcile", "--wait", "60")
    account = max(fleet.oracle["usage"], key=lambda row: row.get("output_tokens", 0))["account_id"]
    rows = [row for row in fleet.oracle["usage"] if row["account_id"] == account]
    screen = fleet.shown("usage", "--by", "account_id", "--filter", f"account_id={account}")
    for measure in ("requests", "output_tokens", "denoising_steps"):
        assert f"{sum(row.get(measure, 0) for row in rows):,}" in screen
    assert "No usage in that time" in fleet.shown("usage", "--to", "now-2d")
    wrong = fleet.fleetmeter.run("usage", "--by", "acount_id")
    assert wrong.code == 2
    assert "account_id" in wrong.err


def test_every_named_query_runs_as_it_stands(fleet: Fleet) -> None:
    fleet.shown("reconcile", "--wait", "60")
    listed = fleet.shown("query")
    queries = fleet.fleetmeter("query")
    assert len(queries) > 5
    for query in queries:
        assert query["name"] in listed
        assert isinstance(fleet.fleetmeter("query", query["name"]), list)
    assert "llada-8b-instruct" in fleet.shown("query", "usage_by_account")
    assert "FROM usage_minutes" in fleet.shown("query", "usage_by_account", "--sql")
    assert "No rows" in fleet.shown("query", "usage_by_account", "--param", "account=nobody")
    unknown = fleet.fleetmeter.run("query", "usage_by_acount")
    assert unknown.code == 2
    assert "usage_by_account" in unknown.err
    assert fleet.fleetmeter.run("query", "usage_by_account", "--param", "from").code == 2


def test_quarantine_explains_and_shows_each_row(fleet: Fleet) -> None:
    fleet.shown("reconcile", "--wait", "60")
    screen = fleet.shown("quarantine", "list")
    for reason in fleet.oracle["rejected_by_reason"]:
        assert reason in screen
    row = fleet.fleetmeter("quarantine", "list", "--reason", "negative")["rows"][0]
    shown = fleet.shown("quarantine", "show", row["coordinates"])
    assert row["sentence"].split()[0] in shown
    raw = fleet.fleetmeter.run("quarantine", "show", row["coordinates"], "--raw")
    assert raw.out == row["payload"]
    partition, offset, _ = row["coordinates"].split("/")
    assert row["payload"].strip()[:40] in fleet.shown("events", "show", f"{partition}/{offset}")
    planned = fleet.fleetmeter.run("quarantine", "replay", row["coordinates"], "--dry-run")
    assert planned.code == 1
    assert "would be refused again" in planned.out
    assert fleet.fleetmeter.run("quarantine", "replay").code == 2
    assert fleet.fleetmeter.run("quarantine", "list", "--reason", "nonsense").code == 2


def test_status_shows_the_parts_and_the_totals(fleet: Fleet) -> None:
    fleet.shown("reconcile", "--wait", "60")
    screen = fleet.shown("status")
    for words in ("supervisor", "kafka", "clickhouse", "counting 4 partitions", f"{EVENTS:,} events"):
        assert words in screen
    assert "has this version's schema" in fleet.shown("migrate", "--check")
