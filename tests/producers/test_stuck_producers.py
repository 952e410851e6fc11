"""A producer of librdkafka that never connects again: another one takes over, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from fleetmeter_doubles.ingest_events import arrived, make_event, text_of
from fleetmeter_doubles.ingest_server import ingest_server, until
from fleetmeter_doubles.kafka_broker import FakeBroker, FakeKafkaError, FakeKafkaException, FakeProducer
from fleetmeter_producers import MemoryOutbox, UsageClient
from fleetmeter_producers.ingest.delivery import Delivery
from fleetmeter_producers.kafka import Watch
from fleetmeter_producers.sender import Sender
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


def test_a_client_waits_before_it_takes_another_as_the_next_may_fail_the_same_way(broker: FakeBroker) -> None:
    waits: list[float | None] = []

    class Noted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            return super().wait(timeout)

    outbox = MemoryOutbox(10_000)
    sender = Sender(outbox, "usage", b"key", {}, connect=broker.connect, retry_wait_s=3600.0, retry_wait_limit_s=3600.0)
    sender._hurried = Noted()
    broker.away = True
    outbox.append(b"x", 0)
    sender.start()
    broker.wait_for(lambda: broker.queued == 1)
    broker.break_producers()
    broker.wait_for(lambda: 3600.0 in waits)
    assert len(broker.configs) == 1
    broker.away = False
    sender.hurry()
    broker.wait_for(lambda: broker.values() == [b"x"])
    assert len(broker.configs) == 2
    assert sender.stop(10)


def test_an_ingest_process_takes_another_less_and_less_often_if_each_fails_the_same_way() -> None:
    """Without the right to write, say: each of them logs in, and brokers should not see that ten times a second."""
    broker, now, turns = FakeBroker(), 100.0, 0

    def connect(config: Mapping[str, Any]) -> FakeProducer:
        producer = broker.connect(config)
        broker.break_producers()
        return producer

    def clock() -> float:
        nonlocal turns
        turns += 1
        return now

    delivery = Delivery("usage", {}, connect=connect, clock=clock)
    delivery.start()
    made = []
    for passed_s in (0.0, 0.9, 0.2, 1.7, 0.4):
        now += passed_s
        asked = turns + 20
        until(lambda asked=asked: turns >= asked)
        made.append(len(broker.configs))
    delivery.stop(0)
    assert made == [2, 2, 3, 3, 4]


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
