"""How Kafka is reached: addresses, encryption, login; as aiokafka wants it, and as librdkafka does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, Literal

from pydantic import SecretStr

from fleetmeter_jobs.tls import TlsFiles

SecurityProtocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]

ENV: Final = "FLEETMETER_KAFKA_"
"""What the names of these settings begin with in the environment."""


@dataclass(frozen=True, slots=True)
class KafkaAccess:
    """Everything that a client needs to talk to a Kafka cluster. The defaults are an open broker's."""

    bootstrap: str
    """host:port, separated by commas."""
    security_protocol: SecurityProtocol = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    user: str = ""
    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    files: TlsFiles = field(default_factory=lambda: TlsFiles("kafka"))

    @property
    def encrypted(self) -> bool:
        """Whether connections use TLS."""
        return self.security_protocol in {"SSL", "SASL_SSL"}

    @property
    def logs_in(self) -> bool:
        """Whether connections begin with a user's name and password."""
        return self.security_protocol in {"SASL_PLAINTEXT", "SASL_SSL"}

    def check(self) -> None:
        """Raise ValueError, one line for each problem, if this can't work; reads the files. A setting that would have
        no effect is a problem: whoever gives a password or a CA file believes that it is used."""
        problems = []
        password = self.password.get_secret_value()
        if self.logs_in:
            missing = [name for name, value in (("kafka_user", self.user), ("kafka_password", password)) if not value]
            if missing:
                problems.append(
                    f"kafka_security_protocol {self.security_protocol} needs a login: set {' and '.join(missing)} "
                    "(passwords are not passed on by a running stack: each command wants its own)"
                )
        elif self.user or password:
            instead = "SASL_SSL" if self.encrypted else "SASL_SSL (or SASL_PLAINTEXT)"
            problems.append(
                f"{'kafka_user' if self.user else 'kafka_password'} is given, but kafka_security_protocol "
                f"{self.security_protocol} does not log in: set it to {instead}"
            )
        if self.encrypted:
            try:
                self.files.context()
            except ValueError as error:
                problems.append(str(error))
        elif self.files.given:
            instead = "SASL_SSL" if self.logs_in else "SSL or SASL_SSL"
            problems.append(
                f"{self.files.given[0]} is given, but kafka_security_protocol {self.security_protocol} does not "
                f"encrypt: set it to {instead}"
            )
        if problems:
            raise ValueError("\n".join(problems))

    def caution(self) -> str | None:
        """What somebody on the way could see, in a sentence; None if connections are encrypted, stay on this machine,
        or carry no login anyway."""
        if not self.logs_in or self.encrypted or all(is_loopback(host) for host in self._hosts()):
            return None
        what = "The password and the events travel" if self.sasl_mechanism == "PLAIN" else "Events travel"
        return f"{what} to {self.bootstrap} unencrypted: set {ENV}SECURITY_PROTOCOL=SASL_SSL if the brokers have it."

    def librdkafka(self) -> dict[str, str]:
        """Options for a Consumer, Producer or AdminClient of confluent-kafka."""
        return {"bootstrap.servers": self.bootstrap, **self.librdkafka_security()}

    def librdkafka_security(self) -> dict[str, str]:
        """The options without the address; {} for an open broker."""
        options: dict[str, Any] = {}
        if self.security_protocol != "PLAINTEXT":
            options["security.protocol"] = self.security_protocol
        if self.logs_in:
            options |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.user,
                "sasl.password": self.password.get_secret_value(),
            }
        if self.encrypted:
            files = self.files
            options |= {
                "ssl.ca.location": files.ca_file,
                "ssl.certificate.location": files.certificate_file,
                "ssl.key.location": files.key_file or files.certificate_file,
                "ssl.key.password": files.key_password.get_secret_value(),
            }
        return {name: str(value) for name, value in options.items() if value}

    def aiokafka(self) -> dict[str, Any]:
        """Arguments for aiokafka's clients. Reads the files: raises ValueError as `check`."""
        options: dict[str, Any] = {
            "bootstrap_servers": [address.strip() for address in self.bootstrap.split(",")],
            "security_protocol": self.security_protocol,
        }
        if self.encrypted:
            options["ssl_context"] = self.files.context()
        if self.logs_in:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self.password.get_secret_value(),
            }
        return options

    def _hosts(self) -> Iterator[str]:
        for address in self.bootstrap.split(","):
            yield address.strip().rpartition(":")[0].strip("[]")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine for certain (names are not looked up)."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
