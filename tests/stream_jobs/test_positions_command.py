"""Logs that are not what they were, on real Kafka with running workers: the partition stands still with the error that
names both sides, the others go on, the command that it names sets it going, and every event is counted once."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka import TopicPartition as Place
from confluent_kafka.admin import AdminClient, NewTopic
from fleetmeter_doubles.commands import run_command
from fleetmeter_doubles.worker_processes import Pipeline, WorkerProcess, eventually, new_pipeline
from fleetmeter_jobs.cli.kafka import log_ends
from fleetmeter_jobs.ledger import ClickHouseStore
from fleetmeter_jobs.reconcile import Report, notes, reconcile
from fleetmeter_jobs.settings import Settings
from fleetmeter_local import RunningClickHouse, RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(240)]

MakePipeline = Callable[..., Pipeline]


@pytest.fixture
def make_pipeline(clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[MakePipeline]:
    """`make_pipeline(kafka, partitions=2)`; its workers end with the test."""
    with ExitStack() as stack:

        def make(kafka: RunningKafka, partitions: int = 2) -> Pipeline:
            pipeline = new_pipeline(kafka, clickhouse, tmp_path, partitions)
            stack.callback(pipeline.end)
            return pipeline

        yield make


def start_worker(pipeline: Pipeline) -> WorkerProcess:
    return pipeline.start_worker(recheck_interval_s=0.2)


def settings_of(pipeline: Pipeline) -> dict[str, str]:
    return {
        "kafka_bootstrap": pipeline.kafka.bootstrap,
        "topic": pipeline.topic,
        "clickhouse_url": pipeline.clickhouse.url,
        "clickhouse_user": pipeline.clickhouse.user,
        "clickhouse_password": pipeline.clickhouse.password,
        "clickhouse_database": pipeline.database,
    }


def positions(pipeline: Pipeline, *arguments: str) -> tuple[int, Any]:
    """Exit code and JSON of `fleetmeter positions`."""
    ended = run_command("positions", *arguments, "--json", folder=pipeline.folder, **settings_of(pipeline))
    return ended.code, ended.json


def named_command(worker: WorkerProcess, partition: int) -> list[str]:
    """The command that the partition's error names, as arguments of `positions`."""
    words = shlex.split(error_of(worker, partition).split("`")[1])
    assert words[:2] == ["fleetmeter", "positions"]
    return words[2:]


def error_of(worker: WorkerProcess, partition: int) -> str:
    """Why the partition stands still, waited for: after a rebalance a partition finds out anew."""
    told: list[str | None] = []
    eventually(lambda: told.append(worker.partition(partition)["error"]) or told[-1], "health says why")
    return str(told[-1])


def audit(pipeline: Pipeline) -> Report:
    store = ClickHouseStore.connect(
        pipeline.clickhouse.url, pipeline.clickhouse.user, pipeline.clickhouse.password, pipeline.database
    )
    settings = Settings.load(**settings_of(pipeline))
    return reconcile(store, lambda: log_ends(settings, {pipeline.topic}))


def state(worker: WorkerProcess, partition: int) -> str:
    return str(worker.partition(partition)["state"])


def recreate(pipeline: Pipeline, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap})
    admin.delete_topics([pipeline.topic])[pipeline.topic].result(30)
    new = NewTopic(pipeline.topic, partitions, 1, config={"message.timestamp.type": "LogAppendTime"})

    def made() -> bool:
        try:
            admin.create_topics([new])[pipeline.topic].result(30)
        except KafkaException:  # the deletion is not through yet
            return False
        return True

    eventually(made, "the topic is made again")


def test_a_topic_that_is_made_again_and_refilled_beyond_the_position(
    kafka: RunningKafka, make_pipeline: MakePipeline
) -> None:
    pipeline = make_pipeline(kafka)
    worker = start_worker(pipeline)
    pipeline.send(100, partitions=2)
    eventually(pipeline.all_counted, "counted")
    worker.process.send_signal(signal.SIGSTOP)  # so that it can't see the topic while it is short
    try:
        recreate(pipeline, 2)
        resent = list(pipeline.sent)
        pipeline.sent.clear()
        pipeline.send(300, partitions=2)
        # The first hundred have the ids of those that were counted before: a fleet that sends again after a disaster.
        assert pipeline.sent[:100] == resent
    finally:
        worker.process.send_signal(signal.SIGCONT)
    eventually(lambda: {state(worker, 0), state(worker, 1)} == {"stopped"}, "both stand still")
    error = error_of(worker, 0)
    assert "position 50 in the topic with id" in error
    assert "a log from 0 to 150 in the topic with id" in error
    code, shown = positions(pipeline, "show")
    assert code == 1
    assert [one["standing"] for one in shown["partitions"]] == ["stands still"] * 2
    assert shown["partitions"][0]["problem"] == error
    code, dry = positions(pipeline, *named_command(worker, 0))
    assert (code, dry["done"]) == (0, False)
    assert dry["changes"][0]["to"] == {"epoch": 1, "offset": 0}
    assert positions(pipeline, "show")[1]["decisions"] == []
    code, done = positions(pipeline, "new-epoch", "--all", "--reason", "disk failure", "--who", "ana", "--yes")
    assert code == 0
    assert [change["outcome"] for change in done["changes"]] == ["done", "done"]
    eventually(lambda: worker.ready(partitions=2), "counting again, by itself")
    eventually(pipeline.all_counted, "counted")
    assert pipeline.requests() == 300, "what was counted from the old log is not counted again"
    eventually(lambda: not audit(pipeline).total.pending, "all is committed")
    report = audit(pipeline)
    assert report.ok, report
    assert (report.total.accepted, report.total.duplicates, report.total.skipped) == (300, 100, 0)
    assert [note.split(": ", 1)[1].split(" on ")[0] for note in notes(report)] == [
        "log epoch 1 was begun at offset 0 by ana"
    ] * 2
    assert positions(pipeline, "show")[0] == 0


