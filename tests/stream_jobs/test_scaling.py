"""Workers come, go and die while events flow: all is counted once, and how long partitions pause is printed (-s)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleetmeter_doubles.steady_load import PauseMeter, SteadyLoad
from fleetmeter_doubles.worker_processes import Pipeline, WorkerProcess, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(300)]

PARTITIONS = 4
EVENTS_PER_S = 200
NEVER_S = 600
"""A session that outlasts the test: whatever comes back before has not waited for its end."""


@pytest.fixture
def pipeline(kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[Pipeline]:
    with ExitStack() as stack:
        made = new_pipeline(kafka, clickhouse, tmp_path, PARTITIONS)
        stack.callback(made.end)
        yield made


def start_worker(pipeline: Pipeline, **settings: object) -> WorkerProcess:
    """Commits, which are what takes the time here, come seldom enough for a busy machine."""
    return pipeline.start_worker(flush_interval_s=0.5, **settings)


def partitions_of(worker: WorkerProcess) -> set[int]:
    """What the worker says that it has."""
    return {int(number) for number in worker.health()["partitions"]}


def share(workers: list[WorkerProcess]) -> Callable[[], bool]:
    """Whether the workers have all partitions, evenly, and count them."""
    return lambda: all(worker.ready(PARTITIONS // len(workers)) for worker in workers)


def told(what: str, pauses: dict[int, float]) -> None:
    """Print the pauses, longest of each partition."""
    seconds = ", ".join(f"{partition}: {pause:.1f} s" for partition, pause in pauses.items())
    print(f"\n{what}: longest pause by partition {seconds}")


@pytest.mark.long
def test_one_worker_four_two(pipeline: Pipeline) -> None:
    workers = [start_worker(pipeline, session_timeout_s=30)]
    eventually(share(workers), "one has all")
    with SteadyLoad(pipeline, PARTITIONS, EVENTS_PER_S), PauseMeter(pipeline) as meter:
        eventually(lambda: pipeline.requests() > EVENTS_PER_S, "events flow")
        told("one worker, steady", meter.take())
        workers += [start_worker(pipeline, session_timeout_s=30) for _ in range(3)]
        eventually(share(workers), "four share")
        kept = [partitions_of(worker) for worker in workers]
        eventually(meter.all_move, "all go on")
        told("one worker becomes four", up := meter.take())
        for worker in workers[2:]:
            assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
        eventually(share(workers[:2]), "two share")
        eventually(meter.all_move, "all go on")
        told("four workers become two", down := meter.take())
        for before, worker in zip(kept, workers[:2], strict=False):
            assert before < partitions_of(worker), "a partition moved though it could have stayed"
    eventually(pipeline.all_counted, "all is counted")
    for worker in workers[:2]:
        assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()
    assert set(up) == set(down) == set(range(PARTITIONS))
    assert max(*up.values(), *down.values()) < 30, "a partition waited for a session to end"


@pytest.mark.long
def test_a_killed_worker_that_is_started_again_gets_its_partitions_back_and_the_others_go_on(
    pipeline: Pipeline,
) -> None:
    """Also the worker that the group had elected to decide, which Kafka treats in a way of its own."""
    first, second = (start_worker(pipeline, session_timeout_s=NEVER_S, group_instance=name) for name in "ab")
    eventually(share([first, second]), "they share")
    with SteadyLoad(pipeline, PARTITIONS, EVENTS_PER_S), PauseMeter(pipeline) as meter:
        eventually(lambda: pipeline.requests() > EVENTS_PER_S, "events flow")
        for name in "ab":
            dying, staying = (first, second) if name == "a" else (second, first)
            had, stayed = partitions_of(dying), partitions_of(staying)
            assignments = staying.log.read_text().count("assigned partitions")
            meter.take()
            assert dying.end(signal.SIGKILL) == -signal.SIGKILL
            killed_at = time.monotonic()
            eventually(lambda: meter.move(stayed), "the others go on while one is dead")  # noqa: B023  (waited for here)
            again = start_worker(pipeline, session_timeout_s=NEVER_S, group_instance=name)
            eventually(lambda: again.ready(len(had)), "it counts again")  # noqa: B023  (waited for here)
            eventually(meter.all_move, "all go on")
            print(f"\nkilled, started again, counting after {time.monotonic() - killed_at:.1f} s")
            told(f"{name} killed, partitions {sorted(had)}", meter.take())
            assert (partitions_of(again), partitions_of(staying)) == (had, stayed)
            assert staying.log.read_text().count("assigned partitions") == assignments, "the group had a rebalance"
            first, second = (again, staying) if name == "a" else (staying, again)
    eventually(pipeline.all_counted, "all is counted")
    for worker in (first, second):
        assert worker.end(signal.SIGTERM) == 0, worker.log.read_text()
    pipeline.check()


def test_a_named_worker_that_is_told_to_stop_leaves_at_once(pipeline: Pipeline) -> None:
    first, second = (start_worker(pipeline, session_timeout_s=NEVER_S, group_instance=name) for name in "ab")
    eventually(share([first, second]), "they share")
    assert first.end(signal.SIGTERM) == 0, first.log.read_text()
    eventually(share([second]), "the other has all, long before the session's end")
    pipeline.send(100, partitions=PARTITIONS)
    eventually(pipeline.all_counted, "all is counted")
    pipeline.check()


@pytest.mark.long
def test_a_worker_that_is_gone_for_good_is_replaced_after_its_session(pipeline: Pipeline) -> None:
    gone, left = (start_worker(pipeline, session_timeout_s=6, group_instance=name) for name in "ab")
    eventually(share([gone, left]), "they share")
    with SteadyLoad(pipeline, PARTITIONS, EVENTS_PER_S), PauseMeter(pipeline) as meter:
        eventually(lambda: pipeline.requests() > EVENTS_PER_S, "events flow")
        meter.take()
        assert gone.end(signal.SIGKILL) == -signal.SIGKILL
        eventually(share([left]), "the other has all")
        eventually(meter.all_move, "all go on")
        told("one of two is gone for good (session 6 s)", meter.take())
    eventually(pipeline.all_counted, "all is counted")
    assert left.end(signal.SIGTERM) == 0, left.log.read_text()
    pipeline.check()
