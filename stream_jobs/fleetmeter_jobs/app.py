"""The Faust app: one topic, one agent, the batch transport. No tables, no changelogs, no producer, no web of Faust's
own."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import faust
from faust.app.base import BootStrategy
from faust.types import TP

from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.partitions import Partitions
from fleetmeter_jobs.record_batch import Fetch
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.transport.consumer import Consumer
from fleetmeter_jobs.transport.lean_records import UNPACKED_LIMIT_BYTES
from fleetmeter_jobs.transport.transport import BatchTransport, PassThroughSchema

_BUFFERED_FETCHES = 16
"""Fetches between the consumer and the agent. The agent hands each on at once, so that this is never the limit."""


class _ReadOnlyBoot(BootStrategy):  # type: ignore[misc]  # Faust's types are not complete
    """The jobs send nothing to Kafka and have a web port of their own."""

    enable_kafka_producer = False
    enable_web = False


class UsageApp(faust.App):  # type: ignore[misc]
    """Faust, with the transport of this package."""

    BootStrategy = _ReadOnlyBoot
    kafka_access: KafkaAccess
    """How the consumer reaches the brokers. Faust is told their addresses, too, and shows them."""
    unpacked_limit_bytes: int
    """A record batch that unpacks to more is refused."""

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Faust would make a data folder here; the jobs keep nothing on disk."""

    @property
    def batch_consumer(self) -> Consumer:
        """The consumer, by its own type."""
        return cast("Consumer", self.consumer)


def build_app(settings: Settings) -> UsageApp:
    """The app without its agent; `count_with` adds it. Must be called in the running event loop."""
    app = UsageApp(
        settings.consumer_group,
        loop=asyncio.get_running_loop(),
        broker=";".join(f"kafka://{address.strip()}" for address in settings.kafka_bootstrap.split(",")),
        broker_client_id="fleetmeter-worker",
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.heartbeat_interval_s,
        broker_request_timeout=max(settings.session_timeout_s + 10, 40.0),
        # While the members come back for a rebalance, each of them may still be committing.
        broker_rebalance_timeout=settings.session_timeout_s + settings.rebalance_limit_s,
        consumer_max_fetch_size=settings.fetch_limit_bytes,
        consumer_auto_offset_reset="none",
        # A topic that comes back, or gets partitions, is shared out with the next look at the metadata, and no sooner.
        consumer_metadata_max_age_ms=int(settings.recheck_interval_s * 1000),
        consumer_group_instance_id=settings.group_instance or "",
        stream_buffer_maxsize=_BUFFERED_FETCHES,
        stream_wait_empty=False,  # the processors end their work themselves, with a deadline
        stream_recovery_delay=0.0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        store="memory://",
        web_enabled=False,
    )
    app.kafka_access = settings.kafka_access
    app.unpacked_limit_bytes = max(UNPACKED_LIMIT_BYTES, 2 * settings.record_limit_bytes)
    return app


def count_with(app: UsageApp, settings: Settings, partitions: Partitions) -> None:
    """Give the app its agent, and the partitions their assignments."""
    usage = app.topic(settings.topic, schema=PassThroughSchema(), internal=False)

    @app.agent(usage, name="count", concurrency=1)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        fetches = stream.noack()
        async for event in fetches.events():
            fetch: Fetch = event.value
            partitions.offer(fetch, partial(fetches.ack, event))

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def on_assigned(_app: Any, assigned: set[TP], **_kwargs: Any) -> None:
        await partitions.on_assigned(assigned)

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def on_revoked(_app: Any, revoked: set[TP], **_kwargs: Any) -> None:
        await partitions.on_revoked(revoked)
