"""kill -9 of each process in turn while a fleet's events stream in: nothing is lost, nothing counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from stack_under_test import Commands, running_stack, wait_until

EVENTS = 75_000
EVENTS_PER_S = 1_000
"""Slow enough for all three kills to fall into the stream."""
SETTINGS = {
    "topic_partitions": "3",
    "flush_interval_s": "0.2",
    # Kafka takes a killed worker's partitions away after so long.
    "session_timeout_s": "6",
    "rebalance_limit_s": "5",
}


@pytest.fixture
def fleetmeter(tmp_path: Path) -> Iterator[Commands]:
    with running_stack(tmp_path / "data", workers=2, **SETTINGS) as commands:
        yield commands


def committed(fleetmeter: Commands) -> int:
    """Events in the ledger; -1 while ClickHouse does not answer."""
    counted = fleetmeter.run("status", "--json").json["counted"]
    return -1 if counted is None else int(counted["events_in"])


def wait_for_progress(fleetmeter: Commands, what: str) -> None:
    before = committed(fleetmeter)
    wait_until(lambda: committed(fleetmeter) > max(before, 0), f"counting goes on after {what}")


def test_every_process_may_be_killed_in_mid_stream(fleetmeter: Commands, tmp_path: Path) -> None:
    oracle = tmp_path / "oracle.json"
    simulation = fleetmeter.start(
        "simulate", "--events", str(EVENTS), "--rate", str(EVENTS_PER_S), "--seed", "5", "--json",
        "--formats", "json=3,ndjson=1,array=1,arrow=1", "--oracle", str(oracle),
    )  # fmt: skip
    try:
        wait_until(lambda: committed(fleetmeter) > 0, "the first events are committed")
        for part in ("worker-1", "clickhouse", "kafka"):
            gone = fleetmeter.kill(part)
            assert simulation.poll() is None, "the events must still stream in when a process is killed"
            wait_until(lambda part=part, gone=gone: is_new(fleetmeter, part, gone), f"{part} is started again")
            wait_for_progress(fleetmeter, f"the kill of {part}")
        out, err = simulation.communicate(timeout=180)
    finally:
        if simulation.poll() is None:
            simulation.kill()
            simulation.communicate()
    assert simulation.returncode == 0, err
    assert out
    report = fleetmeter("reconcile", "--wait", "120", "--oracle", str(oracle))
    assert (report["lost"], report["double_counted"], report["pending"]) == (0, 0, 0)
    assert report["events_in"] == EVENTS
    assert report["oracle"]["differences"] == []
    assert report["oracle"]["figures"] > 1_000


def is_new(fleetmeter: Commands, part: str, gone: int) -> bool:
    """Whether the part runs and is well again, as another process."""
    found = fleetmeter.run("status", "--json").json["parts"].get(part)
    return found is not None and found["ok"] and found["pid"] not in {None, gone}
