"""`fleetmeter ingest` in front of a real broker, ended in every way: what was answered with 202 is in Kafka."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from fleetmeter_doubles.ingest_events import make_event, text_of
from fleetmeter_doubles.ingest_process import Senders, ingest_process
from fleetmeter_doubles.ingest_server import until
from fleetmeter_doubles.topic_reader import read_topic
from fleetmeter_local import RunningKafka
from fleetmeter_producers.ingest.tokens import TokenFile

pytestmark = pytest.mark.kafka

PARTITIONS = 3
MakeTopic = Callable[..., str]


def ids_in(kafka: RunningKafka, topic: str) -> list[set[str]]:
    """The ids of the events of each partition."""
    return [
        {orjson.loads(line)["id"] for message in messages for line in message.value().split(b"\n")}
        for messages in read_topic(kafka.bootstrap, topic, PARTITIONS)
    ]


def batch(number: int) -> tuple[bytes, list[str]]:
    """Batch `number`: 20 events of five sources."""
    events = [make_event(source=f"urn:test:{at % 5}", id=f"{number}-{at % 5}-{at}") for at in range(20)]
    return text_of(*events), [str(event["id"]) for event in events]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_answered_is_in_kafka_however_the_process_ends(
    kafka: RunningKafka, make_topic: MakeTopic, tmp_path: Path, number: signal.Signals
) -> None:
    topic = make_topic(PARTITIONS)
    tokens = TokenFile(tmp_path / "tokens.json")
    _, token = tokens.add("test", accounts=["acct-1"], sources=["urn:test:*"])
    senders = Senders(batch)
    with ingest_process(tmp_path, kafka.bootstrap, topic, "--tokens", str(tokens.path)) as server:
        with senders.sending(lambda: server.url, token=token):
            until(lambda: len(senders.acknowledged) > 2_000, 60)
            code = server.end(number)
        assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL), server.log.read_text()
    assert set(senders.answers) <= {202, 0}
    partitions = ids_in(kafka, topic)
    in_kafka = set().union(*partitions)
    assert senders.acknowledged <= in_kafka
    if number is signal.SIGTERM:
        assert in_kafka == senders.acknowledged, "whatever was taken in was answered"
    where = {(event_id.split("-")[1], place) for place, ids in enumerate(partitions) for event_id in ids}
    assert len(where) == 5, "a source has one partition"
