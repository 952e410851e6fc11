"""A producer of librdkafka that never connects again: another one takes over, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fleetmeter_doubles.ingest_events import arrived, make_event, text_of
from fleetmeter_doubles.ingest_server import ingest_server, until
from fleetmeter_doubles.kafka_broker import FakeBroker, FakeKafkaError, FakeKafkaException
from fleetmeter_producers import UsageClient
from fleetmeter_producers.kafka import Watch
from fleetmeter_schemas import GenerationV1

GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)
TIMED_OUT = FakeKafkaError("Local: Message timed out", code=-192)


def test_one_that_delivers_is_slow_and_one_that_does_not_is_stuck() -> None:
    now = 0.0
    watch = Watch({"message.timeout.ms": 10_000}, lambda: now)
    now = 9.0
    assert not watch.is_stuck(TIMED_OUT)  # too early to have come of this producer
    assert not watch.is_stuck(None)
    now = 18.0
    assert not watch.is_stuck(TIMED_OUT)  # another record has arrived since it was sent
    now = 19.0
    assert not watch.is_stuck(FakeKafkaError("Broker: Not leader for partition", code=6))
    assert watch.is_stuck(TIMED_OUT)
    assert watch.is_stuck(FakeKafkaException(TIMED_OUT))
    watch.connected()
    assert not watch.is_stuck(TIMED_OUT)


@pytest.mark.parametrize("outbox", ["spool", "memory"])
def test_a_client_goes_on_with_another(
    make_client: Callable[..., UsageClient], broker: FakeBroker, outbox: str
) -> None:
    client = make_client(outbox=outbox, delivery_timeout_s=1)
    ids = [client.emit("a", GENERATION)]
    client.flush(60)
    broker.forget_producers()
    ids += [client.emit("a", GENERATION) for _ in range(20)]
    assert client.flush(60).events == 0
    assert sorted(broker.ids()) == sorted(ids)
    assert len(broker.configs) == 2


def test_an_ingest_process_goes_on_with_another(caplog: pytest.LogCaptureFixture) -> None:
    broker = FakeBroker()
    quick: dict[str, Any] = {"ack_timeout_s": 1}
    with ingest_server(broker, **quick) as server:
        assert server.post(text_of(make_event(1))).status == 202
        broker.forget_producers()
        assert server.post(text_of(make_event(2))).status == 503
        until(lambda: server.post(text_of(make_event(2))).status == 202)
    assert len(broker.configs) == 2
    assert arrived(broker)["urn:test:gateway"] == ["event-1", "event-2"]
    assert "delivers nothing any more; a new one takes over: Local: Message timed out" in caplog.text
