"""kill -9 of each process in turn while a fleet's events stream in: nothing is lost, nothing counted twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fleetmeter_producers.records import RecordSender
from fleetmeter_producers.simulator import Oracle, SimulationConfig, records
from fleetmeter_producers.simulator.oracle import write_oracle
from fleetmeter_producers.wire import micros_of
from stack_under_test import Commands, running_stack, wait_until

EVENTS_PER_S = 600
CONFIG = SimulationConfig(events=2_000_000, seed=5, wire_formats={"json": 3, "ndjson": 1, "array": 1, "arrow": 1})
"""More events than will be sent: the stream ends when the test has seen enough."""
SETTINGS = {
    "topic_partitions": "3",
    "flush_interval_s": "0.2",
    # Kafka takes a killed worker's partitions away after so long.
    "session_timeout_s": "6",
    "rebalance_limit_s": "5",
}


class Stream(threading.Thread):
    """A fleet that sends until it is told to stop, and then knows what must be counted."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="stream", daemon=True)
        self.address = bootstrap
        self._over = threading.Event()
        self.oracle = Oracle(CONFIG.events)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            sender = RecordSender(self.address, "fleetmeter.usage", self.oracle.acknowledge)
            for key, value, items in records(CONFIG, micros_of(datetime.now(UTC))):
                if self._over.is_set():
                    break
                sender.send(key, value, items)
                sender.pause(len(items) / EVENTS_PER_S)
            sender.finish()
        except BaseException as error:  # noqa: BLE001  (a thread's end is told to the test)
            self.error = error

    def flows(self) -> bool:
        """True; raises what ended the stream, if something did."""
        assert self.is_alive(), self.error
        return True

    def end(self) -> None:
        """Sends no more, and waits until the broker has acknowledged what was sent."""
        self._over.set()
        self.join(150)
        assert not self.is_alive(), "Kafka did not acknowledge in time"
        assert self.error is None, self.error


@pytest.fixture
def fleetmeter(tmp_path: Path) -> Iterator[Commands]:
    with running_stack(tmp_path / "data", workers=2, **SETTINGS) as commands:
        yield commands


def committed(fleetmeter: Commands) -> int:
    """Events in the ledger; -1 while ClickHouse does not answer."""
    counted = fleetmeter.run("status", "--json").json["counted"]
    return -1 if counted is None else int(counted["events_in"])


def is_new(fleetmeter: Commands, part: str, gone: int) -> bool:
    """Whether the part runs and is well again, as another process."""
    found = fleetmeter.run("status", "--json").json["parts"].get(part)
    return found is not None and found["ok"] and found["pid"] not in {None, gone}


@pytest.mark.timeout(420)
def test_every_process_may_be_killed_in_mid_stream(fleetmeter: Commands, tmp_path: Path) -> None:
    stream = Stream(fleetmeter("config")["kafka_bootstrap"]["value"])
    stream.start()
    wait_until(lambda: stream.flows() and committed(fleetmeter) > 0, "the first events are committed")
    for part in ("worker-1", "clickhouse", "kafka"):
        gone = fleetmeter.kill(part)
        wait_until(lambda part=part, gone=gone: is_new(fleetmeter, part, gone), f"{part} is started again", 120)
        before = committed(fleetmeter)
        wait_until(lambda before=before: committed(fleetmeter) > max(before, 0), f"counting goes on without {part}")
        assert stream.flows()
    stream.end()
    oracle = tmp_path / "oracle.json"
    write_oracle(oracle, stream.oracle.as_dict(complete=True))
    report = fleetmeter("reconcile", "--wait", "120", "--oracle", str(oracle))
    assert (report["lost"], report["double_counted"], report["pending"]) == (0, 0, 0)
    assert report["accepted"] == stream.oracle.accepted > 1_000
    assert report["duplicates"] == stream.oracle.duplicates > 0
    assert report["oracle"]["differences"] == []
    assert report["oracle"]["figures"] > 1_000
