"""Health and metrics, asked over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
import pytest
from fleetmeter_jobs.errors import KafkaUnavailableError
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.metrics import Metrics, PartitionMetrics
from fleetmeter_jobs.partition_status import DedupStatus, PartitionStatus, State
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.web import Health, WebPort
from prometheus_client.parser import text_string_to_metric_families


@dataclass
class Asked:
    ready: bool
    partitions: dict[int, PartitionStatus]
    state: str = "counting"
    error: str = ""

    def __call__(self) -> Health:
        return Health(self.ready, self.state, self.error, self.partitions)


async def test_ready_says_what_each_partition_is_doing() -> None:
    waiting = PartitionStatus(next_offset=7)
    waiting.failed(State.WAITING, KafkaUnavailableError("broker 1 does not answer"))
    health = Asked(False, {0: PartitionStatus(State.COUNTING, next_offset=42), 3: waiting})
    web = WebPort("127.0.0.1", 0, health, Metrics().registry)
    address = await web.start()
    try:
        async with aiohttp.ClientSession(address) as client:
            async with client.get("/health/live") as answer:
                assert (answer.status, await answer.json()) == (200, {"live": True})
            async with client.get("/health/ready") as answer:
                body = await answer.json()
                assert answer.status == 503
            assert body["state"] == "counting"
            assert (body["partitions"]["0"]["state"], body["partitions"]["0"]["next_offset"]) == ("counting", 42)
            third = body["partitions"]["3"]
            assert (third["state"], third["error"], third["domain"]) == ("waiting", "broker 1 does not answer", "kafka")
            assert body["error"] is None
            health.state, health.error = "starting", "ClickHouse does not answer"
            async with client.get("/health/ready") as answer:
                body = await answer.json()
            assert (body["state"], body["error"]) == ("starting", "ClickHouse does not answer")
            health.ready = True
            async with client.get("/health/ready") as answer:
                assert (answer.status, (await answer.json())["ready"]) == (200, True)
    finally:
        await web.stop()


async def test_a_taken_port_is_an_error(unused_tcp_port: int) -> None:
    health = Asked(True, {})
    first = WebPort("127.0.0.1", unused_tcp_port, health, Metrics().registry)
    assert await first.start() == f"http://127.0.0.1:{unused_tcp_port}"
    second = WebPort("127.0.0.1", unused_tcp_port, health, Metrics().registry)
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await first.stop()
    await second.stop()


async def test_metrics_add_up_what_was_committed_and_show_states() -> None:
    metrics = Metrics()
    status = PartitionStatus(State.COUNTING, next_offset=30, log_end=42, pending_events=5)
    metrics.watch(lambda: {2: status}, lambda: "counting")
    observer = PartitionMetrics(metrics, 2)
    flush = SimpleNamespace(accepted=7, duplicates=2, rejected=1, unknown_fields=4, overflowed_labels=3)
    for _ in range(2):
        pending = Pending(0, 0)
        pending.records, pending.control, pending.aborted = 10, 1, 4
        observer.committed(pending, flush, None, 0.3)  # type: ignore[arg-type]
    observer.restarted("gap")
    observer.failed("usage-2/0@0#0", StoreUnavailableError("no answer"))
    observer.ghost("usage-2/0@0#0")
    samples = await _scrape(metrics)
    assert samples["fleetmeter_records_total", ""] == 20
    assert samples["fleetmeter_skipped_offsets_total", "control"] == 2
    assert samples["fleetmeter_skipped_offsets_total", "aborted"] == 8
    assert [samples["fleetmeter_events_total", one] for one in ("accepted", "duplicate", "rejected")] == [14, 4, 2]
    assert samples["fleetmeter_commits_total", ""] == 2
    assert samples["fleetmeter_commit_seconds_sum", ""] == pytest.approx(0.6)
    assert samples["fleetmeter_commit_errors_total", ""] == samples["fleetmeter_commit_ghosts_total", ""] == 1
    assert samples["fleetmeter_partition_restarts_total", "gap"] == 1
    assert samples["fleetmeter_position", ""] == 30
    assert samples["fleetmeter_lag_offsets", ""] == 12
    assert samples["fleetmeter_pending_events", ""] == 5
    assert samples["fleetmeter_partition_state", "counting"] == 1
    assert samples["fleetmeter_partition_state", "stopped"] == 0
    status.failed(State.STOPPED, ValueError("x"))
    assert (await _scrape(metrics))["fleetmeter_partition_state", "stopped"] == 1


async def test_the_first_trouble_is_an_increase() -> None:
    """Prometheus takes a counter that appears with 1 for one that has always been 1."""
    metrics = Metrics()
    PartitionMetrics(metrics, 2)
    samples = await _scrape(metrics)
    assert samples["fleetmeter_commit_ghosts_total", ""] == 0
    assert samples["fleetmeter_commit_errors_total", ""] == 0
    assert samples["fleetmeter_dedup_seal_errors_total", ""] == 0
    assert samples["fleetmeter_events_total", "rejected"] == samples["fleetmeter_events_total", "accepted"] == 0


async def test_metrics_tell_what_is_remembered_and_how() -> None:
    metrics = Metrics()
    status = PartitionStatus(
        State.COUNTING,
        dedup=DedupStatus(foreign_ids=4, filtered_ids=30, hourly_ids=200, sequenced_events=1000, held_events=2),
    )
    metrics.watch(lambda: {2: status}, lambda: "counting")
    observer = PartitionMetrics(metrics, 2)
    observer.looked_up(100, 30, 0.25)
    observer.looked_up(5, 0, 0.5)
    observer.sealed(4_000_000, 9.0)
    observer.seal_failed(StoreUnavailableError("no answer"))
    samples = await _scrape(metrics)
    known = {where: samples["fleetmeter_dedup_ids", where] for where in ("exact", "filter", "hour", "sequenced")}
    assert known == {"exact": 4, "filter": 30, "hour": 200, "sequenced": 1000}
    assert samples["fleetmeter_dedup_held_events", ""] == 2
    assert samples["fleetmeter_dedup_looked_up_ids_total", ""] == 105
    assert samples["fleetmeter_dedup_found_ids_total", ""] == 30
    assert samples["fleetmeter_dedup_lookup_seconds_sum", ""] == pytest.approx(0.75)
    assert samples["fleetmeter_dedup_sealed_ids_total", ""] == 4_000_000
    assert samples["fleetmeter_dedup_sealed_chunks_total", ""] == samples["fleetmeter_dedup_seal_errors_total", ""] == 1
    assert ("fleetmeter_dedup_seal_age_seconds", "") not in samples


async def _scrape(metrics: Metrics) -> dict[tuple[str, str], float]:
    """What Prometheus gets for partition 2, by name and second label."""
    web = WebPort("127.0.0.1", 0, Asked(True, {}), metrics.registry)
    address = await web.start()
    try:
        async with aiohttp.ClientSession(address) as client, client.get("/metrics") as answer:
            text = await answer.text()
    finally:
        await web.stop()
    samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "fleetmeter_worker_state":
                assert (sample.labels["state"] == "counting") == bool(sample.value)
                continue
            assert sample.labels["partition"] == "2"
            others = [value for name, value in sample.labels.items() if name not in {"partition", "le"}]
            samples[sample.name, "".join(others)] = sample.value
    return samples
