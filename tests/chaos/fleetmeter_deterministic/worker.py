"""One simulated worker process: the real Partitions, Processor and PartitionLedger, in its own loop and threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from faust.types import TP
from fleetmeter_doubles import Fault, MemoryLedger
from fleetmeter_doubles.toy_dedup import TOY_NATIVE
from fleetmeter_jobs.errors import JobError, KafkaUnavailableError
from fleetmeter_jobs.ledger.context import CommitObserver, HookPoint
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.partitions import Partitions
from fleetmeter_jobs.processor import Processor
from fleetmeter_jobs.processor_seams import Limits, Observer
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.threads import Threads

from fleetmeter_deterministic.blocking import Call, Hub, VirtualEvent
from fleetmeter_deterministic.consumer import SimConsumer
from fleetmeter_deterministic.kafka import SimTopic
from fleetmeter_deterministic.virtual_time import Clock, VirtualLoop

T = TypeVar("T")

REVOKE_LIMIT_S = 5.0
_SETTINGS = Settings(retry_wait_s=0.2, retry_wait_limit_s=4.0)


def settings_of(chunk_ids: int, filter_bytes: int) -> Settings:
    """Settings with chunks and filters smaller than anybody may have them."""
    return _SETTINGS.model_copy(update={"dedup_chunk_ids": chunk_ids, "dedup_filter_limit_bytes": filter_bytes})


@dataclass(frozen=True)
class Machine:
    """What all processes of a world share."""

    clock: Clock
    hub: Hub
    topic: SimTopic
    store: MemoryLedger
    limits: Limits
    batches_a_fetch: int
    new_core: Callable[[Settings, bytes], Any]
    on_defect: Callable[[str], None]
    count: Callable[[str], None]


class SimWorker:
    """A process. `move` lets it do a little; between moves it stands still, and may be killed.

    `plan` holds the faults that its next calls of the store meet, by operation.
    """

    def __init__(self, name: str, machine: Machine, settings: Settings) -> None:
        self.name = name
        self.alive = True
        self.plan: dict[str, list[Fault]] = {}
        self._machine, self.settings = machine, settings
        self.loop = VirtualLoop(machine.clock, self._defect)  # type: ignore[abstract]  # as much as is needed
        self.calls: list[Call] = []
        self.consumer = SimConsumer(machine.topic, self.loop, machine.clock, batches_a_fetch=machine.batches_a_fetch)
        self.partitions = Partitions(self._new_processor, REVOKE_LIMIT_S)
        self.consumer.offer = self.partitions.offer
        self.loop.call_soon(self._watch_topic)
        self._rebalances: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    # What befalls it

    def assign(self, tps: set[TP]) -> None:
        """A rebalance: everything is revoked, these are assigned."""
        self.loop.call_soon(self._queue, lambda: self._rebalance(tps))

    def stop(self) -> None:
        """SIGTERM: commit what is pending, then end. It waits for no rebalance, and none waits for it."""
        self.loop.call_soon(self._begin_to_end)

    def kill(self) -> None:
        """kill -9."""
        self.alive = False
        self.loop.kill()
        for call in self.calls:
            self._machine.hub.kill(call)
        self.calls.clear()

    # Moving

    def move(self, turn: int = 0) -> bool:
        """Run a round of the loop, or one call to where it stops next; `turn` chooses. False if there is nothing to do
        now."""
        calls = self._runnable()
        if calls and (turn % 2 or not self.loop.ready):
            self._resume(calls[turn // 2 % len(calls)])
            return True
        return self.loop.run_ready()

    def next_moment(self) -> float | None:
        """When there will be something to do, if nobody does anything to it."""
        moments = [call.wake_at for call in self.calls]
        timer = self.loop.next_timer()
        return min([*moments, *([] if timer is None else [timer])], default=None)

    @property
    def standing(self) -> list[str]:
        """Where its blocking calls stand."""
        return [call.at for call in self.calls]

    def _runnable(self) -> list[Call]:
        return [call for call in self.calls if call.wake_at <= self._machine.clock.now]

    def _resume(self, call: Call) -> None:
        self._machine.hub.resume(call)
        if call.ended and call in self.calls:
            self.calls.remove(call)

    def submit(self, work: Callable[[], Any], *, stops: bool) -> asyncio.Future[Any]:
        """Begin a blocking call."""
        future = self.loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            self.loop.call_soon(_settle, future, result, error)

        self.calls.append(Call(work, done, stops=stops))
        return future

    # Its parts

    def _new_processor(self, number: int) -> Processor:
        machine = self._machine
        ledger = PartitionLedger(
            machine.store,
            machine.topic.name,
            number,
            self.settings,
            self._topic_id,
            observer=_Points(machine.hub),
            core=machine.new_core,
            native=lambda: TOY_NATIVE,
            new_event=lambda: VirtualEvent(machine.hub),
            now_ms=machine.clock.wall_ms,
        )
        return Processor(
            ledger,
            self.consumer,
            machine.limits,
            _SimThreads(self),
            observer=_Counting(machine.count),
            clock=machine.clock.monotonic,
        )

    def _topic_id(self) -> str:
        self._machine.hub.point("topic_id")
        if self._machine.topic.away:
            raise KafkaUnavailableError("the broker does not answer")
        return self._machine.topic.topic_id

    def _watch_topic(self) -> None:
        """What a worker's process does beside its partitions."""
        self.loop.call_later(self._machine.limits.recheck_interval_s, self._watch_topic)
        if not self._machine.topic.away:
            self.partitions.look_again("the topic was made again", unless=self._machine.topic.topic_id)

    def _defect(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self._machine.on_defect(f"{self.name}: {context.get('message')}: {error!r}")

    def _queue(self, work: Callable[[], Any]) -> None:
        before = self._rebalances

        async def after() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work()

        self._rebalances = self.loop.create_task(after())
        self._rebalances.add_done_callback(self._raised)

    def _begin_to_end(self) -> None:
        self._ending = self.loop.create_task(self._end())
        self._ending.add_done_callback(self._raised)

    def _raised(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._machine.on_defect(f"{self.name} died of {error!r}")

    async def _rebalance(self, tps: set[TP]) -> None:
        revoked = self.consumer.assigned
        self.consumer.assign(revoked)  # held from here on
        await self.partitions.on_revoked(revoked)
        self.consumer.assign(tps)
        await self.partitions.on_assigned(tps)

    async def _end(self) -> None:
        await self.partitions.stop(3 * REVOKE_LIMIT_S)  # longer than a rebalance waits, as by default
        self.kill()


class _SimThreads(Threads):
    """Calls as `Call`s of the process."""

    def __init__(self, worker: SimWorker) -> None:
        self._worker = worker
        self.sealing = asyncio.Lock()

    async def core(self, call: Callable[..., T], *args: Any) -> T:
        return cast("T", await self._worker.submit(lambda: call(*args), stops=False))

    async def store(self, call: Callable[..., T], *args: Any) -> T:
        return cast("T", await self._worker.submit(lambda: call(*args), stops=True))

    def close(self) -> None:
        """Nothing to close."""


class _Counting(Observer):
    """What workers did, for the table."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count

    def restarted(self, reason: str) -> None:
        self._count(f"worker read the state again: {reason}")

    def looked_up(self, asked: int, known: int, seconds: float) -> None:
        self._count("old ids looked up, known" if known else "old ids looked up, unknown")

    def sealed(self, ids: int, seconds: float) -> None:
        self._count("chunk sealed")

    def seal_failed(self, error: JobError) -> None:
        self._count("chunk not sealed yet")


class _Points(CommitObserver):
    """The commit's named points are points of the schedule."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def at(self, point: HookPoint, label: str) -> None:
        self._hub.point(point, label)


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
