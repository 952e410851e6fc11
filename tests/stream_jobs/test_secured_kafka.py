"""A broker with TLS and logins: every way in works with both libraries, and whoever is kept out is told why."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from fleetmeter_doubles.certificates import Authority, Identity
from fleetmeter_doubles.secured_kafka import PASSWORD, USER, SecuredKafka, secured_kafka
from fleetmeter_jobs.errors import KafkaAccessError, KafkaUnavailableError
from fleetmeter_jobs.kafka_access import KafkaAccess, SaslMechanism, SecurityProtocol
from fleetmeter_jobs.kafka_logs import log_bounds
from fleetmeter_jobs.kafka_topic import countable_topic_id
from fleetmeter_jobs.tls import TlsFiles
from pydantic import SecretStr

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

TOPIC = "usage"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody here trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SecuredKafka]:
    with secured_kafka(tmp_path_factory.mktemp("broker"), authority) as running:
        admin = AdminClient({"bootstrap.servers": running.bootstrap("OPEN")})
        config = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(TOPIC, 2, 1, config=config)])[TOPIC].result(60)
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one broker, no other has to be asked after a refusal; and what gives no reason ends soon."""
    monkeypatch.setattr("fleetmeter_jobs.kafka_connection.REFUSAL_S", 0.0)
    monkeypatch.setattr("fleetmeter_jobs.kafka_topic._TIMEOUT_S", 2.0)


def access_to(broker: SecuredKafka, protocol: SecurityProtocol, ca_file: Path | None = None) -> KafkaAccess:
    """The right way in: with the broker's authority for TLS, and the user that it knows for a login."""
    listener = {"SSL": "TLS", "SASL_SSL": "TLSLOGIN", "SASL_PLAINTEXT": "LOGIN", "PLAINTEXT": "OPEN"}[protocol]
    access = KafkaAccess(broker.bootstrap(listener), protocol, files=TlsFiles("kafka", ca_file))
    return replace(access, user=USER, password=SecretStr(PASSWORD)) if access.logs_in else access


def enters(access: KafkaAccess) -> None:
    """Both libraries get in and are answered: librdkafka describes the topic, aiokafka asks where its log ends."""
    access.check()
    assert countable_topic_id(access, TOPIC)
    assert {number: log.end for number, log in log_bounds(access, TOPIC, [0, 1]).items()} == {0: 0, 1: 0}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_every_mechanism_logs_in(
    broker: SecuredKafka, authority: Authority, protocol: SecurityProtocol, mechanism: SaslMechanism
) -> None:
    ca_file = authority.ca_file if protocol == "SASL_SSL" else None
    enters(replace(access_to(broker, protocol, ca_file), sasl_mechanism=mechanism))


def test_tls_alone_and_with_a_client_certificate(broker: SecuredKafka, authority: Authority) -> None:
    enters(access_to(broker, "SSL", authority.ca_file))
    client = authority.issue("client", "client.example", key_password="sesame")
    files = TlsFiles(
        "kafka", authority.ca_file, client.certificate_file, client.key_file, key_password=SecretStr("sesame")
    )
    enters(KafkaAccess(broker.bootstrap("MUTUAL"), "SSL", files=files))


def refusal(access: KafkaAccess) -> str:
    """What the one who is kept out is told; it is of the kind that does not pass by itself."""
    with pytest.raises(KafkaAccessError) as refused:
        countable_topic_id(access, TOPIC)
    assert not refused.value.retryable
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_said_to_be_one(
    broker: SecuredKafka, authority: Authority, mechanism: SaslMechanism
) -> None:
    access = replace(access_to(broker, "SASL_SSL", authority.ca_file), sasl_mechanism=mechanism)
    for wrong in (replace(access, password=SecretStr("wrong")), replace(access, user="stranger")):
        said = refusal(wrong)
        assert "SASL authentication error" in said
        assert (
            f"FLEETMETER_KAFKA_USER, FLEETMETER_KAFKA_PASSWORD and FLEETMETER_KAFKA_SASL_MECHANISM ({mechanism})"
            in said
        )


@pytest.mark.usefixtures("quick")
def test_an_untrusted_broker_is_said_to_be_one(broker: SecuredKafka, stranger: Authority) -> None:
    for ca_file in (None, stranger.ca_file):
        said = refusal(access_to(broker, "SASL_SSL", ca_file))
        assert "certificate verify failed" in said
        assert "FLEETMETER_KAFKA_CA_FILE" in said
        assert ca_file is None or f"(given: {ca_file})" in said


@pytest.mark.usefixtures("quick")
def test_a_certificate_of_another_host_is_not_trusted(broker: SecuredKafka, authority: Authority) -> None:
    access = access_to(broker, "SSL", authority.ca_file)
    said = refusal(replace(access, bootstrap=access.bootstrap.replace("127.0.0.1", "localhost")))
    assert "use the host names that stand in the certificates" in said


@pytest.mark.usefixtures("quick")
def test_a_missing_client_certificate_is_said_to_be_missing(
    broker: SecuredKafka, authority: Authority, stranger: Authority
) -> None:
    foreign: Identity = stranger.issue("client", "client.example")
    for files in (
        TlsFiles("kafka", authority.ca_file),
        TlsFiles("kafka", authority.ca_file, foreign.certificate_file, foreign.key_file),
    ):
        said = refusal(KafkaAccess(broker.bootstrap("MUTUAL"), "SSL", files=files))
        assert "FLEETMETER_KAFKA_CERTIFICATE_FILE" in said


@pytest.mark.usefixtures("quick")
def test_the_wrong_protocol_may_be_a_broker_that_restarts_but_is_named(
    broker: SecuredKafka, authority: Authority
) -> None:
    for protocol, listener, said in (
        ("PLAINTEXT", "TLS", "if it wants TLS or a login, set FLEETMETER_KAFKA_SECURITY_PROTOCOL"),
        ("PLAINTEXT", "LOGIN", "if it wants TLS or a login, set FLEETMETER_KAFKA_SECURITY_PROTOCOL"),
        ("SSL", "OPEN", "check FLEETMETER_KAFKA_SECURITY_PROTOCOL (SSL now)"),
    ):
        access = access_to(broker, protocol, authority.ca_file)
        with pytest.raises(KafkaUnavailableError) as refused:
            countable_topic_id(replace(access, bootstrap=broker.bootstrap(listener)), TOPIC)
        assert said in str(refused.value)


def test_aiokafka_keeps_out_who_is_not_trusted(broker: SecuredKafka, stranger: Authority) -> None:
    """The worker's own consumer, by itself: it must not be laxer than librdkafka, which is asked first."""
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415
    from aiokafka.errors import KafkaConnectionError  # noqa: PLC0415

    async def start(access: KafkaAccess) -> None:
        consumer = AIOKafkaConsumer(**access.aiokafka())
        try:
            await consumer.start()
        finally:
            await consumer.stop()

    with pytest.raises(KafkaConnectionError):
        asyncio.run(start(access_to(broker, "SSL", stranger.ca_file)))
