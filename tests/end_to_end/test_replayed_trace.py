"""A public trace through the whole pipeline: exact sums, and the same sums however often it is replayed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from stack_under_test import Commands, running_stack

pytestmark = pytest.mark.long


@dataclass(frozen=True)
class Sums:
    """What a trace file holds, by plain addition over its rows."""

    requests: int
    input_tokens: int
    output_tokens: int


@pytest.fixture(scope="module")
def sums(trace_file: Path) -> Sums:
    with trace_file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return Sums(
        len(rows), sum(int(row["ContextTokens"]) for row in rows), sum(int(row["GeneratedTokens"]) for row in rows)
    )


@pytest.fixture(scope="module")
def fleetmeter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with running_stack(tmp_path_factory.mktemp("trace") / "data", workers=2) as commands:
        yield commands


@pytest.fixture(scope="module")
def replay(fleetmeter: Commands, trace_file: Path) -> list[str]:
    """The arguments of one replay, the same each time."""
    end = datetime.now(UTC) - timedelta(minutes=1)
    return ["replay", str(trace_file), "--seed", "11", "--end", f"{end:%Y-%m-%dT%H:%M:%S.%fZ}"]


def counted(fleetmeter: Commands) -> Sums:
    rows = fleetmeter("usage", "--by", "")
    return Sums(*(rows[0][name] for name in ("requests", "input_tokens", "output_tokens")))


def reconciled(fleetmeter: Commands) -> dict[str, Any]:
    report: dict[str, Any] = fleetmeter("reconcile", "--wait", "90")
    assert report["ok"]
    assert (report["lost"], report["double_counted"], report["pending"]) == (0, 0, 0)
    assert report["kafka_records"] == report["offsets_span"] == report["offsets_committed"]
    return report


def test_a_replayed_trace_is_counted_exactly_once_however_often(
    fleetmeter: Commands, replay: list[str], sums: Sums
) -> None:
    sent = fleetmeter(*replay)
    assert Sums(sent["requests"], sent["input_tokens"], sent["output_tokens"]) == sums
    report = reconciled(fleetmeter)
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (sums.requests, 0, 0)
    assert counted(fleetmeter) == sums
    by_model = fleetmeter("usage", "--by", "account_id,model,generation_mode")
    assert sum(row["requests"] for row in by_model) == sums.requests
    assert len(by_model) > 1

    fleetmeter(*replay)
    report = reconciled(fleetmeter)
    assert (report["accepted"], report["duplicates"]) == (sums.requests, sums.requests)
    assert counted(fleetmeter) == sums

    fleetmeter("down")
    assert fleetmeter.run("status", "--json").code == 1
    fleetmeter("up", "--workers", "2", "--detach")
    assert counted(fleetmeter) == sums
    fleetmeter(*replay)
    report = reconciled(fleetmeter)
    assert (report["accepted"], report["duplicates"]) == (sums.requests, 2 * sums.requests)
    assert counted(fleetmeter) == sums


def test_a_trace_beyond_the_horizon_is_refused_and_not_lost(fleetmeter: Commands, trace_file: Path, sums: Sums) -> None:
    before, counted_before = reconciled(fleetmeter), counted_or_none(fleetmeter)
    fleetmeter("replay", str(trace_file), "--seed", "12", "--keep-times")
    after = reconciled(fleetmeter)
    assert after["rejected"] - before["rejected"] == sums.requests
    assert after["accepted"] == before["accepted"]
    assert counted_or_none(fleetmeter) == counted_before
    quarantine = fleetmeter("quarantine", "list", "--reason", "too_old")
    assert quarantine["reasons"]["too_old"]["rows"] == sums.requests
    assert "2023-11-16" in quarantine["rows"][0]["sentence"]


def counted_or_none(fleetmeter: Commands) -> Sums | None:
    """The sums; None while nothing was ever counted, since the tests may run alone."""
    return counted(fleetmeter) if fleetmeter("usage", "--by", "") else None
