"""A broker that does what the test says, and clients of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, UsageClient

QUICK = {"retry_wait_s": 0.001, "retry_wait_limit_s": 0.01}


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture(autouse=True)
def spool_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the clients of a test that say nothing else keep their spools."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("FLEETMETER_SPOOL_DIR", str(folder))
    return folder


@pytest.fixture(params=["spool", "memory"])
def outbox(request: pytest.FixtureRequest) -> str:
    """Both kinds of outbox: a client's contract does not depend on it."""
    return str(request.param)


@pytest.fixture
def make_client(broker: FakeBroker, outbox: str) -> Iterator[Callable[..., UsageClient]]:
    """Makes clients of the broker, `make_client(source, **settings)`, and closes them after the test."""
    clients: list[UsageClient] = []

    def make(source: str = "urn:test:server-1", **options: Any) -> UsageClient:
        settings = ClientSettings(**{**QUICK, "outbox": outbox, **options})
        clients.append(UsageClient("kafka:9092", source, settings=settings, connect=broker.connect))
        return clients[-1]

    yield make
    for client in clients:
        client.close(0)
