"""The client against a broker that does what the test says."""

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import (
    ClientClosedError,
    ClientSettings,
    ClientSettingsError,
    ClientStats,
    Pending,
    UsageClient,
)
from fleetmeter_producers.metrics import register
from fleetmeter_schemas import EventRejected, GenerationV1, OutcomeV1, Reason, parse_event
from prometheus_client import CollectorRegistry

LONG_NAMES = ("provider", "region", "project_id", "query_class", "accelerator", "requested_model", "model_version")
GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)


def test_an_event_arrives_as_it_was_emitted(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    client = make_client()
    moment = datetime(2026, 11, 22, 13, 30, 15, 123456, tzinfo=UTC)
    event_id = client.emit("acct-42", GENERATION, time=moment)
    assert client.flush(60) == Pending(0, 0)
    [(topic, key, value)] = broker.log
    assert (topic, key) == ("fleetmeter.usage", b"urn:test:server-1")
    event = parse_event(orjson.loads(value or b""))
    assert dataclasses.asdict(event) | {"data": event.data} == {
        "type": "fleetmeter.generation.v1",
        "id": event_id,
        "source": "urn:test:server-1",
        "subject": "acct-42",
        "time_us": 1_795_354_215_123_456,
        "data": GENERATION,
        "unknown_fields": (),
    }


def test_ids_are_the_incarnation_s_in_sequence(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    client = make_client()
    ids = [client.emit("a", GENERATION) for _ in range(50)]
    assert ids == [f"{client.stats().incarnation}-{sequence}" for sequence in range(50)]
    client.flush(60)
    assert broker.ids() == ids


def test_a_time_not_given_is_now(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    before = datetime.now(UTC)
    client = make_client()
    client.emit("a", GENERATION)
    client.flush(60)
    time = datetime.fromisoformat(orjson.loads(broker.values()[0] or b"")["time"])
    assert before <= time <= datetime.now(UTC)


def test_an_id_of_the_caller_s_own_is_kept_and_takes_no_number(make_client: Callable[..., UsageClient]) -> None:
    client = make_client()
    assert client.emit("a", GENERATION, id="order-7") == "order-7"
    assert client.emit("a", GENERATION).endswith("-0")


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"subject": ""}, Reason.BAD_VALUE, "subject"),
        ({"subject": "x" * 129}, Reason.BAD_VALUE, "subject"),
        ({"subject": "a\tb"}, Reason.BAD_VALUE, "subject"),
        ({"subject": 7}, Reason.WRONG_TYPE, "subject"),
        ({"subject": None}, Reason.MISSING_FIELD, "subject"),
        ({"id": ""}, Reason.BAD_VALUE, "id"),
        ({"id": "i" * 129}, Reason.BAD_VALUE, "id"),
    ],
)
def test_a_bad_envelope_is_refused_in_the_words_of_quarantine(
    make_client: Callable[..., UsageClient], change: dict[str, Any], reason: Reason, field: str
) -> None:
    good = {"specversion": "1.0", "type": GENERATION.TYPE, "id": "i", "source": "s", "subject": "a"}
    with pytest.raises(EventRejected) as said_by_contract:
        parse_event({**good, "time": "2026-01-01T00:00:00Z", "data": GENERATION.to_wire(), **change})
    client = make_client()
    with pytest.raises(EventRejected) as said_by_client:
        client.emit(change.get("subject", "a"), GENERATION, id=change.get("id"))
    assert (said_by_client.value.reason, said_by_client.value.field) == (reason, field)
    assert str(said_by_client.value) == str(said_by_contract.value)
    assert client.stats().emitted == 0


