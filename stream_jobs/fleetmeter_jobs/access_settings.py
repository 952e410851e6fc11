"""The settings that say where Kafka and ClickHouse are, and how they are reached: encryption, logins, certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from fleetmeter_jobs.kafka_access import KafkaAccess, SaslMechanism, SecurityProtocol, is_loopback
from fleetmeter_jobs.tls import TlsFiles


class AccessSettings(BaseSettings):
    """Part of `Settings`. What can't work together is refused, and so is a setting that would have no effect."""

    # Kafka
    kafka_bootstrap: str = Field("localhost:9092", description="Kafka brokers, `host:port` separated by commas.")
    kafka_security_protocol: SecurityProtocol = Field(
        "PLAINTEXT", description="How brokers are talked to: SSL encrypts, SASL_ logs in, SASL_SSL does both."
    )
    kafka_sasl_mechanism: SaslMechanism = Field(
        "SCRAM-SHA-512", description="How the password is shown to the brokers; PLAIN sends it as it is."
    )
    kafka_user: str = Field("", description="Kafka user, for SASL_SSL and SASL_PLAINTEXT.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Password of the Kafka user.")
    kafka_ca_file: Path | None = Field(
        None,
        description="PEM file with the authorities that brokers are trusted from; else the system's.",
    )
    kafka_certificate_file: Path | None = Field(
        None, description="PEM file with the client certificate that is shown to brokers which ask for one."
    )
    kafka_key_file: Path | None = Field(
        None, description="PEM file with the client certificate's key, unless that stands in the same file."
    )
    kafka_key_password: SecretStr = Field(SecretStr(""), description="Password of the key, if it is encrypted.")
    # ClickHouse
    clickhouse_url: str = Field("http://localhost:8123", description="HTTP address of ClickHouse, without credentials.")
    clickhouse_user: str = Field("default", min_length=1, description="ClickHouse user.")
    clickhouse_password: SecretStr = Field(SecretStr(""), description="ClickHouse password.")
    clickhouse_ca_file: Path | None = Field(
        None, description="PEM file with the authorities that an https ClickHouse is trusted from; else the system's."
    )
    clickhouse_verify: bool = Field(
        True, description="Whether the certificate of an https ClickHouse is checked; false trusts whoever answers."
    )

    @property
    def kafka_access(self) -> KafkaAccess:
        """How Kafka is reached."""
        return KafkaAccess(
            bootstrap=self.kafka_bootstrap,
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            user=self.kafka_user,
            password=self.kafka_password,
            files=TlsFiles(
                "kafka", self.kafka_ca_file, self.kafka_certificate_file, self.kafka_key_file, self.kafka_key_password
            ),
        )

    @property
    def clickhouse_files(self) -> TlsFiles:
        """What an https ClickHouse is trusted from."""
        return TlsFiles("clickhouse", self.clickhouse_ca_file)

    def cautions(self) -> list[str]:
        """What is allowed but deserves a second look, in sentences that name the setting."""
        address = urlsplit(self.clickhouse_url)
        cautions = [self.kafka_access.caution()]
        if not is_loopback(address.hostname or ""):
            if address.scheme == "http" and self.clickhouse_password.get_secret_value():
                cautions.append(
                    f"The password travels to {self.clickhouse_url} unencrypted: give FLEETMETER_CLICKHOUSE_URL with "
                    "https if the server has it."
                )
            if address.scheme == "https" and not self.clickhouse_verify:
                cautions.append(
                    f"Whoever answers at {self.clickhouse_url} is trusted, and gets the password: unset "
                    "FLEETMETER_CLICKHOUSE_VERIFY, and give FLEETMETER_CLICKHOUSE_CA_FILE."
                )
        return [caution for caution in cautions if caution]

    @field_validator("kafka_bootstrap")
    @classmethod
    def _check_bootstrap(cls, value: str) -> str:
        for address in value.split(","):
            host, colon, port = address.strip().rpartition(":")
            if not (host and colon and port.isdecimal() and 0 < int(port) <= 65_535):
                raise ValueError(f"{address.strip()!r} is not host:port")
        return value

    @field_validator("clickhouse_url")
    @classmethod
    def _check_clickhouse_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{value!r} is not http(s)://host:port")
        if parts.username or parts.password:
            raise ValueError("has credentials in it; give them as clickhouse_user and clickhouse_password")
        return value

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        self.kafka_access.check()
        if self.clickhouse_ca_file is None:
            return self
        if urlsplit(self.clickhouse_url).scheme != "https":
            raise ValueError("clickhouse_ca_file is given, but clickhouse_url is not https: nothing would be encrypted")
        if not self.clickhouse_verify:
            raise ValueError("clickhouse_ca_file is given, but clickhouse_verify is false: give one of the two")
        self.clickhouse_files.context()
        return self
