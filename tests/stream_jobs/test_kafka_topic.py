"""Topics that can't be counted exactly are refused, with the command that mends them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from fleetmeter_jobs.errors import KafkaUnavailableError, TopicMissingError, TopicRefusedError
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.kafka_topic import KafkaTopic, TopicIdentity, countable_topic_id, describe_topic, refuse_unfit
from fleetmeter_local import RunningKafka


def _topic(cleanup_policy: str = "delete", timestamp_type: str = "LogAppendTime") -> KafkaTopic:
    return KafkaTopic("usage", "id", 4, cleanup_policy, timestamp_type)


def test_a_fit_topic_passes() -> None:
    refuse_unfit(_topic(), "broker:9092")


@pytest.mark.parametrize(
    ("topic", "said", "command"),
    [
        (_topic(cleanup_policy="compact"), "cleanup.policy=compact", "--add-config cleanup.policy=delete`"),
        (_topic(cleanup_policy="compact,delete"), "cleanup.policy=compact,delete", "cleanup.policy=delete`"),
        (_topic(timestamp_type="CreateTime"), "CreateTime", "--add-config message.timestamp.type=LogAppendTime`"),
        (_topic("compact", "CreateTime"), "CreateTime", "cleanup.policy=delete,message.timestamp.type=LogAppendTime`"),
    ],
    ids=["compacted", "both", "producers' clock", "everything"],
)
def test_an_unfit_topic_is_refused_with_the_command(topic: KafkaTopic, said: str, command: str) -> None:
    with pytest.raises(TopicRefusedError) as caught:
        refuse_unfit(topic, "broker:9092")
    assert said in str(caught.value)
    assert "kafka-configs.sh --bootstrap-server broker:9092 --alter" in str(caught.value)
    assert command in str(caught.value)


T = TypeVar("T")


def _once_known(ask: Callable[[KafkaAccess, str], T], kafka: RunningKafka, topic: str) -> T:
    """A broker learns of a new topic a moment after its creation was confirmed."""
    give_up = time.monotonic() + 30
    while True:
        try:
            return ask(KafkaAccess(kafka.bootstrap), topic)
        except TopicMissingError:
            if time.monotonic() > give_up:
                raise


@pytest.mark.kafka
def test_the_broker_is_asked(kafka: RunningKafka, make_topic: Callable[..., str]) -> None:
    fit = make_topic(partitions=3, message_timestamp_type="LogAppendTime")
    described = _once_known(describe_topic, kafka, fit)
    assert (described.partitions, described.cleanup_policy, described.timestamp_type) == (3, "delete", "LogAppendTime")
    assert _once_known(countable_topic_id, kafka, fit) == described.topic_id
    with pytest.raises(TopicRefusedError, match=r"message\.timestamp\.type=CreateTime"):
        _once_known(countable_topic_id, kafka, make_topic())


@pytest.mark.kafka
def test_a_recreated_topic_has_another_id(kafka: RunningKafka, topic_name: str) -> None:
    access = KafkaAccess(kafka.bootstrap)
    admin, identity = AdminClient(access.librdkafka()), TopicIdentity(access, topic_name)
    topic = NewTopic(topic_name, 1, 1, config={"message.timestamp.type": "LogAppendTime"})
    admin.create_topics([topic])[topic_name].result(30)
    first = _once_known(countable_topic_id, kafka, topic_name)
    assert identity.now() == (first, 1)

    admin.delete_topics([topic_name])[topic_name].result(30)
    with pytest.raises(TopicMissingError):
        _until_raised(identity.now)
    admin.create_topics([topic])[topic_name].result(30)
    second = _once_known(countable_topic_id, kafka, topic_name)
    assert identity.now() == (second, 1)
    assert second != first


def _until_raised(ask: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while time.monotonic() < give_up:
        ask()


@pytest.mark.kafka
def test_a_topic_that_is_not_there_comes_with_how_to_make_it(kafka: RunningKafka, topic_name: str) -> None:
    with pytest.raises(TopicMissingError, match=f"{topic_name} does not exist.*kafka-topics.sh .*--create"):
        describe_topic(KafkaAccess(kafka.bootstrap), topic_name)
    assert topic_name not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=30).topics


def test_a_broker_that_is_away_may_come_back(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetmeter_jobs.kafka_topic._TIMEOUT_S", 0.5)
    access = KafkaAccess(f"127.0.0.1:{unused_tcp_port}")
    with pytest.raises(KafkaUnavailableError) as caught:
        describe_topic(access, "usage")
    assert caught.value.retryable
    with pytest.raises(KafkaUnavailableError):
        TopicIdentity(access, "usage").now()


class _Admin:
    """Answers each question about the topic `usage` with its only answer: an id, or the number of an error."""

    def __init__(self, answer: str | int) -> None:
        self._answer = answer

    def describe_topics(self, *_args: Any, **_options: Any) -> dict[str, Future[Any]]:
        future: Future[Any] = Future()
        if isinstance(self._answer, str):
            future.set_result(SimpleNamespace(topic_id=self._answer, partitions=[0, 1]))
        else:
            future.set_exception(KafkaException(KafkaError(self._answer)))
        return {"usage": future}


def test_a_client_that_never_connects_again_is_exchanged() -> None:
    clients = [_Admin(KafkaError._TIMED_OUT), _Admin(KafkaError._TIMED_OUT), _Admin("an id")]
    identity = TopicIdentity(KafkaAccess("broker:9092"), "usage", lambda _options: clients.pop(0))
    for _ in range(2):
        with pytest.raises(KafkaUnavailableError):
            identity.now()
    assert [identity.now(), identity.now()] == [("an id", 2), ("an id", 2)]


@pytest.mark.parametrize(
    ("answer", "raised"),
    [(KafkaError.REQUEST_TIMED_OUT, KafkaUnavailableError), (KafkaError.UNKNOWN_TOPIC_OR_PART, TopicMissingError)],
)
def test_a_client_that_a_broker_answers_is_kept(answer: int, raised: type[Exception]) -> None:
    clients = [_Admin(answer)]
    identity = TopicIdentity(KafkaAccess("broker:9092"), "usage", lambda _options: clients.pop(0))
    for _ in range(2):
        with pytest.raises(raised):
            identity.now()
