"""From an HTTP request to a row: events sent to an ingest that is killed meanwhile, and sent again, count once."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleetmeter_doubles.ingest_process import Senders, ingest_process
from fleetmeter_doubles.ingest_server import until
from fleetmeter_doubles.worker_processes import DEADLINE_S, event_bytes, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse]

BATCHES, EVENTS = 150, 20


def batch(number: int) -> tuple[bytes, list[str]]:
    ids = [f"e-{number}-{at}" for at in range(EVENTS)]
    return b"\n".join(event_bytes(f"account-{number % 7}", event_id, number) for event_id in ids), ids


def test_what_is_sent_until_it_is_acknowledged_counts_once(
    kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path
) -> None:
    pipeline = new_pipeline(kafka, clickhouse, tmp_path, partitions=2)
    pipeline.sent = [(f"account-{number % 7}", id_, number) for number in range(BATCHES) for id_ in batch(number)[1]]
    senders = Senders(batch)
    with ExitStack() as stack:
        stack.callback(pipeline.end)
        first = stack.enter_context(ingest_process(tmp_path, kafka.bootstrap, pipeline.topic, "--open"))
        url = [first.url]
        with senders.sending(lambda: url[0], batches=BATCHES):
            until(lambda: len(senders.acknowledged) > BATCHES * EVENTS // 4, 60)
            first.end(signal.SIGKILL)
            second = stack.enter_context(ingest_process(tmp_path, kafka.bootstrap, pipeline.topic, "--open"))
            url[0] = second.url
        assert len(senders.acknowledged) == BATCHES * EVENTS
        assert second.end(signal.SIGTERM) == 0, second.log.read_text()
        worker = pipeline.start_worker(drain=True)
        assert worker.process.wait(DEADLINE_S) == 0, worker.log.read_text()
        pipeline.check_usage()
    assert 0 in senders.answers, "somebody was cut off, and sent again"
