"""Adding partitions to a topic that is counted: what each partition may count when, so that nothing counts twice.

A source's events lie in one partition, chosen by the key and the number of partitions; so does everything that it sends
again, and a partition's own memory of identities is enough. Adding partitions moves sources. From then on an event may
lie in the old partition, and what its producer sends again in the new one. `fleetmeter topic grow` and the workers
therefore agree on steps, each of them a decision in the ledger (see `decisions`), made by its compare-and-swap:

1. `grow`: every old partition's epoch is closed where its position is, *before* the partitions are made. All that was
   counted until here was sent while sources were where they had always been. Nothing is counted now; Kafka keeps it.
2. The partitions are made in Kafka. Producers learn of them one by one, at the latest after `settle_s`. Then every
   log's end is written down, and `grow_settled` (on partition 0) makes that measurement the one that counts. What lies
   in the logs from step 1 up to here is the *section* in which one source may be on two partitions.
3. The sections are counted one after another, partition 0 first. Each knows all that the others have counted so far;
   `grow_done` closes its epoch at its end.
4. When all are done, every partition counts on by itself, and still knows what the others had counted, until that is
   older than the horizon.

Why no event is counted twice: take two copies of one event. In one partition, its memory finds the second, as ever. In
two partitions, not both lie before step 1 (sources had not moved) and not both after the sections (they have all moved
by then). So at least one lies in a section or behind it while the other does not lie behind one: they are counted in
an order, and the later one knows the earlier one. What a partition knows of others are *closed* epochs only, which
never change again; so it does not matter who reads them, or when.

The command may be killed anywhere and run again: it finds the growth by its decisions and goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from fleetmeter_jobs.ledger.decisions import GROWTH_STEPS
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.ledger.store import GrowthStep, LedgerStore

FENCE, SETTLED, DONE = GROWTH_STEPS
"""Kinds of decisions."""
PLANNED, GROWN = "planned", "grown"
"""Steps that are no decisions: rows of `partition_growth` alone. `SETTLED` has both."""
ROOM_S: Final = 20
"""How long workers let a partition stand that is about to be closed. More than the time within which they look."""
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Growth:
    """Partitions that were added at one time."""

    name: str
    topic_id: str
    old_partitions: int
    new_partitions: int
    settle_s: int
    planned_at_ms: int
    grown_at_ms: int | None
    """Since when the partitions have been there, for sure."""
    ends: tuple[int, ...] | None
    """Where each partition's section ends, once producers have settled."""
    settled_at_ms: int | None
    fenced: frozenset[int]
    """Old partitions whose epoch was closed."""
    done: frozenset[int]
    """Partitions whose section was counted."""

    @property
    def all_fenced(self) -> bool:
        """Whether all that was counted was counted before the partitions were made."""
        return self.fenced >= frozenset(range(self.old_partitions))

    @property
    def over(self) -> bool:
        """Whether every partition counts by itself again."""
        return self.done >= frozenset(range(self.new_partitions))

    @property
    def settles_at_ms(self) -> int | None:
        """When all producers know of the partitions; None before these were made."""
        return None if self.grown_at_ms is None else self.grown_at_ms + self.settle_s * 1000

    def nonce(self, kind: str, partition: int) -> str:
        """The name of a decision: the same whoever makes it, so that it is made once."""
        return f"{self.name}.{kind}.{partition}"


@dataclass(frozen=True, slots=True)
class Topology:
    """What the ledger knows of a topic's partitions."""

    registered: frozenset[int]
    growths: tuple[Growth, ...]
    """Those that took effect, oldest first."""
    planned: tuple[Growth, ...] = ()
    """Those of which no step took effect, yet or ever."""

    @property
    def last(self) -> Growth | None:
        """The newest growth."""
        return self.growths[-1] if self.growths else None


@dataclass(frozen=True, slots=True)
class Free:
    """The partition may count all that its log holds."""


