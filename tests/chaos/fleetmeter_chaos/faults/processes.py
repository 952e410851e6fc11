"""Processes that die, hang, join and leave at random moments."""

from __future__ import annotations

import signal
from typing import Final

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
    scene.story.tell("ClickHouse", "is killed", "ClickHouse killed")
    scene.engines.clickhouse.kill()


def _stop_broker(scene: Scene, seconds: float) -> None:
    scene.story.tell("Kafka", f"hangs for {seconds:.1f} s", "broker stopped")
    scene.engines.kafka.stop()
    scene.later(seconds, scene.engines.kafka.go_on)


def _kill_broker(scene: Scene) -> None:
    scene.story.tell("Kafka", "is killed", "broker killed")
    scene.engines.kafka.kill()


PROCESS_FAULTS: Final = {
    "kill worker": Fault(3, lambda rng: {"pick": rng.random()}, _kill_worker),
    "stop worker": Fault(2, lambda rng: {"pick": rng.random(), "seconds": rng.uniform(1.7, 2.6)}, _stop_worker),
    "join": Fault(1.5, lambda _: {}, _join),
    "leave": Fault(1.5, lambda rng: {"pick": rng.random()}, _leave),
    "kill ClickHouse": Fault(1.5, lambda _: {}, _kill_clickhouse),
    "stop broker": Fault(0.7, lambda rng: {"seconds": rng.uniform(0.3, 2.0)}, _stop_broker),
    "kill broker": Fault(0.25, lambda _: {}, _kill_broker),
}
