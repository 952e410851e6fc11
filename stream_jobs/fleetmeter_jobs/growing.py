"""`fleetmeter topic grow`, step by step: the operator's part of adding partitions (see `ledger.growth`).

Every step first looks what is there already, so that the whole may be killed anywhere and run again, by anybody.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from fleetmeter_jobs.errors import JobError
from fleetmeter_jobs.kafka_topic import KafkaTopic
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.decisions import Batch, Change, Decided, decide, plan_growth_step
from fleetmeter_jobs.ledger.first_commit import ensure_position
from fleetmeter_jobs.ledger.growth import FENCE, GROWN, PLANNED, ROOM_S, SETTLED, Growth, Topology, read_topology
from fleetmeter_jobs.ledger.growth_rows import growth_rows
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.store import GrowthStep, LedgerStore

Report = Callable[[str], None]
_LOOK_S = 0.5


class GrowthRefusedError(JobError):
    """The topic can't grow like this; the message says why, and what to do."""

    domain = "input"


class KafkaPartitions(Protocol):
    """What growing needs of Kafka. Each call may raise KafkaUnavailableError."""

    def describe(self) -> KafkaTopic: ...
    def add_partitions(self, total: int) -> None:
        """Make partitions until there are `total`; more than there are."""
        ...

    def log_bounds(self) -> Mapping[int, tuple[int, int]]:
        """By partition, where each log starts and ends; records of open transactions are part of it."""
        ...


