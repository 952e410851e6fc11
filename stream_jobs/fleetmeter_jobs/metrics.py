"""What a worker tells Prometheus. Totals grow when the ledger has confirmed a commit, so that they agree with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetmeter_jobs.dedup_metrics import DedupMetrics, dedup_gauges
from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.ledger.commit import Committed
from fleetmeter_jobs.ledger.context import CommitObserver
from fleetmeter_jobs.ledger.errors import StoreUnavailableError
from fleetmeter_jobs.partition_status import PartitionStatus, State
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.processor_seams import Observer

WORKER_STATES = ("starting", "waiting", "joining", "counting", "stopping")
"""`waiting`: for Kafka or ClickHouse, before counting begins. Then partitions have states of their own."""
_OUTCOMES = ("accepted", "duplicate", "rejected")
_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Own registry, so that several workers in one process (tests) don't meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = self._counter
        self.records = counter("fleetmeter_records", "Kafka records committed.")
        self.offsets = counter("fleetmeter_skipped_offsets", "Offsets without a record to count.", "kind")
        self.events = counter("fleetmeter_events", "Events committed: accepted, duplicate or rejected.", "outcome")
        self.ignored = counter("fleetmeter_unknown_fields", "Fields and attributes that no schema knows, ignored.")
        self.overflowed = counter("fleetmeter_overflowed_labels", "Events counted under the label set __other__.")
        self.commits = counter("fleetmeter_commits", "Flushes committed to the ledger.")
        self.commit_errors = counter("fleetmeter_commit_errors", "Tries that ClickHouse did not answer as it should.")
        self.ghosts = counter("fleetmeter_commit_ghosts", "Tokens that ClickHouse logged without their rows appearing.")
        self.restarts = counter("fleetmeter_partition_restarts", "States dropped and made again.", "reason")
        self.dedup = DedupMetrics(self.registry)
        self.commit_seconds = Histogram(
            "fleetmeter_commit_seconds",
            "From the end of a flush to its commit's confirmation.",
            ("partition",),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(name, meaning, ("partition", *labels), registry=self.registry)

    def watch(self, statuses: Callable[[], dict[int, PartitionStatus]], worker_state: Callable[[], str]) -> None:
        """Add gauges that are read from the partitions' statuses and the worker's whenever Prometheus asks."""
        self.registry.register(_Statuses(statuses, worker_state))


class PartitionMetrics(Observer, CommitObserver):
    """Counts one partition's work. `failed` and `ghost` are called in threads; prometheus_client allows that."""

    def __init__(self, metrics: Metrics, partition: int) -> None:
        self._metrics, self._partition = metrics, str(partition)
        # Prometheus sees no increase in a counter's first value: one that begins at 1 would alarm nobody.
        single = (metrics.records, metrics.commits, metrics.commit_errors, metrics.ghosts, metrics.dedup.seal_errors)
        for counter in single:
            counter.labels(self._partition)
        for outcome in _OUTCOMES:
            metrics.events.labels(self._partition, outcome)

    def committed(self, pending: Pending, flush: Any, outcome: Committed, seconds: float) -> None:  # noqa: ARG002
        metrics, partition = self._metrics, self._partition
        metrics.commits.labels(partition).inc()
        metrics.commit_seconds.labels(partition).observe(seconds)
        metrics.records.labels(partition).inc(pending.records)
        metrics.offsets.labels(partition, "control").inc(pending.control)
        metrics.offsets.labels(partition, "aborted").inc(pending.aborted)
        for became, events in zip(_OUTCOMES, (flush.accepted, flush.duplicates, flush.rejected), strict=True):
            metrics.events.labels(partition, became).inc(events)
        metrics.ignored.labels(partition).inc(flush.unknown_fields)
        metrics.overflowed.labels(partition).inc(flush.overflowed_labels)

    def restarted(self, reason: str) -> None:
        self._metrics.restarts.labels(self._partition, reason).inc()

    def looked_up(self, asked: int, known: int, seconds: float) -> None:
        dedup, partition = self._metrics.dedup, self._partition
        dedup.looked_up.labels(partition).inc(asked)
        dedup.found.labels(partition).inc(known)
        dedup.lookup_seconds.labels(partition).observe(seconds)

    def sealed(self, ids: int, seconds: float) -> None:
        dedup, partition = self._metrics.dedup, self._partition
        dedup.sealed.labels(partition).inc()
        dedup.sealed_ids.labels(partition).inc(ids)
        dedup.seal_seconds.labels(partition).observe(seconds)

    def seal_failed(self, error: JobError) -> None:  # noqa: ARG002
        self._metrics.dedup.seal_errors.labels(self._partition).inc()

    def failed(self, label: str, error: StoreUnavailableError) -> None:  # noqa: ARG002
        self._metrics.commit_errors.labels(self._partition).inc()

    def ghost(self, label: str) -> None:  # noqa: ARG002
        self._metrics.ghosts.labels(self._partition).inc()


class _Statuses(Collector):
    def __init__(self, statuses: Callable[[], dict[int, PartitionStatus]], worker_state: Callable[[], str]) -> None:
        self._statuses, self._worker_state = statuses, worker_state

    def collect(self) -> Iterable[Metric]:
        statuses = self._statuses()
        yield from (_gauge(name, meaning, statuses, value) for name, meaning, value in _GAUGES)
        yield from dedup_gauges({partition: status.dedup for partition, status in statuses.items()})
        states = GaugeMetricFamily(
            "fleetmeter_partition_state", "1 for the state it is in.", labels=("partition", "state")
        )
        for partition, status in statuses.items():
            for state in State:
                states.add_metric((str(partition), state.value), float(status.state is state))
        yield states
        now = self._worker_state()
        worker = GaugeMetricFamily("fleetmeter_worker_state", "1 for the state it is in.", labels=("state",))
        for name in WORKER_STATES:
            worker.add_metric((name,), float(name == now))
        yield worker

    def describe(self) -> Iterator[Metric]:
        return iter(())


_GAUGES: tuple[tuple[str, str, Callable[[PartitionStatus], float | None]], ...] = (
    ("fleetmeter_position", "Committed position.", lambda status: status.next_offset),
    (
        "fleetmeter_lag_offsets",
        "Offsets between the committed position and the log's end.",
        lambda status: status.lag,
    ),
    (
        "fleetmeter_watermark_age_seconds",
        "How far the watermark is behind this machine's clock.",
        lambda status: time.time() - status.watermark_us / 1e6 if status.watermark_us else None,
    ),
    (
        "fleetmeter_commit_age_seconds",
        "Time since the last commit.",
        lambda status: time.time() - status.committed_at_s if status.committed_at_s else None,
    ),
    ("fleetmeter_pending_events", "Events ingested and not committed.", lambda status: status.pending_events),
    ("fleetmeter_inbox_bytes", "Values fetched and not ingested.", lambda status: status.inbox_bytes),
)


def _gauge(
    name: str, meaning: str, statuses: dict[int, PartitionStatus], value: Callable[[PartitionStatus], float | None]
) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(name, meaning, labels=("partition",))
    for partition, status in statuses.items():
        if (now := value(status)) is not None:
            gauge.add_metric((str(partition),), now)
    return gauge
