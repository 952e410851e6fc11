"""Topics that are there for whoever asks next."""

from __future__ import annotations

import time
from collections.abc import Mapping

from confluent_kafka.admin import AdminClient, NewTopic

_DEADLINE_S = 60.0


def create_topic(bootstrap: str, name: str, partitions: int, config: Mapping[str, str]) -> None:
    """Create a topic, and wait until the broker tells of all its partitions: the controller has made them when it
    answers, but the broker hears of them a moment later, and says until then that there is no such topic."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, partitions, 1, config=dict(config))])[name].result(_DEADLINE_S)
    deadline = time.monotonic() + _DEADLINE_S
    while not _has_leaders(admin, name, partitions):
        assert time.monotonic() < deadline, f"{name} has not come into being within {_DEADLINE_S} s"
        time.sleep(0.01)


def _has_leaders(admin: AdminClient, name: str, partitions: int) -> bool:
    found = admin.list_topics(name, timeout=_DEADLINE_S).topics[name]
    return len(found.partitions) == partitions and all(one.leader >= 0 for one in found.partitions.values())
