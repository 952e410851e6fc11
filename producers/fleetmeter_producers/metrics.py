"""A client's counters for Prometheus. Needs prometheus-client, which the base install does not bring.

    from fleetmeter_producers.metrics import register
    register(client)

Without it, `dataclasses.asdict(client.stats())` is the same as a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from fleetmeter_producers.client import UsageClient

if TYPE_CHECKING:
    from prometheus_client.registry import CollectorRegistry

_COUNTERS: Final = (
    ("events_emitted", "emitted", "Events that were accepted."),
    ("events_delivered", "delivered", "Events that the broker has acknowledged."),
    ("events_dropped", "dropped", "Events that were lost because the outbox was full and the policy is to drop."),
    ("failed_deliveries", "failed_deliveries", "Deliveries that failed and were or will be repeated."),
    ("events_recovered", "recovered", "Events of processes that ended, found in the spool."),
    ("events_damaged", "damaged", "Events that were accepted and that the disk did not give back."),
)
_GAUGES: Final = (
    ("pending_events", "pending_events", "Events that wait for the broker's acknowledgement."),
    ("pending_bytes", "pending_bytes", "What they take in the outbox."),
)


def register(client: UsageClient, registry: CollectorRegistry | None = None) -> None:
    """Export a client's counters as `fleetmeter_client_*`, labelled with its source, read when Prometheus asks.

    Counters begin anew with the process. Register each client once.
    """
    from prometheus_client import REGISTRY  # noqa: PLC0415  (not part of the base install)

    (registry or REGISTRY).register(_Collector(client))


def register_notes(registry: CollectorRegistry | None = None) -> None:
    """Export what was wrong with providers' usage as `fleetmeter_gateway_notes_total`, by convention and kind of note.

    docs/producers/providers.md explains the kinds; `not_emitted` is usage that is lost. Register them once a process.
    """
    from prometheus_client import REGISTRY  # noqa: PLC0415  (not part of the base install)

    (registry or REGISTRY).register(_Notes())


class _Notes:
    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily  # noqa: PLC0415  (see `register_notes`)

        from fleetmeter_producers.gateway.notes import NOTES  # noqa: PLC0415  (those who meter no gateway need it not)

        counter = CounterMetricFamily(
            "fleetmeter_gateway_notes", "Troubles with usage that providers report.", labels=["convention", "code"]
        )
        for labels, count in NOTES.counts().items():
            counter.add_metric(list(labels), count)
        yield counter


class _Collector:
    def __init__(self, client: UsageClient) -> None:
        self._client = client

    def describe(self) -> list[Any]:
        """Nothing is asked of the client before the first scrape. Two clients of one process share the names."""
        return []

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  (see `register`)

        stats, labels = self._client.stats(), [self._client.source]
        for name, field, help_text in _COUNTERS:
            counter = CounterMetricFamily(f"fleetmeter_client_{name}", help_text, labels=["source"])
            counter.add_metric(labels, getattr(stats, field))
            yield counter
        for name, field, help_text in _GAUGES:
            gauge = GaugeMetricFamily(f"fleetmeter_client_{name}", help_text, labels=["source"])
            gauge.add_metric(labels, getattr(stats, field))
            yield gauge
        failing = GaugeMetricFamily(
            "fleetmeter_client_delivery_failing", "1 while the last delivery failed, else 0.", labels=["source"]
        )
        failing.add_metric(labels, int(stats.last_error is not None))
        yield failing
