"""Records whose arrival has to be known: what the sender says when they don't arrive."""

from __future__ import annotations

import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers.errors import UndeliveredError
from fleetmeter_producers.records import RecordSender


def new_sender(broker: FakeBroker, acknowledged: list[int]) -> RecordSender[int]:
    return RecordSender("kafka:9092", "usage", acknowledged.append, connect=broker.connect)


def test_what_the_broker_has_is_acknowledged_once() -> None:
    broker, acknowledged = FakeBroker(queue_limit=3), list[int]()
    sender = new_sender(broker, acknowledged)
    for number in range(10):
        sender.send(b"source", b"%d" % number, number)
    sender.finish()
    assert acknowledged == list(range(10))


def test_a_refused_record_ends_it_with_the_reason() -> None:
    broker = FakeBroker()
    broker.refusals.append("message too large")
    sender = new_sender(broker, [])
    sender.send(b"source", b"x", 0)
    with pytest.raises(UndeliveredError, match="0 of 1 records for usage; the first problem was: message too large"):
        sender.finish()


@pytest.mark.parametrize("sent_before", [0, 5])
def test_a_fatal_error_is_told_by_its_reason(sent_before: int) -> None:
    """The library's own exception says only that there was one."""
    broker = FakeBroker()
    sender = new_sender(broker, [])
    for number in range(sent_before):
        sender.send(b"source", b"x", number)
    broker.break_producers()
    with pytest.raises(
        UndeliveredError, match=f"of {sent_before} records for usage; the first problem was: out of seq"
    ):
        sender.send(b"source", b"x", sent_before)
