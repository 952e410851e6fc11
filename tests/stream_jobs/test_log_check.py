"""A log that is not the one that was counted is told from one that is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from fleetmeter_jobs.errors import LogMismatchError
from fleetmeter_jobs.ledger.position import PartitionId, Position, Tail
from fleetmeter_jobs.log_check import check_log

PARTITION = PartitionId("usage", 3, 1)
TAIL = Tail(100, "nonce", "topic-a", leader_epoch=5, crc=0xABCD, table_partition=202601)
POSITION = Position(0, 100, TAIL)


@dataclass(frozen=True)
class Batch:
    leader_epoch: int = 5
    crc: int = 0xABCD
    next_offset: int = 100


def test_the_same_log_passes() -> None:
    check_log(PARTITION, POSITION, "topic-a", 0, 250, Batch())
    check_log(PARTITION, POSITION, "topic-a", 0, 100, Batch())


def test_retention_may_have_taken_the_last_counted_batch() -> None:
    check_log(PARTITION, POSITION, "topic-a", 100, 250, None)


def test_a_partition_that_was_never_counted_has_nothing_to_compare() -> None:
    fresh = Position(40, 40, replace(TAIL, next_offset=40, leader_epoch=-1, crc=0))
    check_log(PARTITION, fresh, "topic-a", 0, 250, Batch())


@pytest.mark.parametrize(
    ("topic_id", "start", "end", "batch", "both_sides"),
    [
        ("topic-b", 0, 250, Batch(), ("topic id topic-a", "topic id topic-b")),
        ("topic-a", 101, 250, None, ("position 100", "starts at 101")),
        ("topic-a", 0, 99, None, ("position 100", "ends at 99")),
        ("topic-a", 0, 250, None, ("record batch before 100", "none there")),
        ("topic-a", 0, 250, Batch(crc=1), ("CRC 0x0000abcd", "CRC 0x00000001")),
        ("topic-a", 0, 250, Batch(leader_epoch=6), ("leader epoch 5", "leader epoch 6")),
    ],
    ids=["recreated", "eaten", "lost", "hole", "other records", "other leader"],
)
def test_another_log_is_refused_with_both_sides_and_what_to_do(
    topic_id: str, start: int, end: int, batch: Batch | None, both_sides: tuple[str, str]
) -> None:
    with pytest.raises(LogMismatchError) as caught:
        check_log(PARTITION, POSITION, topic_id, start, end, batch)
    message = str(caught.value)
    assert message.startswith("usage-3/1: the ledger has ")
    assert both_sides[0] in message
    assert both_sides[1] in message
    assert "FLEETMETER_TOPIC_EPOCH=2" in message
    assert not caught.value.retryable
