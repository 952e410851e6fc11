"""One recorded input, many runs: whatever the wire format, the partitions, the workers and the kills, the same export.

The recorded export was calculated by the reference, so that a change in all runs alike is seen too.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet
from confluent_kafka import Producer
from fleetmeter_doubles.worker_processes import Pipeline, WorkerProcess, eventually, new_pipeline
from fleetmeter_golden.by_ledger import exported
from fleetmeter_golden.canonical import KINDS, Export, read_export
from fleetmeter_golden.formats import Format, in_format
from fleetmeter_golden.recording import EVENT_LIMIT_BYTES, Sent, days_until, moved, read_input
from fleetmeter_local import RunningClickHouse, RunningKafka
from fleetmeter_producers.kafka import ONE_AT_A_TIME

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(300)]

KILLS = 3


class GoldenRun:
    """The recorded input on its way through real workers."""

    def __init__(self, pipeline: Pipeline, format_: Format) -> None:
        self.pipeline = pipeline
        self.sent = 0
        self.days = days_until(datetime.now(UTC))
        self._records = iter(in_format(format_, _today(self.days)))
        options = {"enable.idempotence": True, **ONE_AT_A_TIME, "partitioner": "murmur2_random"}
        self._producer = Producer({"bootstrap.servers": pipeline.kafka.bootstrap, **options})

    def send(self, count: int | None = None) -> int:
        """Send the next records, or all that are left; returns how many these were."""
        before = self.sent
        while self.sent - before != count and (record := next(self._records, None)) is not None:
            self._producer.produce(self.pipeline.topic, record.value, record.key, headers=list(record.headers))
            self.sent += 1
        assert self._producer.flush(60) == 0
        return self.sent - before

    def start_worker(self, **settings: object) -> WorkerProcess:
        return self.pipeline.start_worker(event_limit_bytes=EVENT_LIMIT_BYTES, **settings)

    def committed(self) -> int:
        """Offsets in the ledger."""
        return int(self.pipeline.rows("SELECT sum(offsets_counted) FROM ingest_positions")[0][0])

    def finish(self, workers: list[WorkerProcess]) -> None:
        """The rest of the input, until all is counted and no minute waits any more; then the workers end."""
        self.send()
        eventually(lambda: self.committed() == self.sent, "all is counted")
        eventually(self._complete, "every hour is complete")
        for worker in workers:
            assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()

    def _complete(self) -> bool:
        ((watermark, last),) = self.pipeline.rows(
            "SELECT (SELECT min(topic_watermark) FROM usage_completeness), max(minute) FROM usage_minutes"
        )
        return bool(watermark >= last.replace(minute=0) + timedelta(hours=1))

    def check(self) -> None:
        """The export is the recorded one, byte for byte."""
        export, recorded = self.export(), read_export()
        for kind in KINDS:
            assert export[kind].splitlines() == recorded[kind].splitlines(), kind
        assert export == recorded

    def export(self) -> Export:
        with self.pipeline.client() as client:
            return exported(client, self.days)


def _today(days: int) -> list[Sent]:
    return [Sent(record.key, moved(record.value, days)) for record in read_input()]


Start = Callable[[int, Format], GoldenRun]


@pytest.fixture
def start(kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[Start]:
    """`start(partitions, format)`: a topic and a database for one run; its workers end with the test."""
    with ExitStack() as stack:

        def run(partitions: int, format_: Format) -> GoldenRun:
            pipeline = new_pipeline(kafka, clickhouse, tmp_path, partitions)
            stack.callback(pipeline.end)
            return GoldenRun(pipeline, format_)

        yield run


def _long(format_: Format, partitions: int) -> ParameterSet:
    return pytest.param(format_, partitions, marks=pytest.mark.long)


# Neither knows of the other: every format once, and every number of partitions.
@pytest.mark.parametrize(
    ("format_", "partitions"),
    [_long("json", 1), ("array", 2), _long("ndjson", 4), _long("arrow", 1), _long("binary", 2)],
)
def test_straight_through(start: Start, format_: Format, partitions: int) -> None:
    run = start(partitions, format_)
    run.send()
    run.finish([run.start_worker()])
    run.check()


@pytest.mark.parametrize(
    ("format_", "partitions"),
    [_long("json", 2), _long("array", 4), _long("ndjson", 1), ("arrow", 4), _long("binary", 1)],
)
def test_killed_and_resumed(start: Start, format_: Format, partitions: int) -> None:
    """Each kill comes after a commit, and while counted events wait in memory for theirs."""
    run = start(partitions, format_)
    for kill in range(KILLS):
        before = run.committed()
        # In a group of its own, so that it need not wait until Kafka has given up on the one that was killed.
        group = f"{run.pipeline.topic}-{kill}"
        worker = run.start_worker(flush_events=15, flush_interval_s=300, consumer_group=group)
        eventually(lambda: worker.ready(partitions), "ready")  # noqa: B023  (waited for here)
        while run.committed() <= before or not _pending(worker):
            assert run.send(3), "the input ended before the worker could be killed in the middle of it"
            eventually(lambda: _read(worker) == run.sent, "it has read that")  # noqa: B023  (waited for here)
        assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    run.finish([run.start_worker()])
    run.check()


@pytest.mark.long
def test_two_workers_share_the_partitions(start: Start) -> None:
    run = start(4, "json")
    workers = [run.start_worker(), run.start_worker()]
    run.send(150)
    eventually(lambda: all(worker.ready(partitions=2) for worker in workers), "they share")
    run.finish(workers)
    run.check()


def _pending(worker: WorkerProcess) -> int:
    """Events that the worker has counted and not committed."""
    return sum(one["pending_events"] for one in worker.health()["partitions"].values())


def _read(worker: WorkerProcess) -> int:
    """Offsets that the worker has fetched and taken in."""
    partitions = worker.health()["partitions"].values()
    return -1 if any(one["inbox_bytes"] for one in partitions) else sum(one["log_end"] or 0 for one in partitions)
