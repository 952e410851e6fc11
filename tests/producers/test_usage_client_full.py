"""The client when its outbox is full, by each policy."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import OutboxFullError, UsageClient
from fleetmeter_schemas import GenerationV1

GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)


def fill(client: UsageClient) -> int:
    """Emit until the outbox has no room; the broker must be away."""
    for number in range(1_000_000):
        before = client.stats().pending_events
        client.emit("a", GENERATION)
        if client.stats().pending_events == before:
            return number
    raise AssertionError("never full")


def test_full_and_drop_newest(broker: FakeBroker, make_client: Callable[..., UsageClient], caplog: Any) -> None:
    broker.away = True
    client = make_client(outbox_limit_bytes=2**20)
    fitted = fill(client)
    dropped = [client.emit("a", GENERATION) for _ in range(4)]
    stats = client.stats()
    assert (stats.emitted, stats.dropped, stats.pending_events) == (fitted, 5, fitted)
    assert stats.pending_bytes <= 2**20
    assert "new events are dropped" in caplog.text
    assert caplog.text.count("are dropped") == 1, "a full outbox must not flood the log"
    broker.away = False
    assert client.flush(60).events == 0
    assert len(broker.log) == fitted
    assert not set(dropped) & set(broker.ids())


def test_full_and_raise(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    broker.away = True
    client = make_client(outbox_limit_bytes=2**20, when_full="raise")
    with pytest.raises(OutboxFullError, match="was not accepted") as full:
        fill(client)
    assert full.value.retryable
    assert client.stats().dropped == 0


def test_full_and_block(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    broker.away = True
    client = make_client(outbox_limit_bytes=2**20, when_full="block", when_full_wait_s=0.01)
    with pytest.raises(OutboxFullError):
        fill(client)
    patient = make_client("urn:test:patient", outbox_limit_bytes=2**20, when_full="block", when_full_wait_s=30)
    filling = threading.Thread(target=lambda: [patient.emit("a", GENERATION) for _ in range(4_000)])
    filling.start()
    broker.away = False
    filling.join(30)
    assert not filling.is_alive()
    assert patient.flush(60).events == 0
    assert patient.stats().delivered == 4_000


def test_close_waits_for_an_emit_that_waits_for_room(
    broker: FakeBroker, make_client: Callable[..., UsageClient]
) -> None:
    broker.away = True
    client = make_client(outbox_limit_bytes=2**20, when_full="block", when_full_wait_s=0.2)
    refused: list[Exception] = []

    def work() -> None:
        try:
            fill(client)
        except OutboxFullError as full:
            refused.append(full)

    filling = threading.Thread(target=work)
    filling.start()
    waiting = client._outbox._room._waiters  # type: ignore[attr-defined]
    broker.wait_for(lambda: bool(waiting) or bool(refused))  # an emit that is being written is none that waits
    left = client.close(0)
    filling.join(10)
    assert len(refused) == 1
    assert client.stats().emitted == client.stats().pending_events == left.events
