"""Workers as processes, on real Kafka and ClickHouse: killed, told to stop, cut off; what was sent is counted once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleetmeter_doubles.worker_processes import DEADLINE_S, Pipeline, WorkerProcess, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(240)]

MakePipeline = Callable[..., Pipeline]


@pytest.fixture
def make_pipeline(tmp_path: Path) -> Iterator[MakePipeline]:
    """`make_pipeline(kafka, clickhouse, partitions=1, **topic_config)`; its workers end with the test."""
    with ExitStack() as stack:

        def make(kafka: RunningKafka, clickhouse: RunningClickHouse, partitions: int = 1, **config: str) -> Pipeline:
            pipeline = new_pipeline(kafka, clickhouse, tmp_path, partitions, **config)
            stack.callback(pipeline.end)
            return pipeline

        yield make


@pytest.mark.long
def test_end_to_end_with_duplicates_and_garbage_and_a_clean_end(
    kafka: RunningKafka, clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka, clickhouse, partitions=2)
    pipeline.send(2000, partitions=2, again=True)
    worker = pipeline.start_worker()
    eventually(lambda: worker.ready(partitions=2), "ready")
    eventually(pipeline.all_counted, "counted")
    # Metrics grow when the commit has been read back, a moment after others can see it.
    for figure in ('outcome="accepted",partition="0"} 1000.0', 'outcome="duplicate",partition="1"} 1000.0'):
        eventually(lambda figure=figure: f"fleetmeter_events_total{{{figure}" in worker.get("/metrics")[1], figure)
    assert worker.get("/health/live") == (200, '{"live":true}')
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


def test_sigterm_commits_what_is_pending(
    kafka: RunningKafka, clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka, clickhouse)
    worker = pipeline.start_worker(flush_interval_s=300, flush_events=1_000_000)
    eventually(lambda: worker.ready(partitions=1), "ready")
    pipeline.send(300)
    eventually(lambda: worker.partition(0)["pending_events"] == 300, "ingested")
    assert pipeline.requests() == 0
    assert worker.end(signal.SIGINT) == 0, worker.log.read_text()
    pipeline.check()


def test_a_worker_can_end_by_itself_when_everything_is_counted(
    kafka: RunningKafka, clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka, clickhouse, partitions=3)
    pipeline.send(500, partitions=2)
    worker = pipeline.start_worker(drain=True)
    assert worker.process.wait(DEADLINE_S) == 0, worker.log.read_text()
    pipeline.check()


@pytest.mark.long
def test_kill_9_in_mid_stream_loses_and_doubles_nothing(
    kafka: RunningKafka, clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka, clickhouse, partitions=2)
    interrupted = 0
    for _ in range(3):
        pipeline.send(8_000, partitions=2, again=True)  # anew, or the one before may have left nothing to count
        before = pipeline.requests()
        worker = pipeline.start_worker(flush_events=50, fetch_limit_bytes=65_536)
        eventually(lambda: pipeline.requests() > before, "counting")  # noqa: B023  (waited for here)
        assert worker.end(signal.SIGKILL) == -signal.SIGKILL
        interrupted += not pipeline.all_counted()
    assert interrupted, "too few events to kill a worker in the middle of them"
    worker = pipeline.start_worker(drain=True)
    assert worker.process.wait(DEADLINE_S) == 0, worker.log.read_text()
    pipeline.check()


def test_two_workers_share_and_one_takes_over_from_the_other(
    kafka: RunningKafka, clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka, clickhouse, partitions=4)
    first = pipeline.start_worker()
    eventually(lambda: first.ready(partitions=4), "the first has all")
    pipeline.send(1000, partitions=4)
    second = pipeline.start_worker()
    pipeline.send(1000, partitions=4, again=True)
    eventually(lambda: first.ready(partitions=2) and second.ready(partitions=2), "they share")
    pipeline.send(1000, partitions=4)
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    eventually(lambda: second.ready(partitions=4), "the second has all")
    eventually(pipeline.all_counted, "counted")
    assert second.end(signal.SIGTERM) == 0, second.log.read_text()
    pipeline.check()


@pytest.mark.long
def test_a_broker_that_is_restarted_is_waited_for(
    kafka_factory: Callable[[], RunningKafka], clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    broker = kafka_factory()
    pipeline = make_pipeline(broker, clickhouse)
    worker = pipeline.start_worker()
    pipeline.send(500)
    eventually(pipeline.all_counted, "counted before")
    broker.kill()
    broker.restart()
    pipeline.send(500, again=True)
    eventually(pipeline.all_counted, "counted after")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


@pytest.mark.long
def test_a_clickhouse_that_is_killed_is_waited_for_and_health_says_so(
    kafka: RunningKafka, clickhouse_factory: Callable[[], RunningClickHouse], make_pipeline: MakePipeline
) -> None:
    store = clickhouse_factory()
    pipeline = make_pipeline(kafka, store)
    worker = pipeline.start_worker()
    pipeline.send(500)
    eventually(pipeline.all_counted, "counted before")
    store.kill()
    pipeline.send(500, again=True)
    eventually(lambda: worker.partition(0)["state"] == "waiting", "health tells")
    eventually(lambda: worker.partition(0)["domain"] == "clickhouse", "health tells of what")
    store.restart()
    eventually(pipeline.all_counted, "counted after")
    eventually(lambda: worker.ready(partitions=1), "ready again")
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


@pytest.mark.long
def test_an_end_while_clickhouse_is_away_is_in_time_or_at_once_and_loses_nothing(
    kafka: RunningKafka, clickhouse_factory: Callable[[], RunningClickHouse], make_pipeline: MakePipeline
) -> None:
    store = clickhouse_factory()
    pipeline = make_pipeline(kafka, store, partitions=2)
    short = pipeline.start_worker(shutdown_limit_s=1)
    long = pipeline.start_worker(shutdown_limit_s=300)
    eventually(lambda: short.ready(partitions=1) and long.ready(partitions=1), "ready")
    store.kill()
    pipeline.send(100, partitions=2)
    for worker in (short, long):
        eventually(lambda: _states(worker) == ["waiting"], "health tells")  # noqa: B023  (waited for here)
    # The long one first: after a rebalance it would hold nothing that it has to wait for, and end by itself.
    long.process.send_signal(signal.SIGTERM)
    eventually(lambda: "SIGTERM: committing" in long.log.read_text(), "it heard the first")
    assert long.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert short.end(signal.SIGTERM) == 3
    assert "the last commit is not confirmed" in short.log.read_text()
    waiting = pipeline.start_worker(proves=True)
    eventually(lambda: "waiting: " in waiting.log.read_text(), "waits for ClickHouse before it begins")
    assert waiting.end(signal.SIGTERM) == 0, waiting.log.read_text()
    store.restart()
    successor = pipeline.start_worker(drain=True)
    assert successor.process.wait(DEADLINE_S) == 0, successor.log.read_text()
    pipeline.check()


def _states(worker: WorkerProcess) -> list[str]:
    return [partition["state"] for partition in worker.health()["partitions"].values()]


def test_a_compacted_topic_is_refused(
    kafka: RunningKafka, clickhouse: RunningClickHouse, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka, clickhouse, cleanup_policy="compact")
    worker = pipeline.start_worker()
    assert worker.process.wait(DEADLINE_S) == 1
    assert "cleanup.policy=compact" in worker.log.read_text()
    assert "kafka-configs.sh" in worker.log.read_text()
    assert "Traceback" not in worker.log.read_text()
