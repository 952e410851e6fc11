"""The local broker: limits, topics, transactions, kill -9, restart, detached life."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from fleetmeter_local import (
    AlreadyRunningError,
    EngineStartError,
    LocalError,
    ManagedProcess,
    ProcessIdentity,
    RunningKafka,
    find_kafka,
    start_kafka,
)
from fleetmeter_local.kafka import broker
from fleetmeter_local.kafka.broker import PORT_LOST
from fleetmeter_local.local import Started
from fleetmeter_local.probes import kafka_answers

pytestmark = pytest.mark.kafka
TIMEOUT_S = 60.0


def _admin(running: RunningKafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": running.bootstrap, "log_level": 0})


def _produce(running: RunningKafka, topic: str, *values: bytes) -> None:
    producer = Producer(
        {"bootstrap.servers": running.bootstrap, "acks": "all", "message.max.bytes": 32 << 20, "log_level": 0}
    )
    failures: list[object] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _message: failures.append(error))
    assert producer.flush(TIMEOUT_S) == 0
    assert failures == [None] * len(values)


def _consume(running: RunningKafka, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": running.bootstrap, "group.id": f"g-{topic}", "log_level": 0})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        messages = consumer.consume(count, TIMEOUT_S)
        return [message.value() or b"" for message in messages]
    finally:
        consumer.close()


def _ended(folder: Path) -> ManagedProcess:
    return ManagedProcess("kafka", ProcessIdentity(1, "ended"), folder / "log")


def test_it_answers_and_keeps_records(kafka: RunningKafka, make_topic: Callable[..., str]) -> None:
    topic = make_topic(2, message_timestamp_type="LogAppendTime")
    assert len(_admin(kafka).list_topics(topic, timeout=10).topics[topic].partitions) == 2
    one = make_topic()
    _produce(kafka, one, b"a", b"b")
    assert _consume(kafka, one, 2) == [b"a", b"b"]


def test_records_up_to_16_mib_pass(kafka: RunningKafka, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    large = b"x" * (12 << 20)
    _produce(kafka, topic, large)
    assert _consume(kafka, topic, 1) == [large]
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 32 << 20, "log_level": 0})
    failures: list[str] = []
    producer.produce(topic, b"x" * (17 << 20), on_delivery=lambda error, _message: failures.append(error.name()))
    producer.flush(TIMEOUT_S)
    assert failures == ["MSG_SIZE_TOO_LARGE"]


def test_a_topic_with_a_typing_error_does_not_come_into_being(kafka: RunningKafka, topic_name: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.timeout.ms": 1500, "log_level": 0})
    failures: list[object] = []
    producer.produce(topic_name, b"x", on_delivery=lambda error, _message: failures.append(error))
    producer.flush(TIMEOUT_S)
    assert [failure is None for failure in failures] == [False]
    assert topic_name not in _admin(kafka).list_topics(timeout=10).topics


def test_groups_and_transactions_work_on_one_node(kafka: RunningKafka, make_topic: Callable[..., str]) -> None:
    topic = make_topic()
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": f"t-{topic}", "log_level": 0})
    producer.init_transactions(TIMEOUT_S)
    for value, end in ((b"aborted", producer.abort_transaction), (b"committed", producer.commit_transaction)):
        producer.begin_transaction()
        producer.produce(topic, value)
        end(TIMEOUT_S)
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    messages = consumer.consume(1, TIMEOUT_S)
    assert [message.value() for message in messages] == [b"committed"]
    consumer.commit(asynchronous=False)
    consumer.close()


def test_what_was_acknowledged_survives_kill_9(kafka_factory: Callable[[], RunningKafka]) -> None:
    running = kafka_factory()
    admin = _admin(running)
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result(TIMEOUT_S)
    _produce(running, "t", b"before")
    bootstrap, pid = running.bootstrap, running.pid
    running.kill()
    assert not running.is_alive()
    with pytest.raises(KafkaException):
        _admin(running).list_topics(timeout=1)
    running.restart()
    assert (running.bootstrap, running.pid != pid) == (bootstrap, True)
    _produce(running, "t", b"after kill")
    assert _consume(running, "t", 2) == [b"before", b"after kill"]
    assert running.log_path is not None
    with pytest.raises(AlreadyRunningError, match=bootstrap):
        start_kafka(running.log_path.parent.parent, source="local")


def test_a_detached_broker_is_found_and_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder whose name Java reads right only if it is told how, under a locale that can't spell it."""
    monkeypatch.setenv("LC_ALL", "C")
    folder = tmp_path / "josé's 語 data"
    script = (
        "import sys, pathlib; from fleetmeter_local import start_kafka;"
        "print(start_kafka(pathlib.Path(sys.argv[1]), source='local', detached=True).bootstrap)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    found = find_kafka(folder)
    assert found is not None
    with found:
        assert found.bootstrap == done.stdout.strip()
        assert _admin(found).list_topics(timeout=10).brokers
    assert find_kafka(folder) is None
    assert not found.is_alive()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_folder_that_kafka_would_take_for_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="comma"):
        start_kafka(tmp_path / "a,b", source="local")


