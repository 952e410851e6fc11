"""Ids that left the workers' memory: the audit finds those that are gone, and content that is not what was written."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from fleetmeter_doubles.worker_processes import Pipeline, eventually, new_pipeline
from fleetmeter_jobs.audit.chunks import check_chunks
from fleetmeter_jobs.ledger import ClickHouseHttp, ClickHouseStore
from fleetmeter_local import RunningClickHouse, RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def sealed(
    kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """A log of 2,500 ids, of which at least 1,000 left the worker's memory."""
    pipeline = new_pipeline(kafka, clickhouse, tmp_path_factory.mktemp("chunks"))
    try:
        worker = pipeline.start_worker(dedup_chunk_ids=1_000, flush_events=250)
        pipeline.send(2_500)
        eventually(lambda: _ask(pipeline, "SELECT count() FROM dedup_ids") >= 1_000, "sealed")
        eventually(lambda: _ask(pipeline, "SELECT count() FROM dedup_snapshots WHERE kind = 'chunk'") >= 1, "manifest")
        eventually(pipeline.all_counted, "counted")
        assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
        yield pipeline
    finally:
        pipeline.end()


def _ask(pipeline: Pipeline, question: str) -> int:
    with pipeline.client() as client:
        return int(client.query(question).result_rows[0][0])


def found(pipeline: Pipeline) -> tuple[str, list[str]]:
    there = pipeline.clickhouse
    store = ClickHouseStore(ClickHouseHttp(there.url, there.user, there.password, pipeline.database))
    made = check_chunks(store, store.epochs(pipeline.topic, 0), lambda _what: None)
    return made.examined, [finding.sentence for finding in made.findings]


def broken(client: Any, table: str, change: str) -> None:
    client.command(f"ALTER TABLE {table} {change} SETTINGS mutations_sync = 2")


def test_ids_that_are_gone_and_content_that_was_changed(sealed: Pipeline) -> None:
    """One after the other, in one database: each finding names what was done to it."""
    examined, sentences = found(sealed)
    assert sentences == []
    written = _ask(sealed, "SELECT sum(foreign_ids) FROM dedup_snapshots FINAL WHERE kind = 'chunk' AND slice = 0")
    assert examined.startswith(f"{written:,} ids in ")
    with sealed.client() as client:
        broken(client, "dedup_ids", "DELETE WHERE fingerprint IN (SELECT min(fingerprint) FROM dedup_ids)")
        (missing,) = found(sealed)[1]
        assert "were written" in missing
        broken(client, "dedup_snapshots", "UPDATE filter = reverse(filter) WHERE kind = 'chunk'")
        assert any("is not what was written" in sentence for sentence in found(sealed)[1])
