"""Whether an engine really answers at an address."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_TIMEOUT_S = 5.0


def kafka_answers(bootstrap: str, *, timeout_s: float = 1.0) -> bool:
    """True if a metadata request names at least one live broker."""
    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "socket.connection.setup.timeout.ms": 1000})
    try:
        return bool(client.list_topics(timeout=timeout_s).brokers)
    except KafkaException:
        return False


def clickhouse_answers(url: str, *, timeout_s: float = _TIMEOUT_S) -> bool:
    """True if `url`/ping says Ok."""
    # No proxy: one of the environment is not meant for loopback, and a given server is in our own network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/ping", timeout=timeout_s) as response:
            return bool(response.read() == b"Ok.\n")
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False
