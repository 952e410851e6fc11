"""Encryption and login for Kafka out of the environment: the workers' variables, so that one set serves a fleet."""

from __future__ import annotations

import os
import re
from types import MappingProxyType
from typing import Final

from fleetmeter_producers.errors import ClientSettingsError

PREFIX: Final = "FLEETMETER_KAFKA_"
OPTION_OF: Final = MappingProxyType(
    {
        f"{PREFIX}SECURITY_PROTOCOL": "security.protocol",
        f"{PREFIX}SASL_MECHANISM": "sasl.mechanism",
        f"{PREFIX}USER": "sasl.username",
        f"{PREFIX}PASSWORD": "sasl.password",
        f"{PREFIX}CA_FILE": "ssl.ca.location",
        f"{PREFIX}CERTIFICATE_FILE": "ssl.certificate.location",
        f"{PREFIX}KEY_FILE": "ssl.key.location",
        f"{PREFIX}KEY_PASSWORD": "ssl.key.password",
    }
)
"""The variables, and librdkafka's options that they set."""
_ADDRESS: Final = f"{PREFIX}BOOTSTRAP"
_OF_KUBERNETES: Final = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=.*"
    r"|\w+_PORT=(tcp|udp|sctp)://.*"
)
"""NAME=VALUE of what Kubernetes gives pods for each Service: of one called fleetmeter-kafka they look like settings."""


def kafka_from_environment() -> dict[str, str]:
    """librdkafka's options for encryption and login, as the variables say; {} for an open broker.

    Raises `ClientSettingsError` for a FLEETMETER_KAFKA_ variable that is none, and for one that would have no effect:
    whoever gives a password or a CA file believes that it is used. librdkafka checks the values.
    """
    given = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and value and not _OF_KUBERNETES.fullmatch(f"{name}={value}")
    }
    if unknown := sorted(given.keys() - OPTION_OF.keys() - {_ADDRESS}):
        raise ClientSettingsError(f"unknown environment variable {unknown[0]}; there are {', '.join(OPTION_OF)}")
    protocol = given.get(f"{PREFIX}SECURITY_PROTOCOL", "PLAINTEXT").upper()
    used = {"security": True, "sasl": protocol.startswith("SASL_"), "ssl": protocol.endswith("SSL")}
    kafka = {}
    for name, option in OPTION_OF.items():
        if name not in given:
            continue
        if not used[option.partition(".")[0]]:
            raise ClientSettingsError(
                f"{name} is given, but with {PREFIX}SECURITY_PROTOCOL {protocol} it has no effect: "
                "SSL encrypts, SASL_PLAINTEXT logs in, SASL_SSL does both"
            )
        kafka[option] = given[name]
    # As for the workers: the safer mechanism, and a key that may stand in its certificate's file.
    if used["sasl"]:
        kafka.setdefault("sasl.mechanism", "SCRAM-SHA-512")
    if "ssl.certificate.location" in kafka:
        kafka.setdefault("ssl.key.location", kafka["ssl.certificate.location"])
    return kafka
