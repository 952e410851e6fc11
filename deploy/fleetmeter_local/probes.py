"""Whether an engine really answers at an address."""

from __future__ import annotations

import http.client
import socket
import urllib.error
import urllib.request

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_TIMEOUT_S = 5.0


def kafka_answers(bootstrap: str, *, cluster_id: str | None = None, timeout_s: float = 1.0) -> bool:
    """True if a metadata request names at least one live broker, of that cluster if one is given."""
    # librdkafka takes a second to say that nobody listens; a plain connection tells at once.
    if not any(_accepts(address.strip()) for address in bootstrap.split(",")):
        return False
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    try:
        metadata = client.list_topics(timeout=timeout_s)
    except KafkaException:
        return False
    return bool(metadata.brokers) and cluster_id in (None, metadata.cluster_id)


def clickhouse_answers(url: str, *, timeout_s: float = _TIMEOUT_S) -> bool:
    """True if `url`/ping says Ok."""
    # No proxy: one of the environment is not meant for loopback, and a given server is in our own network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/ping", timeout=timeout_s) as response:
            return bool(response.read() == b"Ok.\n")
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_TIMEOUT_S):
            return True
    except (OSError, ValueError):
        return False
