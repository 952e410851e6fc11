"""What is made of librdkafka's words about a connection, without a broker."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException
from fleetmeter_jobs.errors import KafkaUnavailableError
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.kafka_connection import ConnectionWatch


@pytest.mark.parametrize(
    "words",
    [
        "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 3ms in state CONNECT)",
        "Disconnected: SSL connection closed by peer (after 0ms in state SSL_HANDSHAKE)",
    ],
)
def test_a_listener_without_tls_is_told_of_whichever_way_its_hanging_up_is_noticed(words: str) -> None:
    watch = ConnectionWatch(KafkaAccess("kafka:9092", "SSL"))
    watch.options["error_cb"](KafkaError(KafkaError._TRANSPORT, words))
    with (
        pytest.raises(KafkaUnavailableError) as told,
        watch.explained(lambda _seconds: None, "list its topics"),
    ):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    assert f"({words}). " in str(told.value)
    assert "check FLEETMETER_KAFKA_SECURITY_PROTOCOL (SSL now)" in str(told.value)
