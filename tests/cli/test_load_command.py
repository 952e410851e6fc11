"""`fleetmeter load`, as it is called."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_local import RunningKafka

Fleetmeter = Callable[..., Any]


@pytest.mark.kafka
def test_two_producers_deliver_what_they_emit(
    kafka: RunningKafka,
    make_topic: Callable[..., str],
    fleetmeter: Fleetmeter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    topic = make_topic(2)
    options = ("-s", f"kafka_bootstrap={kafka.bootstrap}", "-s", f"topic={topic}", "--json")
    ran = fleetmeter("load", "--rate", "400", "--duration", "1.5", "--producers", "2", "--batch", "ndjson", *options)
    report = ran.json
    assert (ran.code, report["ok"]) == (Exit.OK, True), ran.err
    # What a busy machine does not get done in time is not made up for: of 600 events it emits as many as it can.
    assert 0 < report["emitted"] <= 600
    assert (report["delivered"], report["left"], report["dropped"]) == (report["emitted"], 0, 0)
    assert (report["producers"], report["outbox"], report["batch"]) == (2, "spool", "ndjson")
    assert 0 < report["events_per_s"] <= 400
    times = report["emit_us"]
    assert 0 < times["p50"] <= times["p99"] <= times["p999"] <= times["most"]
    assert list(tmp_path.glob("fleetmeter-load-*")) == [], "made-up events stay nowhere"


@pytest.mark.kafka
def test_a_topic_that_does_not_exist_is_not_waited_for(
    kafka: RunningKafka, topic_name: str, fleetmeter: Fleetmeter
) -> None:
    ran = fleetmeter("load", "-s", f"kafka_bootstrap={kafka.bootstrap}", "-s", f"topic={topic_name}")
    assert ran.code == Exit.KAFKA
    assert f"has no topic {topic_name}" in ran.err
    assert topic_name not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=20).topics


@pytest.mark.parametrize(
    "bootstrap", ["kafka.example:9092", "127.0.0.1:9092,10.0.0.7:9092", "[2001:db8::1]:9092", "localhost.example:9092"]
)
def test_a_kafka_elsewhere_is_loaded_only_on_demand(bootstrap: str, fleetmeter: Fleetmeter) -> None:
    ran = fleetmeter("load", "-s", f"kafka_bootstrap={bootstrap}")
    assert ran.code == Exit.INPUT
    assert "is not on this machine" in ran.err
    assert "--remote" in ran.err


def test_what_can_t_be_is_named(fleetmeter: Fleetmeter) -> None:
    ran = fleetmeter("load", "--batch", "csv", "--rate", "0")
    assert ran.code == Exit.INPUT
    assert "batch: " in ran.err
    assert "events_per_s: " in ran.err
