"""What Prometheus is told of the memory of counted events: how much there is, what it takes, and how it is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from fleetmeter_jobs.partition_status import DedupStatus

_LOOKUP_SECONDS: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30)
_SEAL_SECONDS: Final = (0.5, 1, 2, 5, 10, 30, 60, 300)


class DedupMetrics:
    """Counters, labelled by partition."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str) -> Counter:
            return Counter(name, meaning, ("partition",), registry=registry)

        def histogram(name: str, meaning: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, meaning, ("partition",), buckets=buckets, registry=registry)

        self.looked_up = counter("fleetmeter_dedup_looked_up_ids", "Old ids that ClickHouse was asked about.")
        self.found = counter("fleetmeter_dedup_found_ids", "Those of them that it knew: duplicates.")
        self.lookup_seconds = histogram(
            "fleetmeter_dedup_lookup_seconds", "One round of lookups, while counting goes on.", _LOOKUP_SECONDS
        )
        self.sealed = counter("fleetmeter_dedup_sealed_chunks", "Chunks of ids that moved to ClickHouse.")
        self.sealed_ids = counter("fleetmeter_dedup_sealed_ids", "Foreign ids that moved to ClickHouse.")
        self.seal_seconds = histogram(
            "fleetmeter_dedup_seal_seconds", "Sealing a chunk in the background.", _SEAL_SECONDS
        )
        self.seal_errors = counter("fleetmeter_dedup_seal_errors", "Tries to seal a chunk that did not succeed.")


def dedup_gauges(statuses: Mapping[int, DedupStatus]) -> Iterator[GaugeMetricFamily]:
    """Gauges of all partitions as they are now."""
    for name, meaning, label, members in _GAUGES:
        gauge = GaugeMetricFamily(name, meaning, labels=("partition", *([label] if label else [])))
        for partition, status in statuses.items():
            for member, value in members.items():
                gauge.add_metric((str(partition), *([value] if label else [])), getattr(status, member))
        yield gauge
    age = GaugeMetricFamily(
        "fleetmeter_dedup_seal_age_seconds", "Time since the last chunk was sealed here.", labels=("partition",)
    )
    for partition, status in statuses.items():
        if status.sealed_at_s is not None:
            age.add_metric((str(partition),), time.time() - status.sealed_at_s)
    yield age


_GAUGES: Final[tuple[tuple[str, str, str, Mapping[str, str]], ...]] = (
    (
        "fleetmeter_dedup_ids",
        "Counted events that are remembered: exact in memory, behind filters, by the hour, or in ranges of a producer.",
        "known",
        {
            "foreign_ids": "exact",
            "filtered_ids": "filter",
            "hourly_ids": "hour",
            "sequenced_events": "sequenced",
        },
    ),
    (
        "fleetmeter_dedup_memory_bytes",
        "Memory that it takes.",
        "of",
        {"exact_bytes": "exact", "filter_bytes": "filter", "sequenced_bytes": "sequenced"},
    ),
    (
        "fleetmeter_dedup_incarnations",
        "Runs of producers whose ids are numbered.",
        "",
        {"sequenced_incarnations": ""},
    ),
    ("fleetmeter_dedup_chunks", "Chunks of foreign ids, those in memory and those in the store.", "", {"chunks": ""}),
    ("fleetmeter_dedup_held_events", "Events that wait for the answer to a lookup.", "", {"held_events": ""}),
    (
        "fleetmeter_dedup_unsealed_chunks",
        "Chunks that are complete and have not moved to ClickHouse yet.",
        "",
        {"unsealed_chunks": ""},
    ),
)
