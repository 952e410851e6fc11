"""An engine of the stack that dies is started again, with patience."""

from __future__ import annotations

from pathlib import Path

import pytest
from fleetmeter_jobs.cli.stack import engines
from fleetmeter_jobs.cli.stack.engines import SupervisedEngine, stack_clickhouse, stack_kafka
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import LocalError, Prerequisite, RunningKafka


class Process:
    """An engine's process, as far as its owner sees it."""

    pid = None
    log_path = Path("kafka.log")

    def __init__(self) -> None:
        self.alive = True
        self.restarts = 0
        self.broken = False

    def is_alive(self) -> bool:
        return self.alive

    def stop(self, timeout_s: float) -> None:
        self.alive = False

    def kill(self) -> None:
        self.alive = False

    def restart(self) -> None:
        self.restarts += 1
        if self.broken:
            raise LocalError("the port is taken")
        self.alive = True


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_dead_engine_is_started_again_after_a_wait() -> None:
    process, clock = Process(), Clock()
    engine = SupervisedEngine("Kafka", RunningKafka("localhost:1", "local", process), clock)
    assert engine.tend() is None
    process.alive = False
    assert "starts again in 0.5 s" in (engine.tend() or "")
    assert engine.tend() is None
    assert process.restarts == 0
    clock.now += 0.5
    assert engine.tend() == "Kafka answers again"
    assert process.restarts == 1
    assert engine.tend() is None


def test_an_engine_that_does_not_come_back_is_tried_ever_more_slowly() -> None:
    process, clock = Process(), Clock()
    engine = SupervisedEngine("Kafka", RunningKafka("localhost:1", "local", process), clock)
    process.alive, process.broken = False, True
    waits = []
    for _ in range(4):
        waits.append(float((engine.tend() or "").split("again in ")[1].split(" s")[0]))
        clock.now += waits[-1]
        assert "the port is taken" in (engine.tend() or "")
    assert waits == [0.5, 1.0, 2.0, 4.0]
    process.broken = False
    engine.tend()
    clock.now += 30
    assert engine.tend() == "Kafka answers again"


def test_given_engines_are_taken_as_they_are() -> None:
    settings = Settings.load(
        kafka_bootstrap="kafka-1:9092,kafka-2:9092", clickhouse_url="https://store.example:9440", clickhouse_user="u"
    )
    kafka, clickhouse = stack_kafka(settings), stack_clickhouse(settings)
    assert (kafka.bootstrap, kafka.source) == ("kafka-1:9092,kafka-2:9092", "given")
    assert (clickhouse.url, clickhouse.user, clickhouse.source) == ("https://store.example:9440", "u", "given")
    assert stack_clickhouse(Settings.load(clickhouse_url="http://store")).url == "http://store:8123"


@pytest.mark.parametrize(
    ("java", "docker_missing", "source"),
    [(True, None, "local"), (True, "no daemon", "local"), (False, None, "docker"), (False, "no daemon", "local")],
)
def test_what_stays_runs_here_if_it_can(
    java: bool, docker_missing: str | None, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(engines, "check_java", lambda: Prerequisite("java", java, "", "", ""))
    monkeypatch.setattr(engines, "check_maven", lambda: Prerequisite("mvn", True, "", "", ""))
    monkeypatch.setattr(engines, "check_chdb", lambda: Prerequisite("chdb", java, "", "", ""))
    monkeypatch.setattr(engines, "docker_missing", lambda: docker_missing)
    monkeypatch.setattr(engines, "start_kafka", lambda _, *, source, **_options: asked.append(source))
    monkeypatch.setattr(engines, "start_clickhouse", lambda _, *, source: asked.append(source))
    stack_kafka(Settings.load())
    stack_clickhouse(Settings.load())
    assert asked == [source, source]