def test_a_folder_that_is_no_kafka_folder_is_reported(tmp_path: Path) -> None:
    partitions = tmp_path / "kafka" / "partitions"
    partitions.parent.mkdir()
    partitions.write_text("a file where a folder should be")
    with pytest.raises(EngineStartError, match="could not be formatted") as caught:
        start_kafka(tmp_path, source="local")
    assert str(tmp_path / "logs" / "kafka.log") in str(caught.value)
    assert caught.value.log_tail
    assert find_kafka(tmp_path) is None


def test_a_port_that_is_taken_is_named(kafka: RunningKafka, tmp_path: Path) -> None:
    if kafka.source != "local":
        pytest.skip("needs a broker on this machine")
    taken = int(kafka.bootstrap.rpartition(":")[2])
    with pytest.raises(EngineStartError, match="already in use"):
        start_kafka(tmp_path, port=taken, source="local")


def test_a_stranger_at_the_port_is_not_taken_for_the_broker(kafka: RunningKafka) -> None:
    assert kafka_answers(kafka.bootstrap)
    assert not kafka_answers(kafka.bootstrap, cluster_id="another")


@pytest.mark.parametrize("bootstrap", ["127.0.0.1:1", "no port", "127.0.0.1:x"])
def test_nobody_answers_where_nobody_is(bootstrap: str) -> None:
    assert not kafka_answers(bootstrap)


def test_a_free_port_that_is_lost_to_another_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = EngineStartError("kafka", "ended", "", log_path=None, log_tail=f"java.net: {PORT_LOST}", domain="kafka")
    outcomes: list[EngineStartError | Started] = [
        lost,
        lost,
        Started(_ended(tmp_path), {"bootstrap": "b", "port": "1"}),
    ]

    def start(*_args: object, **_options: object) -> Started:
        outcome = outcomes.pop(0)
        if isinstance(outcome, EngineStartError):
            raise outcome
        return outcome

    monkeypatch.setattr(broker, "_start", start)
    assert start_kafka(tmp_path, source="local").bootstrap == "b"
    outcomes = [lost, lost, lost]
    with pytest.raises(EngineStartError):  # not for ever
        start_kafka(tmp_path, source="local")
    other = EngineStartError("kafka", "ended", "", log_path=None, log_tail="no space left", domain="kafka")
    outcomes = [other, lost]
    with pytest.raises(EngineStartError, match="no space left"):
        start_kafka(tmp_path, source="local")


def test_a_port_that_kafka_calls_taken_is_known_by_its_words(kafka: RunningKafka, tmp_path: Path) -> None:
    """The words that the retry looks for are Java's: asked from Java, so that a change of them shows."""
    if kafka.source != "local":
        pytest.skip("needs a broker on this machine")
    taken = int(kafka.bootstrap.rpartition(":")[2])
    program = tmp_path / "Taken.java"
    program.write_text(
        "class Taken { public static void main(String[] a) throws Exception {"
        f' new java.net.ServerSocket({taken}, 1, java.net.InetAddress.getByName("127.0.0.1")); }} }}'
    )
    done = subprocess.run(["java", str(program)], capture_output=True, text=True, check=False)
    if "compiler" in done.stderr:
        pytest.skip("this Java runtime has no compiler")
    assert PORT_LOST in done.stderr


def test_a_damaged_folder_is_reported(tmp_path: Path) -> None:
    partitions = tmp_path / "kafka" / "partitions"
    partitions.mkdir(parents=True)
    (partitions / "meta.properties").write_text("version=1\n")
    with pytest.raises(LocalError, match=r"cluster\.id"):
        start_kafka(tmp_path, source="local")
