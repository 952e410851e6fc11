"""docs/operations.md names what exists: states, metrics, settings, commands, alerts, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fleetmeter_jobs.audit import CHECKS
from fleetmeter_jobs.cli.app import COMMANDS
from fleetmeter_jobs.metrics import WORKER_STATES, Metrics
from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.settings import Settings
from prometheus_client.exposition import generate_latest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
NO_STATE_OF_A_WORKER = "waiting"
"""Shown by the metric while something is waited for; health says `starting`, with the error."""


def test_every_state_is_explained() -> None:
    for state in {*(one.value for one in State), *WORKER_STATES} - {NO_STATE_OF_A_WORKER}:
        assert re.search(rf"^\| `{state}` \|", PAGE, re.MULTILINE), state
    assert "| `waiting` |" in PAGE


def test_metrics_exist() -> None:
    metrics = Metrics()
    metrics.watch(lambda: {0: PartitionStatus()}, lambda: "counting")
    exposed = set(re.findall(r"^# TYPE (fleetmeter_\w+) ", generate_latest(metrics.registry).decode(), re.MULTILINE))
    named = set(re.findall(r"\bfleetmeter_[a-z_]+", PAGE))
    assert named
    assert named <= exposed


def test_settings_exist() -> None:
    named = set(re.findall(r"\bFLEETMETER_[A-Z_]+", PAGE))
    assert named
    assert named <= {f"FLEETMETER_{name.upper()}" for name in Settings.model_fields}
    for name in ("inbox_limit_bytes", "recheck_interval_s", "retry_wait_limit_s", "shutdown_limit_s", "group_instance"):
        assert f"`{name}`" in PAGE
        assert name in Settings.model_fields


def test_commands_and_checks_exist() -> None:
    commands = set(re.findall(r"`?\bfleetmeter ([a-z-]+)", PAGE))
    assert {"audit", "positions", "migrate", "rebuild", "reconcile", "quarantine"} <= commands
    assert commands <= set(COMMANDS)
    checks = set(re.findall(r"audit --only ([a-z]+)", PAGE))
    assert checks
    assert checks <= set(CHECKS)


def test_the_alerts_are_those_of_the_file() -> None:
    rules = set(re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()))
    table = PAGE[PAGE.index("## Alerts") :]
    assert set(re.findall(r"`(Fleetmeter\w+)`", table)) == rules


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)", PAGE))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / "docs" / target).resolve().exists()
