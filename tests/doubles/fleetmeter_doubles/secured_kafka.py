"""A local broker with the listeners of a production cluster: TLS, client certificates, logins, and rights by user."""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from confluent_kafka.admin import AclBinding, AdminClient
from fleetmeter_local import EngineStartError
from fleetmeter_local.kafka.broker import PORT_LOST
from fleetmeter_local.kafka.jars import kafka_jars
from fleetmeter_local.kafka.properties import broker_settings, properties_text
from fleetmeter_local.local import await_ready
from fleetmeter_local.ports import LOOPBACK, free_port
from fleetmeter_local.probes import kafka_answers
from fleetmeter_local.process import ManagedProcess, start_process

from fleetmeter_doubles.certificates import Authority

USER: Final = "meter"
PASSWORD: Final = "pa=ss wo;rd$1"
"""With what quoting forgets somewhere: SCRAM's separators, a blank, what ends a line of JAAS."""
UNPRIVILEGED: Final = ("fleetmeter-worker", "fleetmeter-producer")
"""Users with the same password who may do nothing, until `SecuredKafka.allow` lets them. All others may do anything."""
_MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_LISTENERS: Final = {
    "OPEN": "PLAINTEXT",
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "LOGIN": "SASL_PLAINTEXT",
    "TLSLOGIN": "SASL_SSL",
}
"""Listener -> protocol. OPEN is for the test's own hands, and for the broker's talk with itself."""
_JAVA: Final = ("java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGIN_MODULE: Final = "org.apache.kafka.common.security"


@dataclass(frozen=True)
class SecuredKafka:
    """A broker that answers; `ports` by listener."""

    ports: dict[str, int]
    process: ManagedProcess

    def bootstrap(self, listener: str) -> str:
        """host:port of a listener."""
        return f"{LOOPBACK}:{self.ports[listener]}"

    def allow(self, rights: Iterable[AclBinding]) -> None:
        """Give users these rights."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap("OPEN")})
        for made in admin.create_acls(list(rights)).values():
            made.result(60)


@contextmanager
def secured_kafka(folder: Path, authority: Authority) -> Iterator[SecuredKafka]:
    """Starts the broker in a folder, and kills it afterwards. Its certificate, for 127.0.0.1 alone, is issued
    by `authority`, which MUTUAL also asks of its clients."""
    running = _start(folder / "first", authority)
    if running is None:  # somebody else took one of its ports before it did
        running = _start(folder / "second", authority)
    assert running is not None, f"its ports were lost twice; see {folder}"
    try:
        yield running
    finally:
        running.process.kill()


def _start(folder: Path, authority: Authority) -> SecuredKafka | None:
    """A broker that answers; None if one of its ports was not free any more."""
    ports = {name: free_port() for name in _LISTENERS}
    properties, jars = folder / "server.properties", str(kafka_jars() / "*")
    folder.mkdir(parents=True, exist_ok=True)
    properties.write_text(properties_text(_settings(folder, ports, authority)), encoding="utf-8")
    _format(properties, jars)
    process = start_process(
        "secured-kafka",
        [*_JAVA, "-cp", jars, "kafka.Kafka", str(properties)],
        log_path=folder / "kafka.log",
    )
    running = SecuredKafka(ports, process)
    try:
        await_ready(
            process,
            lambda: kafka_answers(running.bootstrap("OPEN")) or None,
            timeout_s=120,
            advice="",
            domain="kafka",
        )
    except EngineStartError as error:
        if PORT_LOST in error.log_tail:
            return None
        raise
    return running


def _settings(folder: Path, ports: dict[str, int], authority: Authority) -> dict[str, str]:
    settings = broker_settings(str(folder / "partitions"), ports["OPEN"], free_port())
    identity = authority.issue("broker", LOOPBACK)
    addresses = ",".join(f"{name}://{LOOPBACK}:{port}" for name, port in ports.items())
    controller = settings["listeners"].split(",")[1]
    settings |= {
        "listeners": f"{addresses},{controller}",
        "advertised.listeners": addresses,
        "listener.security.protocol.map": ",".join(
            ("CONTROLLER:PLAINTEXT", *(f"{name}:{protocol}" for name, protocol in _LISTENERS.items()))
        ),
        "inter.broker.listener.name": "OPEN",
        "sasl.enabled.mechanisms": ",".join(_MECHANISMS),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(identity.store_file),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(authority.ca_file),
        "listener.name.mutual.ssl.client.auth": "required",
        "ssl.principal.mapping.rules": "RULE:.*CN=([^,]*).*/$1/",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:ANONYMOUS;User:{USER};User:client",
    }
    for listener in ("login", "tlslogin"):
        prefix = f"listener.name.{listener}"
        settings[f"{prefix}.plain.sasl.jaas.config"] = (
            f'{_LOGIN_MODULE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
        )
        for mechanism in ("scram-sha-256", "scram-sha-512"):
            settings[f"{prefix}.{mechanism}.sasl.jaas.config"] = f"{_LOGIN_MODULE}.scram.ScramLoginModule required;"
    return settings


def _format(properties: Path, jars: str) -> None:
    scram = [
        f'--add-scram={mechanism}=[name={user},password="{PASSWORD}"]'
        for user in (USER, *UNPRIVILEGED)
        for mechanism in _MECHANISMS
        if mechanism.startswith("SCRAM")
    ]
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    arguments = [f"--cluster-id={cluster_id}", f"--config={properties}", *scram]
    done = subprocess.run(
        [*_JAVA, "-cp", jars, "kafka.tools.StorageTool", "format", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
