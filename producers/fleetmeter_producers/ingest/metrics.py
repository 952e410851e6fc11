"""What an ingest process counts, for Prometheus. No label names a token, an account or a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class IngestMetrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "fleetmeter_ingest_requests", "Requests, by status of the answer.", ["status"], registry=self.registry
        )
        self.accepted = Counter(
            "fleetmeter_ingest_events_accepted", "Events that the broker has acknowledged.", registry=self.registry
        )
        self.rejected = Counter(
            "fleetmeter_ingest_events_rejected",
            "Events that were not taken, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.unacknowledged = Counter(
            "fleetmeter_ingest_events_unacknowledged",
            "Events of requests that Kafka did not acknowledge in time (503); their senders repeat them.",
            registry=self.registry,
        )
        self.received_bytes = Counter(
            "fleetmeter_ingest_received_bytes", "Bodies as they were sent.", registry=self.registry
        )
        self.seconds = Histogram(
            "fleetmeter_ingest_request_seconds",
            "Time from a request's headers to its answer.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def watch(self, name: str, words: str, read: Callable[[], float]) -> None:
        """A gauge `fleetmeter_ingest_<name>` that is read when Prometheus asks."""
        Gauge(f"fleetmeter_ingest_{name}", words, registry=self.registry).set_function(read)
