"""Processes that die, hang, join and leave at random moments."""

from __future__ import annotations

import signal
from typing import Final

from fleetmeter_chaos.broker_clock import DAY_S
from fleetmeter_chaos.faults.fault import Fault, Scene
from fleetmeter_chaos.workers import Worker


def _one(scene: Scene, pick: float) -> Worker | None:
    running = scene.running()
    return running[int(pick * len(running))] if running else None


def _kill_worker(scene: Scene, pick: float) -> None:
    if (worker := _one(scene, pick)) is not None:
        scene.story.tell(worker.name, "is killed", "worker killed")
        scene.signal(worker, signal.SIGKILL)


def _stop_worker(scene: Scene, pick: float, seconds: float) -> None:
    """A zombie in the making: it goes on as if nothing had been, long after Kafka has given its partitions away."""
    if (worker := _one(scene, pick)) is not None:
        scene.story.tell(worker.name, f"is stopped for {seconds:.1f} s", "worker stopped")
        worker.asleep_s = seconds
        scene.signal(worker, signal.SIGSTOP)


def _join(scene: Scene) -> None:
    scene.story.tell("campaign", "one more worker", "worker joined")
    scene.start_worker()


def _leave(scene: Scene, pick: float) -> None:
    if (worker := _one(scene, pick)) is not None:
        scene.story.tell(worker.name, "is told to leave", "worker left")
        worker.leaving = True
        scene.signal(worker, signal.SIGTERM)


def _kill_clickhouse(scene: Scene) -> None:
    if scene.engines.clickhouse.kill():
        scene.story.tell("ClickHouse", "is killed", "ClickHouse killed")


def _stop_broker(scene: Scene, seconds: float) -> None:
    if scene.engines.kafka.stop():
        scene.story.tell("Kafka", f"hangs for {seconds:.1f} s", "broker stopped")
        scene.later(seconds, scene.engines.kafka.go_on)


def _kill_broker(scene: Scene) -> None:
    if scene.engines.kafka.kill():
        scene.story.tell("Kafka", "is killed", "broker killed")


def _jump_worker_clock(scene: Scene, pick: float) -> None:
    if (worker := _one(scene, pick)) is not None:
        scene.signal(worker, signal.SIGUSR1)
        if jumped_s := worker.clock_jumps_s():
            scene.story.tell(worker.name, f"its clock jumps by {jumped_s:,.0f} s", "worker's clock jumped")


def _jump_broker_clock(scene: Scene, ahead_days: float) -> None:
    clock = scene.engines.clock
    if clock.missing:
        scene.story.tell("campaign", f"the broker's clock can't jump: {clock.missing}")
        return
    scene.story.tell("Kafka", f"its clock jumps: now {ahead_days:.1f} days ahead", "broker's clock jumped")
    clock.set(ahead_days * DAY_S)


def _stop_over_the_month(scene: Scene, pick: float, seconds: float) -> None:
    """The zombie's commit goes to one table partition, those that come meanwhile go on to the next."""
    if (worker := _one(scene, pick)) is None or scene.engines.clock.missing:
        return
    scene.story.tell(
        worker.name, f"is stopped for {seconds:.1f} s, over the end of a month", "stopped over a month's end"
    )
    worker.asleep_s = seconds
    scene.signal(worker, signal.SIGSTOP)
    scene.engines.clock.set(scene.engines.clock.to_next_month_s())


PROCESS_FAULTS: Final = {
    "kill worker": Fault(3, lambda rng: {"pick": rng.random()}, _kill_worker),
    "stop worker": Fault(2, lambda rng: {"pick": rng.random(), "seconds": rng.uniform(1.7, 2.6)}, _stop_worker),
    "join": Fault(1.5, lambda _: {}, _join),
    "leave": Fault(1.5, lambda rng: {"pick": rng.random()}, _leave),
    "kill ClickHouse": Fault(1.5, lambda _: {}, _kill_clickhouse),
    "stop broker": Fault(0.7, lambda rng: {"seconds": rng.uniform(0.3, 2.0)}, _stop_broker),
    "kill broker": Fault(0.25, lambda _: {}, _kill_broker),
    "worker's clock": Fault(1, lambda rng: {"pick": rng.random()}, _jump_worker_clock),
    "broker's clock": Fault(0.7, lambda rng: {"ahead_days": rng.choice((0, 0.1, 5, 12, 31))}, _jump_broker_clock),
    "zombie over a month's end": Fault(
        1, lambda rng: {"pick": rng.random(), "seconds": rng.uniform(1.7, 2.6)}, _stop_over_the_month
    ),
}
