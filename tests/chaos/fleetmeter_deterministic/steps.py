"""The steps of a schedule. Each is data that prints as Python; numbers wrap around, so that any step can follow any
other, and a step without a meaning where it stands does nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fleetmeter_doubles import Fault

if TYPE_CHECKING:
    from fleetmeter_deterministic.world import World

Operation = Literal[
    "insert",
    "position",
    "hash_key",
    "blobs",
    "side_rows",
    "manifests",
    "content",
    "ids_sum",
    "known_ids",
    "delete",
]
Point = Literal[
    "topic_id",
    "position",
    "hash_key",
    "blobs",
    "before_side_rows",
    "side_rows",
    "before_insert",
    "between_steps",
    "after_insert",
    "before_read_back",
    "before_ack",
    "manifests",
    "content",
    "known_ids",
    "before_ids",
    "ids_sum",
    "before_manifests",
    "before_blobs_deleted",
    "delete",
    "after_blobs_deleted",
]
START_POINTS: tuple[Point, ...] = ("topic_id", "position", "hash_key", "manifests", "content", "blobs")
COMMIT_POINTS: tuple[Point, ...] = (
    "before_side_rows",
    "side_rows",
    "before_insert",
    "between_steps",
    "after_insert",
    "before_read_back",
    "before_ack",
)
SEAL_POINTS: tuple[Point, ...] = (
    "blobs",
    "before_ids",
    "side_rows",
    "ids_sum",
    "before_manifests",
    "manifests",
    "before_blobs_deleted",
    "delete",
    "after_blobs_deleted",
)
POINTS: tuple[Point, ...] = (*START_POINTS, *COMMIT_POINTS, *SEAL_POINTS)


@dataclass(frozen=True)
class Step:
    """Base of all steps."""

    def apply(self, world: World) -> None:
        """Do it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Run(Step):
    """Let processes run, in turns, for so long; each until it comes to a point, or has moved so often. The others stand
    still, wherever they are: a process that is not named is a process under SIGSTOP."""

    workers: tuple[int, ...]
    seconds: float = 0.0
    until: Point | None = None
    moves: int = 400
    turn: int = 0

    def apply(self, world: World) -> None:
        world.run([worker for slot in self.workers if (worker := world.worker(slot))], self)


@dataclass(frozen=True)
class Fail(Step):
    """The next calls of an operation, by this worker, meet these faults."""

    worker: int
    operation: Operation
    faults: tuple[Fault, ...]

    def apply(self, world: World) -> None:
        if worker := world.worker(self.worker):
            worker.plan.setdefault(self.operation, []).extend(self.faults)


@dataclass(frozen=True)
class Kill(Step):
    """kill -9, wherever the process stands."""

    worker: int

    def apply(self, world: World) -> None:
        if worker := world.worker(self.worker):
            world.count("worker killed")
            worker.kill()


@dataclass(frozen=True)
class Start(Step):
    """A new process in place of one that is gone, which gets these partitions."""

    worker: int
    partitions: tuple[int, ...]

    def apply(self, world: World) -> None:
        if world.worker(self.worker) is None:
            world.count("worker started again")
            world.start(self.worker, world.tps(self.partitions))


@dataclass(frozen=True)
class Stop(Step):
    """SIGTERM."""

    worker: int

    def apply(self, world: World) -> None:
        if worker := world.worker(self.worker):
            world.count("worker told to stop")
            worker.stop()


@dataclass(frozen=True)
class Assign(Step):
    """A rebalance, as one process sees it. Others may believe that they have the same partitions."""

    worker: int
    partitions: tuple[int, ...]

    def apply(self, world: World) -> None:
        if worker := world.worker(self.worker):
            world.count("rebalance")
            worker.assign(world.tps(self.partitions))


@dataclass(frozen=True)
class Send(Step):
    """A producer sends record batches. `bad` of their records are rejected."""

    partition: int
    batches: int = 1
    size: int = 2
    bad: int = 0

    def apply(self, world: World) -> None:
        for _ in range(self.batches):
            good: list[bytes | None] = [world.new_id() for _ in range(self.size)]
            bad: list[bytes | None] = [b"!%d" % number if number % 3 else None for number in range(self.bad)]
            if good or bad:
                world.append(self.partition, [*good, *bad])


@dataclass(frozen=True)
class SendAgain(Step):
    """A producer sends a batch once more that the log has already; `aborted`, in a transaction that it takes back."""

    partition: int
    batch: int
    aborted: bool = False

    def apply(self, world: World) -> None:
        sent = [batch for batch in world.log(self.partition).history.batches if batch.values]
        if not sent:
            return
        values = world.sent_again(sent[self.batch % len(sent)])
        if self.aborted:
            world.count("transaction aborted")
            world.append(self.partition, [], aborted=len(values))
            world.append(self.partition, [], control=1)
        else:
            world.count("batch sent again")
            world.append(self.partition, values)


@dataclass(frozen=True)
class Control(Step):
    """A committed transaction's marker."""

    partition: int

    def apply(self, world: World) -> None:
        world.append(self.partition, [], control=1)


@dataclass(frozen=True)
class Land(Step):
    """An insert that its client gave up on comes to its end."""

    index: int = 0

    def apply(self, world: World) -> None:
        world.land(self.index)


@dataclass(frozen=True)
class CrashStore(Step):
    """kill -9 of ClickHouse: what was under way is gone; nobody answers for so long."""

    seconds: float = 0.0

    def apply(self, world: World) -> None:
        world.count("store killed")
        world.store.crash()
        world.store_away_until = world.clock.now + self.seconds


@dataclass(frozen=True)
class KafkaAway(Step):
    """No broker answers until the next such step."""

    away: bool = True

    def apply(self, world: World) -> None:
        world.count("broker away", by=int(self.away))
        world.set_away(away=self.away)


@dataclass(frozen=True)
class Jump(Step):
    """A consumer delivers batches again (negative), or leaves some out."""

    worker: int
    partition: int
    batches: int

    def apply(self, world: World) -> None:
        if worker := world.worker(self.worker):
            world.count("consumer jumped")
            worker.consumer.jump(world.tp(self.partition), self.batches)


@dataclass(frozen=True)
class Retain(Step):
    """Retention takes the oldest batches of a log that was never truncated."""

    partition: int
    batches: int

    def apply(self, world: World) -> None:
        log = world.log(self.partition)
        taken = log.batches[: self.batches]
        # Where retention reaches up to the position of a log whose end was rewritten, nothing tells it from the old.
        if taken and not log.truncated:
            world.count("retention")
            log.retain_from(taken[-1].next_offset)


@dataclass(frozen=True)
class ChangeLeader(Step):
    """A clean election; `lost` batches make it an unclean one."""

    partition: int
    lost: int = 0

    def apply(self, world: World) -> None:
        log = world.log(self.partition)
        if self.lost and log.start == 0:
            world.count("log truncated")
            log.truncate(self.lost)
        else:
            world.count("leader changed")
            log.change_leader()
        world.news(world.tp(self.partition))


@dataclass(frozen=True)
class Recreate(Step):
    """The topic is deleted, made again, and filled with other records, perhaps beyond the old position."""

    batches: int = 0

    def apply(self, world: World) -> None:
        world.count("topic recreated")
        world.topic.recreate()
        for number in range(len(world.topic.logs)):
            for _ in range(self.batches):
                world.append(number, [world.new_id(), world.new_id()])


@dataclass(frozen=True)
class Pass(Step):
    """Time passes while nobody runs."""

    seconds: float

    def apply(self, world: World) -> None:
        world.clock.advance(world.clock.now + self.seconds)