@dataclass(frozen=True, slots=True)
class Grower:
    """Adds partitions to a topic. All calls block; `wait` and the context's clock are the test's to choose."""

    store: LedgerStore
    kafka: KafkaPartitions
    who: str
    context: CommitContext
    report: Report = lambda _step: None
    wait: Callable[[float], None] = time.sleep

    def find(self, partitions: int, settle_s: int) -> Growth:
        """The growth that is under way, or a new one that nothing has been done for yet.

        Raises GrowthRefusedError where that is not possible or not meant.
        """
        topic = self.kafka.describe()
        topology = read_topology(self.store, topic.name)
        last = topology.last
        if last is not None and not last.over:
            if partitions != last.new_partitions:
                raise GrowthRefusedError(
                    f"topic {topic.name} is growing to {last.new_partitions} partitions already; finish that first, "
                    f"with --partitions {last.new_partitions}, whatever partitions were added meanwhile"
                )
            return last
        old = self._countable(topic, topology)
        if partitions < topic.partitions:
            raise GrowthRefusedError(f"topic {topic.name} has {topic.partitions} partitions; Kafka can't take any away")
        if partitions <= old:
            raise GrowthRefusedError(f"topic {topic.name} has {old} partitions, all of them counted: nothing to do")
        name = secrets.token_hex(8)
        now_ms = self.context.now_ms()
        return Growth(
            name, topic.topic_id, old, partitions, settle_s, now_ms, None, None, None, frozenset(), frozenset()
        )

    def grow(self, growth: Growth) -> Growth:
        """Take every step that is missing, up to the workers' part; returns the growth as it stands then.

        Waits until producers have settled. Raises GrowthRefusedError when another growth came first, and what the store
        and Kafka raise; running it again goes on.
        """
        topic = self.kafka.describe()
        if not growth.fenced:
            self._write(topic, growth, PLANNED, at_ms=growth.planned_at_ms)
        for number in range(growth.old_partitions):
            self._fence(topic, growth, number)
        self.report(f"Closed the epochs of {growth.old_partitions} partitions; counting waits from here on")
        self._register(topic, growth)
        if topic.partitions < growth.new_partitions:
            self.kafka.add_partitions(growth.new_partitions)
            self.report(f"Added partitions: {topic.name} has {growth.new_partitions} now")
        growth = self._now(topic, growth)
        if growth.grown_at_ms is None:
            self._write(topic, growth, GROWN, at_ms=self.context.now_ms())
            growth = self._now(topic, growth)
        while growth.ends is None:
            left_s = ((growth.settles_at_ms or 0) - self.context.now_ms()) / 1000
            if left_s > 0:
                self.report(f"Waiting for producers to learn of the partitions: {left_s:.0f} s left")
                self.wait(min(left_s, 1.0))
            else:
                self._settle(topic, growth)
                growth = self._now(topic, growth)
        return growth

    def wait_for_workers(self, growth: Growth, limit_s: float) -> Growth:
        """Until every partition counts by itself again, or the time is up; returns the growth as it stands then."""
        topic = self.kafka.describe()
        deadline_ms = self.context.now_ms() + limit_s * 1000
        while not growth.over and self.context.now_ms() < deadline_ms:
            self.report(f"Workers count what came in meanwhile: {len(growth.done)} of {growth.new_partitions} are done")
            self.wait(_LOOK_S)
            growth = self._now(topic, growth)
        return growth

    def _countable(self, topic: KafkaTopic, topology: Topology) -> int:
        """How many partitions are counted, all of which must be in this topic."""
        known = sorted(topology.registered)
        if not known or known != list(range(len(known))):
            raise GrowthRefusedError(
                f"the ledger knows the partitions {known or 'none'} of topic {topic.name}. Start a worker first: it "
                "makes known what is there. A topic that has no records yet may be altered freely"
            )
        for number in known:
            partition, position = self._position(topic, number)
            if position.tail.topic_id != topic.topic_id:
                raise GrowthRefusedError(
                    f"{partition} was counted in the topic with id {position.tail.topic_id}, Kafka has one with id "
                    f"{topic.topic_id}: it was deleted and made again. First "
                    "`fleetmeter positions new-epoch --all --reason WHY`"
                )
        return len(known)

    def _fence(self, topic: KafkaTopic, growth: Growth, number: int) -> None:
        planned_at_ms = growth.planned_at_ms
        while True:
            # In this order: a growth that began before the position was read is seen here, and one that begins later
            # moves the position.
            partition, position = self._position(topic, number)
            topology = read_topology(self.store, topic.name)
            ours = next((one for one in topology.growths if one.name == growth.name), None)
            rival = topology.last
            if ours is None and rival is not None and not rival.over:
                raise GrowthRefusedError(
                    f"somebody else began to grow {topic.name} to {rival.new_partitions} partitions; run "
                    f"`fleetmeter topic grow` again with --partitions {rival.new_partitions} to go on with that"
                )
            if ours is not None and number in ours.fenced:
                return
            if self.context.now_ms() - planned_at_ms > ROOM_S * 1000 / 4:
                # Workers have committed first, again and again: they let the partition stand while this is new.
                planned_at_ms = self.context.now_ms()
                self._write(topic, growth, PLANNED, at_ms=planned_at_ms)
                self.wait(_LOOK_S)
            change = plan_growth_step(FENCE, partition, position, growth.nonce(FENCE, number))
            if self._decide(change, position, growth):
                return

    def _settle(self, topic: KafkaTopic, growth: Growth) -> None:
        partition, position = self._position(topic, 0)
        if self._now(topic, growth).ends is not None:
            return
        self._expect_nothing_counted(topic, growth)
        bounds = self.kafka.log_bounds()
        if missing := sorted(set(range(growth.new_partitions)) - set(bounds)):
            raise GrowthRefusedError(
                f"partitions {', '.join(map(str, missing))} of topic {topic.name} are gone: it was deleted and made "
                "again meanwhile. Run the command again, which makes them"
            )
        nonce = f"{growth.name}.{SETTLED}.{secrets.token_hex(8)}"
        ends = tuple(bounds[number][1] for number in range(growth.new_partitions))
        self._write(topic, growth, SETTLED, at_ms=self.context.now_ms(), nonce=nonce, ends=ends)
        if self._decide(plan_growth_step(SETTLED, partition, position, nonce), position, growth):
            self.report(f"Producers have settled; {sum(ends)} offsets up to here are counted in turn")

    def _expect_nothing_counted(self, topic: KafkaTopic, growth: Growth) -> None:
        """Workers that know of growing wait now. Raises GrowthRefusedError if one does not."""
        for number in range(growth.new_partitions):
            partition, position = self._position(topic, number)
            if position.totals.records:
                raise GrowthRefusedError(
                    f"{position.totals.records} records of {partition}, up to offset {position.next_offset}, were "
                    "counted while producers had to learn of the new partitions: a worker runs whose version does not "
                    "know of growing. Stop every such worker. Then `fleetmeter positions new-epoch "
                    f"{number} --force --at {position.next_offset} --reason 'counted too early' --yes` lets the other "
                    "partitions know what was counted, and this command goes on. What was sent to several partitions "
                    "in this time may be counted twice; `fleetmeter audit` finds it"
                )

    def _decide(self, change: Change, position: Position, growth: Growth) -> bool:
        batch = Batch(position.tail.leader_epoch, position.tail.crc)
        why = f"the topic grows from {growth.old_partitions} to {growth.new_partitions} partitions"
        return isinstance(decide(self.store, change, batch, self.who, why, self.context), Decided)

    def _register(self, topic: KafkaTopic, growth: Growth) -> None:
        """The new partitions' first positions, before any record can be in them that nobody would wait for."""
        bounds = self.kafka.log_bounds()
        watermarks = [self._position(topic, number)[1].watermark_us for number in range(growth.old_partitions)]
        for number in range(growth.old_partitions, growth.new_partitions):
            start = bounds[number][0] if number in bounds else 0
            ensure_position(
                self.store,
                PartitionId(topic.name, number),
                start,
                topic.topic_id,
                self.context.now_ms(),
                self.context,
                # Its events are from now on, and late ones are late in any partition.
                watermark_us=min(watermarks),
            )

    def _position(self, topic: KafkaTopic, number: int) -> tuple[PartitionId, Position]:
        return self.store.epochs(topic.name, number)[-1]

    def _now(self, topic: KafkaTopic, growth: Growth) -> Growth:
        return next(one for one in read_topology(self.store, topic.name).growths if one.name == growth.name)

    def _write(
        self,
        topic: KafkaTopic,
        growth: Growth,
        step: str,
        *,
        at_ms: int,
        nonce: str = "",
        ends: tuple[int, ...] = (),
    ) -> None:
        row = GrowthStep(
            growth.name,
            step,
            nonce,
            growth.topic_id,
            growth.old_partitions,
            growth.new_partitions,
            growth.settle_s,
            ends,
            self.who,
            at_ms,
        )
        self.store.insert_side_rows(growth_rows(topic.name, row))