@dataclass(frozen=True, slots=True)
class Section:
    """The partition may count up to an offset; then its epoch is closed."""

    growth: Growth
    end: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The partition may not count now."""

    why: str


Stage = Free | Section | Wait


def read_topology(store: LedgerStore, topic: str) -> Topology:
    """The topic's partitions and growths. Raises what the store raises."""
    # Decisions last: they make effective what is in the rows that were written before them.
    rows = store.growth_steps(topic) if (registered := frozenset(store.partitions(topic))) else []
    decided = {one.nonce for one in store.topic_decisions(topic)} if rows else set()
    found = (_growth(row, rows, decided) for row in rows if row.step == PLANNED)
    # By partitions, which only ever become more: the clocks of the machines that planned them may not agree.
    growths = sorted(found, key=lambda one: (one.old_partitions, one.planned_at_ms, one.name))
    return Topology(
        registered, tuple(one for one in growths if one.fenced), tuple(one for one in growths if not one.fenced)
    )


def _growth(plan: GrowthStep, rows: Sequence[GrowthStep], decided: set[str]) -> Growth:
    own = [row for row in rows if row.growth == plan.growth]
    grown = min((row.at_ms for row in own if row.step == GROWN), default=None)
    settled = next((row for row in own if row.step == SETTLED and row.nonce in decided), None)

    def made(kind: str, partitions: int) -> frozenset[int]:
        return frozenset(n for n in range(partitions) if f"{plan.growth}.{kind}.{n}" in decided)

    return Growth(
        name=plan.growth,
        topic_id=plan.topic_id,
        old_partitions=plan.old_partitions,
        new_partitions=plan.new_partitions,
        settle_s=plan.settle_s,
        planned_at_ms=plan.at_ms,
        grown_at_ms=grown,
        ends=settled.ends if settled else None,
        settled_at_ms=settled.at_ms if settled else None,
        fenced=made(FENCE, plan.old_partitions),
        done=made(DONE, plan.new_partitions),
    )


def makes_room(topology: Topology, partition: int, now_ms: int) -> bool:
    """Whether somebody is about to close the partition's epoch, so that a worker lets it stand for a moment.

    Only so that the decision is not overtaken by commits for ever; whoever goes on all the same does no harm.
    """
    closing = [*topology.planned, *(one for one in topology.growths if not one.all_fenced)]
    return any(
        partition < one.old_partitions
        and partition not in one.fenced
        and abs(now_ms - one.planned_at_ms) < ROOM_S * 1000
        for one in closing
    )


def stage_of(topology: Topology, partition: int) -> Stage:
    """What a registered partition may do now."""
    growth = topology.last
    if growth is None or growth.over:
        return Free()
    if partition < growth.old_partitions and partition not in growth.fenced:
        return Free()  # the partitions are not made before every old one is fenced
    if growth.ends is None:
        return Wait(_why_unsettled(growth))
    if partition not in growth.done:
        before = sorted(set(range(partition)) - growth.done)
        if before:
            return Wait(
                f"its events of the time in which sources moved are counted after those of partition {before[0]}"
            )
        return Section(growth, growth.ends[partition])
    others = ", ".join(map(str, sorted(set(range(growth.new_partitions)) - growth.done)))
    return Wait(f"partitions {others} still count their events of the time in which sources moved")


def _why_unsettled(growth: Growth) -> str:
    change = f"the topic grows from {growth.old_partitions} to {growth.new_partitions} partitions"
    if growth.settles_at_ms is None:
        return f"{change}, which are not there yet. If the command does not run any more, run it again"
    until = datetime.fromtimestamp(growth.settles_at_ms / 1000, UTC)
    return (
        f"{change}, and until {until:%H:%M:%S} UTC producers may not know it. Then `fleetmeter topic grow` goes on; if "
        "it does not run any more, run it again"
    )


def inherited_epochs(
    store: LedgerStore, topology: Topology, partition: PartitionId, position: Position, memory_us: int
) -> list[tuple[PartitionId, Position]]:
    """The closed epochs of the other partitions, whose identities this one has to know; none if no source has moved
    for as long as an identity is remembered (`memory_us`: horizon and future limit).

    The log's own time decides, so that every worker decides the same: the position's watermark is never ahead of it.
    """
    recent = [
        one
        for one in topology.growths
        if one.settled_at_ms is None or position.watermark_us <= one.settled_at_ms * 1000 + memory_us + _DAY_US
    ]
    if not recent:
        return []
    others = sorted(topology.registered - {partition.partition})
    epochs: Mapping[int, list[tuple[PartitionId, Position]]] = {
        number: store.epochs(partition.topic, number) for number in others
    }
    return [(one, at) for number in others for one, at in epochs[number] if at.successor is not None]
