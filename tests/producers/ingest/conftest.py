"""Events, tokens and servers for the tests of the HTTP ingest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleetmeter_doubles.ingest_server import IngestServer, ingest_server
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers.ingest.tokens import TokenFile


@pytest.fixture(scope="module")
def shared_broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture(scope="module")
def shared_server(shared_broker: FakeBroker) -> Iterator[IngestServer]:
    """Open to all, for tests that change nothing about it but what is in the log."""
    with ingest_server(shared_broker) as server:
        yield server


@pytest.fixture
def server(shared_server: IngestServer, shared_broker: FakeBroker) -> IngestServer:
    shared_broker.log.clear()
    return shared_server


@pytest.fixture
def log(shared_broker: FakeBroker) -> FakeBroker:
    """The broker behind `server`."""
    return shared_broker


@pytest.fixture
def token_file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")