def test_what_is_no_event_is_refused(make_client: Callable[..., UsageClient]) -> None:
    client = make_client()
    with pytest.raises(EventRejected, match="must be an event of fleetmeter_schemas, not dict"):
        client.emit("a", {"model": "m"})  # type: ignore[arg-type]
    with pytest.raises(EventRejected, match="has no time zone"):
        client.emit("a", GENERATION, time=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_bad_source_is_refused_at_once(broker: FakeBroker) -> None:
    with pytest.raises(EventRejected, match="source has 0 characters"):
        UsageClient("kafka:9092", "", connect=broker.connect)


def test_an_event_above_the_limit_is_refused(make_client: Callable[..., UsageClient]) -> None:
    client = make_client(event_limit_bytes=1024)
    large = GenerationV1(
        model="m", generation_mode="diffusion", labels={f"{number}{'k' * 50}": "v" * 128 for number in range(8)}
    )
    with pytest.raises(EventRejected, match="at most 1024 are allowed") as refused:
        client.emit("a", large)
    assert refused.value.reason is Reason.TOO_LARGE


def test_emit_does_not_wait_for_the_broker(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    broker.away = True
    client = make_client()
    ids = [client.emit("a", GENERATION) for _ in range(100)]
    left = client.flush(0.05)
    assert left.events == 100
    assert (client.stats().delivered, client.stats().pending_events) == (0, 100)
    broker.away = False
    assert client.flush(60).events == 0
    assert broker.ids() == ids


def test_a_failed_delivery_is_sent_again_with_its_id(
    broker: FakeBroker, make_client: Callable[..., UsageClient]
) -> None:
    broker.refusals.extend(["not enough replicas", None, "timed out", "timed out"])
    client = make_client()
    ids = [client.emit("a", GENERATION) for _ in range(10)]
    assert client.flush(60).events == 0
    assert sorted(broker.ids()) == sorted(ids)
    stats = client.stats()
    assert (stats.emitted, stats.delivered, stats.failed_deliveries) == (10, 10, 3)
    assert stats.last_error is None


def test_an_unsure_delivery_may_come_twice_but_only_under_one_id(
    broker: FakeBroker, make_client: Callable[..., UsageClient]
) -> None:
    broker.keeps_refused = True
    broker.refusals.extend(["timed out"] * 5)
    client = make_client()
    ids = [client.emit("a", GENERATION) for _ in range(20)]
    assert client.flush(60).events == 0
    assert len(broker.log) == 25
    assert set(broker.ids()) == set(ids)
    # A copy differs in nothing: a worker that counts ids once counts the event right.
    assert len(set(broker.values())) == 20


def test_a_poisoned_event_does_not_hold_up_the_others(
    broker: FakeBroker, make_client: Callable[..., UsageClient]
) -> None:
    client = make_client(retry_wait_s=60, retry_wait_limit_s=60)
    broker.refusals.append("message too large for the broker")
    poisoned = client.emit("a", GENERATION)
    broker.wait_for(lambda: not broker.refusals)
    others = [client.emit("a", GENERATION) for _ in range(20)]
    broker.wait_for(lambda: len(broker.log) == 20)
    assert broker.ids() == others
    assert client.flush(60).events == 0, "a flush tries again at once, whatever the wait"
    assert broker.ids()[-1] == poisoned


def test_an_event_that_kafka_s_library_takes_for_too_large_does_not_hold_up_the_others(
    make_client: Callable[..., UsageClient], broker: FakeBroker
) -> None:
    """A process with a higher limit may have left it."""
    broker.record_limit_bytes = 1_000
    client = make_client(retry_wait_s=60, retry_wait_limit_s=60)
    client.emit("a" * 128, GENERATION.model_copy(update=dict.fromkeys(LONG_NAMES, "x" * 120)))
    others = [client.emit("a", GENERATION) for _ in range(20)]
    broker.wait_for(lambda: len(broker.log) == 20)
    assert broker.ids() == others
    broker.wait_for(lambda: client.stats().pending_events == 1)
    assert "too large" in (client.stats().last_error or "") or client.stats().failed_deliveries
    assert len(broker.configs) == 1, "the producer is as good as it was"
    broker.record_limit_bytes = 1_000_000
    assert client.flush(60).events == 0


def test_after_a_fatal_error_a_new_producer_takes_over(
    broker: FakeBroker, make_client: Callable[..., UsageClient]
) -> None:
    client = make_client()
    first = client.emit("a", GENERATION)
    client.flush(60)
    broker.away = True
    rest = [client.emit("a", GENERATION) for _ in range(10)]
    client.flush(0.05)
    broker.break_producers()
    broker.away = False
    assert client.flush(60).events == 0
    assert sorted(broker.ids()) == sorted([first, *rest])
    assert len(broker.configs) == 2


def test_a_full_queue_of_kafka_s_library_only_waits(
    make_client: Callable[..., UsageClient], broker: FakeBroker
) -> None:
    broker.queue_limit = 3
    client = make_client()
    ids = [client.emit("a", GENERATION) for _ in range(50)]
    assert client.flush(60).events == 0
    assert broker.ids() == ids


def test_a_process_that_can_have_no_more_threads_still_accepts(
    make_client: Callable[..., UsageClient], broker: FakeBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client()
    start = threading.Thread.start

    def refused(thread: threading.Thread) -> None:
        if thread.name == "fleetmeter-sender":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    first = client.emit("a", GENERATION)
    assert client.flush(0).events == 1
    monkeypatch.undo()
    second = client.emit("a", GENERATION)
    assert client.flush(60).events == 0
    assert broker.ids() == [first, second]


def test_many_threads_share_a_client(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    client = make_client()
    broker.refusals.extend(["busy"] * 20)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait()
        for _ in range(250):
            client.emit(f"acct-{number}", OutcomeV1(name="done", quantity=1))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.close(60) == Pending(0, 0)
    incarnation = client.stats().incarnation
    assert sorted(broker.ids()) == sorted(f"{incarnation}-{sequence}" for sequence in range(2_000))


def test_close_drains_says_what_is_left_and_accepts_no_more(
    broker: FakeBroker, make_client: Callable[..., UsageClient], caplog: Any
) -> None:
    client = make_client()
    client.emit("a", GENERATION)
    assert client.close(60).events == 0
    with pytest.raises(ClientClosedError, match="urn:test:server-1 is closed"):
        client.emit("a", GENERATION)

    broker.away = True
    other = make_client("urn:test:other")
    for _ in range(3):
        other.emit("a", GENERATION)
    assert other.close(0.05).events == 3
    assert other.close(0.05).events == 3, "closing again changes nothing"
    assert "has not acknowledged 3 events" in caplog.text


def test_no_event_slips_past_a_close(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    """Whatever `emit` accepted while `close` began was sent, or is counted as left."""
    for _ in range(20):
        client = make_client()
        accepted: list[str] = []

        def work(client: UsageClient = client, accepted: list[str] = accepted) -> None:
            try:
                while True:
                    accepted.append(client.emit("a", GENERATION))
            except ClientClosedError:
                return

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        client.emit("a", GENERATION, id="first")
        left = client.close(60)
        for thread in threads:
            thread.join()
        assert left.events == client.stats().pending_events == 0
        assert set(accepted) <= set(broker.ids())
        assert client.stats().emitted == client.stats().delivered == len(accepted) + 1
        broker.log.clear()


def test_a_client_that_emitted_nothing_contacts_nobody(
    broker: FakeBroker, make_client: Callable[..., UsageClient]
) -> None:
    client = make_client()
    assert client.flush(1) == client.close(1) == Pending(0, 0)
    assert broker.configs == []


def test_the_guarantees_stand_in_the_configuration(broker: FakeBroker, make_client: Callable[..., UsageClient]) -> None:
    client = make_client(kafka={"security.protocol": "ssl"}, linger_ms=7)
    client.emit("a", GENERATION)
    client.flush(60)
    expected = {
        "bootstrap.servers": "kafka:9092",
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "linger.ms": 7,
        "security.protocol": "ssl",
    }
    assert {name: broker.configs[-1][name] for name in expected} == expected


def test_a_misspelt_kafka_option_is_found_when_the_client_is_made() -> None:
    with pytest.raises(ClientSettingsError, match=r"securty\.protocol"):
        UsageClient("kafka:9092", "urn:s", settings=ClientSettings(kafka={"securty.protocol": "ssl"}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linger_ms": -1}, r"linger_ms: .* \(given: -1\)"),
        ({"linger": 5}, "linger: Extra inputs"),
        ({"kafka": {"acks": "1"}}, "kafka: acks can't be set: exactly-once delivery rests on it"),
        ({"kafka": {"delivery.report.only.error": True}}, "kafka: delivery.report.only.error can't be set"),
        ({"kafka": {"linger.ms": 1}}, "kafka: linger.ms is set through linger_ms"),
        ({"when_full": "explode"}, "when_full: "),
        (
            {"linger_ms": 2000, "delivery_timeout_s": 2},
            r"linger_ms \(2000\) must be below delivery_timeout_s \(2.0 s\)",
        ),
    ],
)
def test_bad_settings_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientSettingsError, match=message):
        ClientSettings.of(**options)


def test_a_password_does_not_get_into_the_message() -> None:
    with pytest.raises(ClientSettingsError) as refused:
        ClientSettings.of(kafka={"sasl.password": "hunter2", "acks": "0"})
    assert "hunter2" not in str(refused.value)


def test_a_client_may_be_a_context_and_is_closed_with_it(make_client: Callable[..., UsageClient]) -> None:
    with make_client() as client:
        client.emit("a", GENERATION)
    with pytest.raises(ClientClosedError):
        client.emit("a", GENERATION)
    assert client.stats().pending_events == 0


def test_a_client_in_a_coroutine_leaves_the_loop_free(
    make_client: Callable[..., UsageClient], broker: FakeBroker
) -> None:
    async def work() -> list[str]:
        order = []
        broker.away = True
        async with make_client() as client:
            client.emit("a", GENERATION)

            async def come_back() -> None:
                order.append("the loop went on")
                broker.away = False

            returning = asyncio.create_task(come_back())
        order.append("closed")
        await returning
        return order

    assert asyncio.run(work()) == ["the loop went on", "closed"]


def test_prometheus_gets_every_counter(make_client: Callable[..., UsageClient]) -> None:
    registry = CollectorRegistry()
    clients = [make_client("urn:test:one"), make_client("urn:test:two")]
    for client in clients:
        register(client, registry)
    for _ in range(3):
        clients[0].emit("a", GENERATION)
    assert clients[0].flush(60).events == 0

    def value(name: str, source: str) -> float | None:
        return registry.get_sample_value(f"fleetmeter_client_{name}", {"source": source})

    assert [value("events_delivered_total", client.source) for client in clients] == [3, 0]
    assert value("pending_events", "urn:test:one") == 0
    assert value("delivery_failing", "urn:test:one") == 0
    exported = {name.removeprefix("fleetmeter_client_") for family in registry.collect() for name in [family.name]}
    told = {field.name for field in dataclasses.fields(ClientStats)} - {"incarnation", "last_error"}
    assert {name.removeprefix("events_") for name in exported} == told | {"delivery_failing"}
