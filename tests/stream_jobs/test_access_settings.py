"""What the settings make of encryption and logins: options for both libraries, refusals that name the setting."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from fleetmeter_doubles.certificates import Authority
from fleetmeter_jobs.errors import SettingsError
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.tls import TlsFiles
from pydantic import SecretStr

LOGIN = {"kafka_user": "meter", "kafka_password": "hunter2"}


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("FLEETMETER_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_an_open_broker_needs_nothing() -> None:
    access = Settings.load(kafka_bootstrap="a:1, b:2").kafka_access
    assert access.librdkafka() == {"bootstrap.servers": "a:1, b:2"}
    assert access.librdkafka_security() == {}
    assert access.aiokafka() == {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}


def test_a_login_over_tls_reaches_both_libraries(authority: Authority) -> None:
    identity = authority.issue("both", "client.example", key_password="sesame")
    access = Settings.load(
        kafka_bootstrap="broker:9094",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_mechanism="SCRAM-SHA-256",
        kafka_ca_file=str(authority.ca_file),
        kafka_certificate_file=str(identity.certificate_file),
        kafka_key_file=str(identity.key_file),
        kafka_key_password="sesame",
        **LOGIN,
    ).kafka_access
    assert access.librdkafka() == {
        "bootstrap.servers": "broker:9094",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-256",
        "sasl.username": "meter",
        "sasl.password": "hunter2",
        "ssl.ca.location": str(authority.ca_file),
        "ssl.certificate.location": str(identity.certificate_file),
        "ssl.key.location": str(identity.key_file),
        "ssl.key.password": "sesame",
    }
    options = access.aiokafka()
    context = options.pop("ssl_context")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert [one["subject"] for one in context.get_ca_certs()] == [_subject_of(authority.ca_file)]
    assert options == {
        "bootstrap_servers": ["broker:9094"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-256",
        "sasl_plain_username": "meter",
        "sasl_plain_password": "hunter2",
    }


def _subject_of(path: Path) -> object:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return context.get_ca_certs()[0]["subject"]


def test_a_key_may_stand_in_the_certificate_s_file(authority: Authority) -> None:
    identity = authority.issue("joined", "client.example")
    access = Settings.load(kafka_security_protocol="SSL", kafka_certificate_file=identity.store_file).kafka_access
    assert access.librdkafka()["ssl.key.location"] == str(identity.store_file)
    assert access.aiokafka()["ssl_context"].cert_store_stats()["x509_ca"] > 0, "the system's authorities are trusted"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "SASL_SSL needs a login: set kafka_user and kafka_password"),
        ({"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_user": "m"}, "needs a login: set kafka_password"),
        ({"kafka_user": "m"}, "kafka_user is given, but kafka_security_protocol PLAINTEXT does not log in"),
        (
            {"kafka_security_protocol": "SSL", "kafka_password": "hunter2"},
            "kafka_password is given, but kafka_security_protocol SSL does not log in: set it to SASL_SSL",
        ),
        ({"kafka_ca_file": "/nowhere.pem"}, "kafka_ca_file is given, but kafka_security_protocol PLAINTEXT does not"),
        (
            {"kafka_security_protocol": "SSL", "kafka_ca_file": "/nowhere.pem"},
            "kafka_ca_file: /nowhere.pem can't be read (no such file or directory); give the path of a PEM file",
        ),
        (
            {"kafka_security_protocol": "SSL", "kafka_key_file": "/nowhere.pem"},
            "kafka_key_file is given without kafka_certificate_file",
        ),
        ({"kafka_security_protocol": "TLS"}, "kafka_security_protocol: Input should be 'PLAINTEXT', 'SSL'"),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "kafka_sasl_mechanism: Input should be 'PLAIN', 'SCRAM-SHA-256'"),
        ({"clickhouse_ca_file": "/nowhere.pem"}, "clickhouse_ca_file is given, but clickhouse_url is not https"),
        (
            {"clickhouse_url": "https://store:8443", "clickhouse_ca_file": "/nowhere.pem"},
            "clickhouse_ca_file: /nowhere.pem can't be read",
        ),
        (
            {"clickhouse_url": "https://store", "clickhouse_ca_file": "/nowhere.pem", "clickhouse_verify": "false"},
            "clickhouse_ca_file is given, but clickhouse_verify is false",
        ),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_what_cannot_work_or_has_no_effect_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(**options)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_files_that_are_something_else_are_refused(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "letter.pem").write_text("Dear Sir or Madam")
    one, other = authority.issue("one", "one.example", key_password="sesame"), authority.issue("other", "other.example")
    tls = {"kafka_security_protocol": "SSL"}
    with pytest.raises(SettingsError, match=r"kafka_ca_file: \S+letter\.pem holds no certificate in PEM form"):
        Settings.load(**tls, kafka_ca_file=tmp_path / "letter.pem")
    with pytest.raises(SettingsError, match=r"belong together.*kafka_key_password"):
        Settings.load(**tls, kafka_certificate_file=one.certificate_file, kafka_key_file=other.key_file)
    for password in ({}, {"kafka_key_password": "simsalabim"}):
        with pytest.raises(SettingsError, match=r"kafka_key_password has to be the key's") as refused:
            Settings.load(**tls, kafka_certificate_file=one.certificate_file, kafka_key_file=one.key_file, **password)
        assert "simsalabim" not in str(refused.value)


def test_several_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(kafka_security_protocol="SASL_SSL", kafka_ca_file="/nowhere.pem")
    assert [line.split()[0] for line in str(refused.value).splitlines()] == [
        "kafka_security_protocol",
        "kafka_ca_file:",
    ]


@pytest.mark.parametrize("name", ["kafka_password", "kafka_key_password", "clickhouse_password"])
def test_secrets_stay_out_of_sight(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(**{name: ["hunter2"]})
    assert name in str(refused.value)
    assert "hunter2" not in str(refused.value)
    settings = Settings.load(kafka_security_protocol="SASL_PLAINTEXT", **LOGIN)
    assert "hunter2" not in repr(settings) + repr(settings.kafka_access) + str(settings.kafka_access)
    assert "sesame" not in repr(TlsFiles("kafka", key_password=SecretStr("sesame")))


@pytest.mark.parametrize(
    ("bootstrap", "protocol", "mechanism", "said"),
    [
        ("kafka-1:9092", "SASL_PLAINTEXT", "PLAIN", "The password and the events travel to kafka-1:9092 unencrypted"),
        ("kafka-1:9092", "SASL_PLAINTEXT", "SCRAM-SHA-512", "Events travel to kafka-1:9092 unencrypted"),
        ("localhost:1,10.0.0.7:1", "SASL_PLAINTEXT", "PLAIN", "localhost:1,10.0.0.7:1 unencrypted"),
        ("localhost:1,127.0.0.2:2,[::1]:3", "SASL_PLAINTEXT", "PLAIN", None),
        ("kafka-1:9092", "SASL_SSL", "PLAIN", None),
    ],
)
def test_a_login_in_the_clear_deserves_a_warning(
    bootstrap: str, protocol: str, mechanism: str, said: str | None
) -> None:
    settings = Settings.load(
        kafka_bootstrap=bootstrap, kafka_security_protocol=protocol, kafka_sasl_mechanism=mechanism, **LOGIN
    )
    cautions = settings.cautions()
    assert len(cautions) == (said is not None)
    if said is not None:
        assert said in cautions[0]
        assert "FLEETMETER_KAFKA_SECURITY_PROTOCOL=SASL_SSL" in cautions[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"clickhouse_url": "http://store:8123"}, None),
        ({"clickhouse_url": "http://store:8123", "clickhouse_password": "x"}, "FLEETMETER_CLICKHOUSE_URL with https"),
        ({"clickhouse_url": "http://127.0.0.1:8123", "clickhouse_password": "x"}, None),
        ({"clickhouse_url": "https://store", "clickhouse_verify": False}, "FLEETMETER_CLICKHOUSE_VERIFY"),
        ({"clickhouse_url": "https://store", "clickhouse_password": "x"}, None),
    ],
)
def test_a_clickhouse_that_may_be_anyone_deserves_a_warning(options: dict[str, object], said: str | None) -> None:
    cautions = Settings.load(**options).cautions()
    assert len(cautions) == (said is not None)
    assert said is None or said in cautions[0]


def test_a_warning_is_for_logins_only() -> None:
    assert KafkaAccess("kafka-1:9092").caution() is None, "an open cluster is its owner's decision"
