"""What Kafka does not say of a topic, or of one partition, is an error, and no topic or partition that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from fleetmeter_doubles.commands import run_command
from fleetmeter_jobs.cli import kafka, kafka_span, positions, reconcile
from fleetmeter_jobs.cli.exits import Exit
from fleetmeter_jobs.errors import TopicRefusedError
from fleetmeter_jobs.positions import TopicView
from fleetmeter_jobs.reconcile import LogEnds, Report
from fleetmeter_jobs.settings import Settings

SETTINGS = Settings(topic="usage")


class ToyConsumer:
    """Answers for two partitions of one topic, and with errors for others."""

    def __init__(self, refusal: int) -> None:
        self._refusal = refusal

    def list_topics(self, topic: str, timeout: float) -> Any:
        error = None if topic == "usage" else KafkaError(self._refusal)
        found = SimpleNamespace(error=error, partitions={} if error else {0: None, 1: None})
        return SimpleNamespace(topics={topic: found})

    def get_watermark_offsets(self, _where: TopicPartition, timeout: float) -> tuple[int, int]:
        return 3, 9


def answering(monkeypatch: pytest.MonkeyPatch, module: Any, consumer: Any) -> None:
    @contextmanager
    def reader(*_: object, **__: object) -> Iterator[Any]:
        yield consumer

    monkeypatch.setattr(module, "reader", reader)


def test_a_topic_that_is_not_there_has_no_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, kafka, ToyConsumer(KafkaError.UNKNOWN_TOPIC_OR_PART))
    assert kafka.log_ends(SETTINGS, ["usage", "gone"]) == {("usage", n): LogEnds(3, 9) for n in (0, 1)}


def test_a_topic_that_this_user_may_not_describe_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, kafka, ToyConsumer(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(TopicRefusedError, match=r"does not describe topic secret: .*authorization"):
        kafka.log_ends(SETTINGS, ["secret", "usage"])


def test_a_partition_whose_offsets_are_not_told_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def offsets_for_times(asked: list[TopicPartition], timeout: float) -> list[Any]:
        """As librdkafka leaves a partition whose leader does not answer: with the time as its offset."""
        silent = SimpleNamespace(partition=1, offset=asked[1].offset, error=KafkaError(KafkaError._TIMED_OUT))
        return [SimpleNamespace(partition=0, offset=4, error=None), silent]

    monkeypatch.setattr(kafka_span, "log_ends", lambda *_: {("usage", n): LogEnds(3, 9) for n in (0, 1)})
    answering(monkeypatch, kafka_span, SimpleNamespace(offsets_for_times=offsets_for_times))
    with pytest.raises(KafkaException, match="_TIMED_OUT"):
        kafka_span.span_of(SETTINGS, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


@pytest.mark.parametrize("command", [("reconcile",), ("positions", "show")])
def test_a_topic_that_nobody_knows_is_not_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(reconcile, "audit", lambda _settings: Report(()))
    monkeypatch.setattr(positions, "_look", lambda _settings, _store: TopicView(None, [], []))
    ended = run_command(*command, "--json", folder=tmp_path, topic="typo")
    assert ended.code == Exit.KAFKA
    assert "has no topic typo" in ended.json["error"]["message"]
