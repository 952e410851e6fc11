"""librdkafka's own mock of a broker, which can be told to refuse requests: for what real brokers do too rarely."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

_NOT_LEADER_FOR_PARTITION: Final = 6
_PRODUCE: Final = 0
_PRODUCER: Final = 0  # of rd_kafka_type_t
_NODE: Final = 1


class MockCluster:
    """One broker, and a topic with one partition. It takes an idempotent producer's batches in any order, as a real
    broker does as long as it does not know the producer."""

    def __init__(self, library: Any, cluster: ctypes.c_void_p, topic: str) -> None:
        self.topic = topic
        self.bootstrap = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        self._library, self._cluster = library, cluster

    def refuse_next_batch(self, *, after_ms: int) -> None:
        """Answer the next Produce request with "not leader", and take those after it; each answer takes a while."""
        self._answer_after(after_ms)
        error = _NOT_LEADER_FOR_PARTITION
        self._library.rd_kafka_mock_push_request_errors_array(self._cluster, _PRODUCE, 1, (ctypes.c_int * 1)(error))

    def values(self) -> list[bytes]:
        """The values in the log."""
        self._answer_after(0)
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "values", "enable.auto.commit": False})
        place = TopicPartition(self.topic, 0, OFFSET_BEGINNING)
        found: list[bytes] = []
        try:
            _, end = consumer.get_watermark_offsets(place, timeout=30)
            consumer.assign([place])
            while len(found) < end:
                message = consumer.poll(30)
                assert message is not None, "the mock does not answer"
                assert message.error() is None
                found.append(message.value())
        finally:
            consumer.close()
        return found

    def _answer_after(self, milliseconds: int) -> None:
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, _NODE, milliseconds)


@contextmanager
def mock_cluster(topic: str) -> Iterator[MockCluster]:
    """A cluster that lives as long as the context. Skips the test where librdkafka's library can't be reached."""
    library = _librdkafka()
    words = ctypes.create_string_buffer(512)
    owner = library.rd_kafka_new(_PRODUCER, library.rd_kafka_conf_new(), words, len(words))
    assert owner, words.value
    cluster = library.rd_kafka_mock_cluster_new(owner, 1)
    try:
        assert library.rd_kafka_mock_topic_create(cluster, topic.encode(), 1, 1) == 0
        yield MockCluster(library, cluster, topic)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(owner)


def _librdkafka() -> Any:
    """The library that confluent_kafka has loaded, with the signatures of what is called."""
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "librdkafka" in line}
    if not loaded:
        pytest.skip("librdkafka is not a library of its own here, whose mock could be called")
    library: Any = ctypes.CDLL(loaded.pop())
    handle, text = ctypes.c_void_p, ctypes.c_char_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "conf_new": (handle, []),
        "new": (handle, [ctypes.c_int, handle, text, ctypes.c_size_t]),
        "destroy": (None, [handle]),
        "mock_cluster_new": (handle, [handle, ctypes.c_int]),
        "mock_cluster_destroy": (None, [handle]),
        "mock_cluster_bootstraps": (text, [handle]),
        "mock_topic_create": (ctypes.c_int, [handle, text, ctypes.c_int, ctypes.c_int]),
        "mock_broker_set_rtt": (ctypes.c_int, [handle, ctypes.c_int32, ctypes.c_int]),
        "mock_push_request_errors_array": (
            None,
            [handle, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)],
        ),
    }
    for name, (answer, arguments) in signatures.items():
        function = getattr(library, f"rd_kafka_{name}")
        function.restype, function.argtypes = answer, arguments
    return library
