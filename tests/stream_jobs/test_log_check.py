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

NEW = "`fleetmeter positions new-epoch 3 -s topic=usage --reason 'why'`"
SET = "`fleetmeter positions set 3 -s topic=usage --to start --reason 'why'`"


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
    ("topic_id", "start", "end", "batch", "says"),
    [
        ("topic-b", 0, 250, Batch(), ("position 100 in the topic with id topic-a", "0 to 250", "id topic-b", NEW)),
        ("topic-a", 101, 250, None, ("position 100", "starts at 101", "deleted 1 offsets", SET)),
        ("topic-a", 0, 99, None, ("position 100", "ends at 99", "lost 1 offsets", NEW)),
        ("topic-a", 0, 250, None, ("record batch before 100", "none there", "0 to 250", NEW)),
        ("topic-a", 0, 250, Batch(crc=1), ("CRC 0x0000abcd", "before 100", "CRC 0x00000001", "0 to 250", NEW)),
        ("topic-a", 0, 250, Batch(leader_epoch=6), ("leader epoch 5", "leader epoch 6", NEW)),
    ],
    ids=["recreated", "eaten", "lost", "hole", "other records", "other leader"],
)
def test_another_log_is_refused_with_both_sides_and_what_to_do(
    topic_id: str, start: int, end: int, batch: Batch | None, says: tuple[str, ...]
) -> None:
    with pytest.raises(LogMismatchError) as caught:
        check_log(PARTITION, POSITION, topic_id, start, end, batch)
    message = str(caught.value)
    assert message.startswith("usage-3/1: the ledger has ")
    for part in says:
        assert part in message
    assert not caught.value.retryable
