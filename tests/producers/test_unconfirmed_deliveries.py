"""What librdkafka takes for delivered, and no broker has: a batch that was refused while the next one, already on its
way, was accepted from a producer that the broker did not know yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from fleetmeter_doubles.ingest_events import arrived, make_event, text_of
from fleetmeter_doubles.ingest_server import ingest_server
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_doubles.mock_cluster import MockCluster, mock_cluster
from fleetmeter_jobs.cli.quarantine_resend import Parcel, resend
from fleetmeter_jobs.cli.quarantine_rows import QuarantineRow
from fleetmeter_jobs.settings import Settings
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.kafka import connect
from fleetmeter_producers.records import RecordSender
from fleetmeter_schemas import GenerationV1

GENERATION = GenerationV1(model="llada-8b-instruct", generation_mode="diffusion", output_tokens=128)
ON_ITS_WAY_MS = 500  # so long that a second batch leaves before the first is refused
BATCH_EVERY_S = 0.1


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster("usage") as running:
        yield running


def test_a_client_sends_it_again(cluster: MockCluster, tmp_path: Path) -> None:
    settings = ClientSettings(spool_dir=tmp_path, linger_ms=0)
    with UsageClient(cluster.bootstrap, "urn:test:server", cluster.topic, settings=settings) as client:
        ids = [client.emit("a", GENERATION)]
        assert client.flush(60).events == 0
        cluster.refuse_next_batch(after_ms=ON_ITS_WAY_MS)
        for _ in range(5):
            ids.append(client.emit("a", GENERATION))
            time.sleep(BATCH_EVERY_S)
        assert client.flush(60).events == 0
    assert sorted(orjson.loads(value)["id"] for value in cluster.values()) == sorted(ids)


def test_a_client_keeps_what_has_no_offset(
    make_client: Callable[..., UsageClient], broker: FakeBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.inferred = 3
    client = make_client()
    ids = [client.emit("a", GENERATION) for _ in range(10)]
    assert client.flush(60).events == 0
    assert sorted(broker.ids()) == sorted(ids)
    assert client.stats().failed_deliveries == 3
    assert "no broker has confirmed the record" in caplog.text


def test_an_ingest_process_does_not_answer_for_it() -> None:
    broker = FakeBroker()
    broker.inferred = 1
    with ingest_server(broker) as server:
        answer = server.post(text_of(make_event(1)))
        assert (answer.status, broker.log) == (503, [])
        assert server.post(text_of(make_event(1))).status == 202
    assert arrived(broker)["urn:test:gateway"] == ["event-1"]


def test_records_are_sent_so_that_it_can_t_be(cluster: MockCluster) -> None:
    acknowledged: list[int] = []
    settings = ClientSettings(linger_ms=0)
    sender = RecordSender(cluster.bootstrap, cluster.topic, acknowledged.append, settings=settings, connect=connect)
    sender.send(b"source", b"0", 0)
    sender.finish()
    cluster.refuse_next_batch(after_ms=ON_ITS_WAY_MS)
    for number in range(1, 5):
        sender.send(b"source", b"%d" % number, number)
        sender.pause(BATCH_EVERY_S)
    sender.finish()
    assert acknowledged == list(range(5))
    assert cluster.values() == [b"%d" % number for number in range(5)]


def test_a_record_of_which_it_is_not_known_ends_the_sending_of_records() -> None:
    broker = FakeBroker()
    broker.inferred = 1
    sender = RecordSender("kafka:9092", "usage", lambda _token: None, connect=broker.connect)
    sender.send(b"source", b"x", 0)
    with pytest.raises(UndeliveredError, match=r"0 of 1 records for usage; .* no broker has confirmed the record"):
        sender.finish()


def test_what_quarantine_sends_again_is_there(cluster: MockCluster) -> None:
    payloads = [b"%d" % number + b"x" * 900_000 for number in range(4)]  # a batch each
    now = datetime.now(UTC)
    parcels = [
        Parcel(
            QuarantineRow(cluster.topic, 0, 0, at, 0, now, "not_json", "", "", payload, len(payload), None),
            "urn:test:server",
            payload,
        )
        for at, payload in enumerate(payloads)
    ]
    cluster.refuse_next_batch(after_ms=200)
    assert resend(Settings(kafka_bootstrap=cluster.bootstrap, topic=cluster.topic), parcels) == parcels
    assert cluster.values() == payloads
