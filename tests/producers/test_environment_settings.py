"""A client's encryption and login out of the environment."""

from __future__ import annotations

import os

import pytest
from fleetmeter_jobs.settings import Settings
from fleetmeter_producers import ClientSettings, ClientSettingsError, UsageClient
from fleetmeter_producers.environment import OPTION_OF, PREFIX

SASL_SSL = {
    "SECURITY_PROTOCOL": "SASL_SSL",
    "USER": "gpu-7",
    "PASSWORD": "hunter2",
    "CA_FILE": "/etc/kafka/ca.pem",
}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def give(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)


def test_an_open_broker_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, {"BOOTSTRAP": "kafka:9092", "PASSWORD": ""})
    assert ClientSettings.from_environment() == ClientSettings()


def test_sasl_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, SASL_SSL)
    settings = ClientSettings.from_environment(linger_ms=7, kafka={"client.id": "gpu-7", "sasl.mechanism": "PLAIN"})
    assert settings.linger_ms == 7
    assert settings.kafka == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "gpu-7",
        "sasl.password": "hunter2",
        "ssl.ca.location": "/etc/kafka/ca.pem",
        "client.id": "gpu-7",
    }
    assert ClientSettings.from_environment().kafka["sasl.mechanism"] == "SCRAM-SHA-512"


def test_a_key_may_stand_in_the_certificate_s_file(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, {"SECURITY_PROTOCOL": "SSL", "CERTIFICATE_FILE": "/etc/kafka/both.pem"})
    assert ClientSettings.from_environment().kafka["ssl.key.location"] == "/etc/kafka/both.pem"


def test_what_kubernetes_makes_of_a_service_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one called fleetmeter-kafka, in each pod of its namespace."""
    made = {
        "SERVICE_HOST": "10.0.171.239",
        "SERVICE_PORT": "9092",
        "SERVICE_PORT_TCP_CLIENT": "9092",
        "PORT": "tcp://10.0.171.239:9092",
        "PORT_9092_TCP": "tcp://10.0.171.239:9092",
        "PORT_9092_TCP_PROTO": "tcp",
        "PORT_9092_TCP_PORT": "9092",
        "PORT_9092_TCP_ADDR": "10.0.171.239",
    }
    give(monkeypatch, {**made, "SECURITY_PROTOCOL": "SSL"})
    assert ClientSettings.from_environment().kafka["security.protocol"] == "SSL"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SASL_MECHANISMS": "PLAIN"}, "unknown environment variable FLEETMETER_KAFKA_SASL_MECHANISMS"),
        ({"PASSWORD": "hunter2"}, "FLEETMETER_KAFKA_PASSWORD is given, but with FLEETMETER_KAFKA_SECURITY_PROTOCOL"),
        ({"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "CA_FILE": "/ca.pem"}, "FLEETMETER_KAFKA_CA_FILE is given"),
        ({"SECURITY_PROTOCOL": "SSL", "USER": "gpu-7"}, "FLEETMETER_KAFKA_USER is given"),
    ],
    ids=["misspelt", "password in the clear", "nothing encrypted", "no login"],
)
def test_what_would_have_no_effect_is_refused(
    variables: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, variables)
    with pytest.raises(ClientSettingsError, match=said) as refused:
        ClientSettings.from_environment()
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "variables",
    [
        {**SASL_SSL, "CA_FILE": "/nowhere.pem"},
        {"SECURITY_PROTOCOL": "SASL_PLAINTEXT", "USER": "u", "PASSWORD": "hunter2", "SASL_MECHANISM": "TELEPATHY"},
        {"SECURITY_PROTOCOL": "TLS"},
    ],
    ids=["no such file", "no such mechanism", "no such protocol"],
)
def test_what_librdkafka_refuses_is_found_when_the_client_is_made(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, variables)
    with pytest.raises(ClientSettingsError, match="librdkafka refuses the settings") as refused:
        UsageClient("kafka:9092", "urn:s", settings=ClientSettings.from_environment())
    assert "hunter2" not in str(refused.value)


def test_the_variables_are_those_of_the_workers() -> None:
    workers = {f"FLEETMETER_{name.upper()}" for name in Settings.model_fields if name.startswith("kafka_")}
    assert workers == {*OPTION_OF, f"{PREFIX}BOOTSTRAP"}