def test_retention_that_passes_the_position_of_one_partition(kafka: RunningKafka, make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(kafka)
    worker = start_worker(pipeline)
    pipeline.send(100, partitions=2)
    eventually(pipeline.all_counted, "counted")
    assert worker.end(signal.SIGTERM) == 0
    pipeline.send(100, partitions=2)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for deleted in admin.delete_records([Place(pipeline.topic, 1, 80)]).values():
        deleted.result(30)
    worker = start_worker(pipeline)
    eventually(lambda: state(worker, 1) == "stopped", "one stands still")
    eventually(lambda: pipeline.requests() == 150, "the other goes on")
    error = error_of(worker, 1)
    assert "the ledger has position 50, Kafka has a log that starts at 80" in error
    command = named_command(worker, 1)
    assert command[:4] == ["set", "1", "-s", f"topic={pipeline.topic}"]
    assert not audit(pipeline).ok
    assert audit(pipeline).total.lost == 30
    code, done = positions(pipeline, *command, "--yes")
    assert (code, done["changes"][0]["skipped_offsets"]) == (0, 30)
    eventually(lambda: pipeline.requests() == 170, "it goes on behind what is lost")
    eventually(lambda: worker.ready(partitions=2), "ready again")
    report = audit(pipeline)
    assert report.ok, report
    assert (report.total.lost, report.total.skipped) == (0, 30)
    assert "offsets 50 to 80 (30) were left out by decision of" in notes(report)[0]
    code, refused = positions(pipeline, "set", "1", "--to", "10", "--reason", "back", "--yes")
    assert code == 2
    assert "moves forward only" in refused["error"]["message"]


@pytest.mark.long
def test_a_broker_that_comes_back_with_less_of_a_log(
    kafka_factory: Callable[[], RunningKafka], make_pipeline: MakePipeline, tmp_path: Path
) -> None:
    broker = kafka_factory()
    pipeline = make_pipeline(broker)
    worker = start_worker(pipeline)
    for _ in range(4):  # record batches of their own
        pipeline.send(50, partitions=2)
    eventually(pipeline.all_counted, "counted")
    broker.kill()
    (segment,) = tmp_path.glob(f"kafka-*/kafka/partitions/{pipeline.topic}-1/00000000000000000000.log")
    os.truncate(segment, segment.stat().st_size // 2)
    for index in segment.parent.glob("*.*index"):
        index.unlink()
    broker.restart()
    eventually(lambda: state(worker, 1) == "stopped", "one stands still")
    error = error_of(worker, 1)
    assert "the ledger has position 100, Kafka has a log that ends at" in error
    end = int(error.split("a log that ends at ")[1].split(":")[0])
    assert 0 < end < 100
    lost = 100 - end
    pipeline.send(20, partitions=2)
    eventually(lambda: pipeline.requests() == 210, "the other goes on")
    # What the broker lost is in the ledger; it gives its offsets to others, which must be counted.
    code, _ = positions(pipeline, *named_command(worker, 1), "--yes")
    assert code == 0
    eventually(pipeline.all_counted, "counted")
    pipeline.check_usage()
    report = audit(pipeline)
    assert report.ok, report
    new = next(one for one in report.partitions if one.partition.epoch == 1)
    assert (new.line.accepted, new.line.duplicates) == (10, 100 - lost)


def test_nothing_is_decided_where_nothing_is_wrong(kafka: RunningKafka, make_pipeline: MakePipeline) -> None:
    pipeline = make_pipeline(kafka, partitions=1)
    code, refused = positions(pipeline, "set", "0", "--to", "start", "--reason", "x")
    assert code == 2
    assert "has no position yet" in refused["error"]["message"]
    worker = start_worker(pipeline)
    pipeline.send(10)
    eventually(pipeline.all_counted, "counted")
    code, refused = positions(pipeline, "new-epoch", "0", "--reason", "x", "--yes")
    assert code == 2
    assert "nothing is wrong" in refused["error"]["message"]
    code, nothing = positions(pipeline, "new-epoch", "--all", "--reason", "x", "--yes")
    assert (code, nothing["changes"]) == (0, [])
    # Beside a running worker, and forced: everything is read again and nothing counted again.
    code, _ = positions(pipeline, "new-epoch", "0", "--reason", "trust is good", "--force", "--yes")
    assert code == 0
    pipeline.send(5)
    eventually(pipeline.all_counted, "counted")
    pipeline.check_usage()
    eventually(lambda: not audit(pipeline).total.pending, "all is committed")
    assert audit(pipeline).ok
    assert audit(pipeline).total.duplicates == 10
    assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
