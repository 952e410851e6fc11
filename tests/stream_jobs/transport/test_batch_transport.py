"""Faust, aiokafka and a real broker: everything that lies in the log arrives, once, in order, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from confluent_kafka import Consumer as OtherConsumer
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as OtherPartition
from confluent_kafka.admin import AdminClient
from faust.types import TP
from fleetmeter_jobs.kafka_access import KafkaAccess
from fleetmeter_jobs.kafka_topic import countable_topic_id
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.decisions import Batch, Decided, LogNow, decide, plan_new_epoch
from fleetmeter_jobs.ledger.first_commit import ensure_position
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.partition_status import State
from fleetmeter_jobs.transport.lean_fetcher import LeanFetcher
from fleetmeter_local import RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

_APPEND = {"message_timestamp_type": "LogAppendTime"}


def _producer(kafka: RunningKafka, **options: Any) -> Producer:
    return Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 5, **options})


def _send(producer: Producer, topic: str, values: Sequence[bytes | None], partition: int = 0) -> None:
    for value in values:
        producer.produce(topic, value, partition=partition)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_record_is_counted_whatever_the_codec(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any, codec: str
) -> None:
    topic = make_topic(**_APPEND)
    producer = _producer(kafka, **{"compression.type": codec, "batch.num.messages": 700})
    values = [b"%06d " % (i % 4000) * 20 for i in range(5000)]
    _send(producer, topic, values)
    producer.flush()
    toy = fleet(topic)
    await toy.start_worker()
    await eventually(lambda: toy.committed() == 5000)
    totals = toy.totals()
    assert (totals.records, totals.accepted, totals.duplicates) == (5000, 4000, 1000)


async def test_aborted_transactions_are_left_out_and_every_offset_is_accounted_for(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    topic = make_topic(**_APPEND)
    producer = _producer(kafka, **{"transactional.id": topic})
    plain = _producer(kafka)
    producer.init_transactions()
    kept = 0
    for number in range(6):
        producer.begin_transaction()
        _send(producer, topic, [b"%d-%d" % (number, i) for i in range(50)])
        producer.flush()
        _send(plain, topic, [b"plain-%d" % number])  # between the records of the transaction and its end
        plain.flush()
        if number % 2:
            producer.abort_transaction()
        else:
            producer.commit_transaction()
            kept += 50
    toy = fleet(topic)
    await toy.start_worker()
    await eventually(lambda: toy.committed() == 6 * 50 + 6 + 6)
    totals = toy.totals()
    assert (totals.accepted, totals.records, totals.control_offsets, totals.aborted_offsets) == (156, 156, 6, 150)
    assert kept + 6 == totals.accepted


async def test_an_open_transaction_is_waited_for(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    topic = make_topic(**_APPEND)
    producer = _producer(kafka, **{"transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    _send(producer, topic, [b"a", b"b"])
    producer.flush()
    toy = fleet(topic)
    worker = await toy.start_worker()
    await eventually(lambda: worker.partitions.ready)
    assert worker.partitions.drained_since_ms() is None
    assert toy.committed() == 0
    producer.commit_transaction()
    await eventually(lambda: toy.committed() == 3)
    assert toy.totals().accepted == 2


async def test_a_second_worker_takes_its_share_and_its_end_gives_it_back(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    topic = make_topic(partitions=4, **_APPEND)
    producer = _producer(kafka)
    sent = [0, 0, 0, 0]

    def send_some() -> None:
        for partition in range(4):
            _send(producer, topic, [b"%d-%d" % (partition, sent[partition] + i) for i in range(500)], partition)
            sent[partition] += 500
        producer.flush()

    def all_counted() -> bool:
        return all(toy.committed(partition) == sent[partition] for partition in range(4))

    toy = fleet(topic)
    first = await toy.start_worker()
    send_some()
    await eventually(all_counted)
    second = await toy.start_worker()
    for _ in range(20):  # while the partitions change hands
        send_some()
        await asyncio.sleep(0)
    await eventually(lambda: len(first.partitions.statuses()) == len(second.partitions.statuses()) == 2)
    send_some()
    await eventually(all_counted)
    await second.stop()
    send_some()
    await eventually(lambda: len(first.partitions.statuses()) == 4 and all_counted())
    for partition in range(4):
        totals = toy.totals(partition)
        assert (totals.accepted, totals.duplicates) == (sent[partition], 0)


async def test_kafkas_own_offsets_are_told_but_not_followed(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    topic = make_topic(**_APPEND)
    producer = _producer(kafka)
    _send(producer, topic, [b"%d" % i for i in range(100)])
    producer.flush()
    lagging = OtherConsumer({"bootstrap.servers": kafka.bootstrap, "group.id": topic, "enable.auto.commit": False})
    lagging.commit(offsets=[OtherPartition(topic, 0, 77)], asynchronous=False)
    toy = fleet(topic)
    worker = await toy.start_worker()
    await eventually(lambda: toy.committed() == 100)
    assert toy.totals().accepted == 100
    await eventually(worker.partitions.drained_since_ms)
    await worker.stop()
    (committed,) = lagging.committed([OtherPartition(topic, 0)], timeout=30)
    lagging.close()
    assert committed.offset == 100


async def test_a_recreated_topic_stops_and_a_new_epoch_counts_it_from_its_start(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    from confluent_kafka.admin import NewTopic  # noqa: PLC0415

    topic = make_topic(**_APPEND)
    producer = _producer(kafka)
    _send(producer, topic, [b"%d" % i for i in range(10)])
    producer.flush()
    toy = fleet(topic)
    worker = await toy.start_worker()
    await eventually(lambda: toy.committed() == 10)
    await worker.stop()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.delete_topics([topic])[topic].result(30)
    await asyncio.to_thread(
        _create_again, admin, NewTopic(topic, 1, 1, config={"message.timestamp.type": "LogAppendTime"})
    )
    fresh = _producer(kafka)
    # Half of it was counted from the old log: a producer that sends again what it has no acknowledgement for.
    _send(fresh, topic, [b"%d" % i for i in range(10)] + [b"new-%d" % i for i in range(10)])
    fresh.flush()
    worker = await toy.start_worker()
    await eventually(lambda: [one.state for one in worker.partitions.statuses().values()] == [State.STOPPED])
    assert "deleted and made again" in str(worker.partitions.statuses()[0].error)
    assert toy.committed() == 10
    old = PartitionId(topic, 0)
    there = toy.store.position(old)
    assert there is not None
    change = plan_new_epoch(old, there, LogNow(countable_topic_id(KafkaAccess(kafka.bootstrap), topic), 0, 20))
    assert isinstance(decide(toy.store, change, Batch(), "ana", "recreated", CommitContext()), Decided)
    await eventually(lambda: toy.committed(epoch=1) == 20)
    assert (toy.totals(epoch=1).accepted, toy.totals(epoch=1).duplicates) == (10, 10)
    assert toy.committed(epoch=0) == 10


def _create_again(admin: AdminClient, new: Any) -> None:
    import time  # noqa: PLC0415

    from confluent_kafka import KafkaException  # noqa: PLC0415

    give_up = time.monotonic() + 30
    while True:
        try:
            admin.create_topics([new])[new.topic].result(30)
        except KafkaException:  # the deletion is not through yet
            if time.monotonic() > give_up:
                raise
        else:
            return


async def test_records_that_were_deleted_before_they_were_counted_stop_the_partition(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    topic = make_topic(**_APPEND)
    producer = _producer(kafka)
    _send(producer, topic, [b"%d" % i for i in range(10)])
    producer.flush()
    toy = fleet(topic)
    worker = await toy.start_worker()
    await eventually(lambda: toy.committed() == 10)
    await worker.stop()
    _send(producer, topic, [b"%d" % i for i in range(10, 20)])
    producer.flush()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for deleted in admin.delete_records([OtherPartition(topic, 0, 15)]).values():
        deleted.result()
    worker = await toy.start_worker()
    await eventually(lambda: [one.state for one in worker.partitions.statuses().values()] == [State.STOPPED])
    assert "the ledger has position 10, Kafka has a log that starts at 15" in str(worker.partitions.statuses()[0].error)
    assert toy.committed() == 10


async def test_a_position_beyond_the_logs_end_stops_that_partition_and_no_other(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    """The ledger is ahead of a broker that came back with an older log."""
    topic = make_topic(partitions=2, **_APPEND)
    producer = _producer(kafka)
    for partition in range(2):
        _send(producer, topic, [b"%d" % i for i in range(50)], partition)
    producer.flush()
    toy = fleet(topic)
    topic_id = countable_topic_id(KafkaAccess(kafka.bootstrap), topic)
    ensure_position(toy.store, PartitionId(topic, 0), 999, topic_id, 1_780_000_000_000, CommitContext())
    worker = await toy.start_worker()
    await eventually(lambda: toy.committed(1) == 50)
    _send(producer, topic, [b"more"], 1)
    producer.flush()
    await eventually(lambda: toy.committed(1) == 51)
    await eventually(
        lambda: [one.state for one in worker.partitions.statuses().values()] == [State.STOPPED, State.COUNTING]
    )
    assert "the ledger has position 999, Kafka has a log that ends at 50" in str(worker.partitions.statuses()[0].error)


async def test_fetching_that_breaks_down_ends_the_app_instead_of_standing_still(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_args: object) -> bool:
        raise ZeroDivisionError("somewhere deep")

    monkeypatch.setattr(LeanFetcher, "_on_partition_data", defect)
    topic = make_topic(**_APPEND)
    producer = _producer(kafka)
    _send(producer, topic, [b"a"])
    producer.flush()
    worker = await fleet(topic).start_worker()
    await eventually(lambda: worker.app.crashed)
    assert "Unexpected error during data retrieval" in str(worker.app.crash_reason)


@pytest.mark.parametrize("task", ["fetcher", "coordinator", "metadata"])
async def test_a_background_task_that_is_gone_ends_the_app_instead_of_standing_still(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any, task: str
) -> None:
    """None of aiokafka's tasks ends by itself; one that was cancelled leaves no error behind, only silence."""
    toy = fleet(make_topic(**_APPEND))
    worker = await toy.start_worker()
    await eventually(lambda: worker.partitions.ready)
    consumer = worker.app.batch_consumer.kafka
    tasks = {
        "fetcher": consumer._fetcher._fetch_task,
        "coordinator": consumer._coordinator._coordination_task,
        "metadata": consumer._client._sync_task,
    }
    tasks[task].cancel()
    await eventually(lambda: worker.app.crashed)
    assert "has ended" in str(worker.app.crash_reason)


async def test_the_log_is_asked_about_itself(
    kafka: RunningKafka, make_topic: Callable[..., str], fleet: Any, eventually: Any
) -> None:
    topic = make_topic(**_APPEND)
    producer = _producer(kafka)
    for number in range(3):
        _send(producer, topic, [b"%d-%d" % (number, i) for i in range(5)])
        producer.flush()
    toy = fleet(topic)
    worker = await toy.start_worker()
    await eventually(lambda: toy.committed() == 15)
    consumer, tp = worker.app.batch_consumer, TP(topic, 0)
    assert await consumer.log_bounds(tp) == (0, 15)
    header = await consumer.header_at(tp, 7)
    assert header is not None
    assert header.base_offset <= 7 < header.next_offset
    assert header.log_append_time
    assert await consumer.header_at(tp, 15) is None
    assert await consumer.header_at(tp, 1000) is None
    assert consumer.topic_partitions(topic) == 1
    assert consumer.assignment() == {tp}
    assert consumer.kafka.drained_at_ms(TopicPartition("other", 0), 0) is None
