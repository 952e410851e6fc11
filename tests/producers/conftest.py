"""A broker that does what the test says, and clients of it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, UsageClient

QUICK = {"retry_wait_s": 0.001, "retry_wait_limit_s": 0.01}


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def make_client(broker: FakeBroker) -> Iterator[Callable[..., UsageClient]]:
    """Makes clients of the broker, `make_client(source, **settings)`, and closes them after the test."""
    clients: list[UsageClient] = []

    def make(source: str = "urn:test:server-1", **options: Any) -> UsageClient:
        settings = ClientSettings(**{**QUICK, **options})
        clients.append(UsageClient("kafka:9092", source, settings=settings, connect=broker.connect))
        return clients[-1]

    yield make
    for client in clients:
        client.close(0)
