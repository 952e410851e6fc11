"""A topic grows on real Kafka while events flow, sources move, old events come again in other partitions, and what can
be killed is killed: each event is counted once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions
from fleetmeter_doubles.commands import run_command
from fleetmeter_doubles.moving_load import REFRESH_S, MovingLoad, copies_elsewhere
from fleetmeter_doubles.worker_processes import DEADLINE_S, Pipeline, WorkerProcess, eventually, new_pipeline
from fleetmeter_local import RunningClickHouse, RunningKafka

pytestmark = [pytest.mark.long, pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(420)]

SETTLE_S = int(REFRESH_S) + 4
"""What a busy machine may keep a producer from asking for, beyond its interval: then old events would count again."""
COMMAND = ("-m", "fleetmeter_jobs.cli")
_DIES = """
import os, signal
from fleetmeter_jobs.cli import main
from fleetmeter_jobs.ledger.growth import Growth
Growth.settles_at_ms = property(lambda _growth: os.kill(os.getpid(), signal.SIGKILL))
main()
"""
DYING = ("-c", _DIES)
"""The command as well, but killed when it asks how long producers need, which it does once the partitions are there."""


@pytest.fixture
def pipeline(kafka: RunningKafka, clickhouse: RunningClickHouse, tmp_path: Path) -> Iterator[Pipeline]:
    with ExitStack() as stack:
        made = new_pipeline(kafka, clickhouse, tmp_path, partitions=2)
        stack.callback(made.end)
        yield made


def start_worker(pipeline: Pipeline, name: str) -> WorkerProcess:
    return pipeline.start_worker(recheck_interval_s=0.2, flush_interval_s=0.5, group_instance=name)


def settings_of(pipeline: Pipeline) -> dict[str, str]:
    return {
        "kafka_bootstrap": pipeline.kafka.bootstrap,
        "topic": pipeline.topic,
        "clickhouse_url": pipeline.clickhouse.url,
        "clickhouse_user": pipeline.clickhouse.user,
        "clickhouse_password": pipeline.clickhouse.password,
        "clickhouse_database": pipeline.database,
    }


def command(pipeline: Pipeline, *arguments: str, program: tuple[str, ...] = COMMAND) -> subprocess.Popen[bytes]:
    """In a process of its own, beside which others may be killed, or itself."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLEETMETER_")}
    environment |= {f"FLEETMETER_{name.upper()}": value for name, value in settings_of(pipeline).items()}
    arguments = (*program, *arguments, "--json")
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pipeline.commands.append(process)
    return process


def run(pipeline: Pipeline, *arguments: str) -> dict[str, Any]:
    ended = run_command(*arguments, "--json", folder=pipeline.folder, **settings_of(pipeline))
    assert ended.code == 0, ended
    return dict(ended.json)


def grow(*more: str, partitions: int = 4) -> tuple[str, ...]:
    return "topic", "grow", "--partitions", str(partitions), "--settle-s", str(SETTLE_S), *more


def steps(pipeline: Pipeline, step: str) -> int:
    return int(pipeline.rows(f"SELECT count() FROM partition_growth FINAL WHERE step = '{step}'")[0][0])


def add_partitions(pipeline: Pipeline, total: int) -> None:
    """With Kafka's own tools."""
    admin = AdminClient({"bootstrap.servers": pipeline.kafka.bootstrap})
    admin.create_partitions([NewPartitions(pipeline.topic, total)])[pipeline.topic].result(30)


def waits(worker: WorkerProcess) -> bool:
    states = {one["state"] for one in worker.health()["partitions"].values()}
    return states == {"waiting"}


def test_a_topic_grows_while_events_flow_and_things_die(pipeline: Pipeline) -> None:
    workers = [start_worker(pipeline, name) for name in "ab"]
    eventually(lambda: all(worker.ready(1) for worker in workers), "they share")
    with MovingLoad(pipeline) as load:
        eventually(lambda: pipeline.requests() > 100, "events flow")

        plan = run(pipeline, *grow())
        assert (plan["done"], plan["old_partitions"], plan["fenced"]) == (False, 2, [])
        assert steps(pipeline, "planned") == 0

        first = command(pipeline, *grow("--yes"), program=DYING)
        assert first.wait(DEADLINE_S) == -signal.SIGKILL, first.communicate()
        assert steps(pipeline, "grown") == 1, "it was killed before the partitions were there"
        eventually(lambda: all(map(waits, workers)), "nobody counts while producers learn of the partitions")
        assert workers[0].end(signal.SIGKILL) == -signal.SIGKILL
        workers[0] = start_worker(pipeline, "a")

        second = command(pipeline, *grow("--yes"))
        eventually(lambda: steps(pipeline, "grow_settled") == 1 or second.poll() is not None, "producers have settled")
        assert workers[1].end(signal.SIGKILL) == -signal.SIGKILL
        workers[1] = start_worker(pipeline, "b")
        out, err = second.communicate(timeout=120)
        assert second.returncode == 0, (out, err)
        done = json.loads(out)
        assert (done["over"], done["partitions_done"]) == (True, [0, 1, 2, 3])
        assert len(done["section_ends"]) == 4

        counted = pipeline.requests()
        eventually(lambda: pipeline.requests() > counted + 50, "all go on")
        eventually(lambda: all(worker.ready(2) for worker in workers), "four partitions are counted")
    again = load.resend_all()
    eventually(lambda: _drained(pipeline), "all is read")
    assert again == len(pipeline.sent)
    assert copies_elsewhere(pipeline, 4) > 20, "sources did not move, so that nothing was tried"
    pipeline.check()
    assert run(pipeline, "reconcile")["ok"] is True
    assert run(pipeline, "audit")["ok"] is True
    scattered = run(pipeline, "audit", "sources")
    assert scattered["scattered"]
    assert scattered["events_counted_again"] == 0
    decisions = pipeline.rows("SELECT kind, any(who), any(reason) FROM position_changes GROUP BY kind, nonce")
    assert [kind for kind, _, _ in decisions].count("grow") == 2
    assert [kind for kind, _, _ in decisions].count("grow_done") == 4
    assert all(who and "2 to 4" in reason for _, who, reason in decisions)


def _drained(pipeline: Pipeline) -> bool:
    ends = pipeline.log_ends()
    at = dict(pipeline.rows("SELECT partition, max(next_offset) FROM ingest_positions GROUP BY partition"))
    return {int(number): int(offset) for number, offset in at.items()} == ends


def test_partitions_that_somebody_adds_by_hand_stop_counting_until_the_command_is_run(pipeline: Pipeline) -> None:
    worker = start_worker(pipeline, "a")
    eventually(lambda: worker.ready(2), "it counts")
    with MovingLoad(pipeline) as load:
        eventually(lambda: pipeline.requests() > 100, "events flow")
        add_partitions(pipeline, 4)
        eventually(lambda: len(worker.health()["partitions"]) == 4, "it has them")
        eventually(
            lambda: {one["state"] for one in worker.health()["partitions"].values()} == {"stopped"}, "it counts none"
        )
        (error,) = {one["error"] for one in worker.health()["partitions"].values()}
        assert f"topic grow -s topic={pipeline.topic} --partitions 4 --yes" in error
        assert run(pipeline, *grow("--yes"))["over"] is True
        eventually(lambda: worker.ready(4), "all four are counted")
    load.resend_all()
    eventually(lambda: _drained(pipeline), "all is read")
    assert copies_elsewhere(pipeline, 4) > 20, "sources did not move, so that nothing was tried"
    pipeline.check()


def test_partitions_that_somebody_adds_by_hand_during_a_growth_don_t_keep_it_from_its_end(pipeline: Pipeline) -> None:
    worker = start_worker(pipeline, "a")
    eventually(lambda: worker.ready(2), "it counts")
    with MovingLoad(pipeline) as load:
        eventually(lambda: pipeline.requests() > 100, "events flow")
        begun = command(pipeline, *grow("--yes", partitions=3), program=DYING)
        assert begun.wait(DEADLINE_S) == -signal.SIGKILL, begun.communicate()
        add_partitions(pipeline, 5)
        eventually(lambda: len(worker.health()["partitions"]) == 5, "it has them")
        assert run(pipeline, *grow("--yes", partitions=3))["over"] is True
        eventually(
            lambda: {one["state"] for one in worker.health()["partitions"].values()} == {"stopped"}, "it counts none"
        )
        assert run(pipeline, *grow("--yes", partitions=5))["over"] is True
        eventually(lambda: worker.ready(5), "all five are counted")
    load.resend_all()
    eventually(lambda: _drained(pipeline), "all is read")
    assert copies_elsewhere(pipeline, 5) > 20, "sources did not move, so that nothing was tried"
    pipeline.check()
    assert run(pipeline, "audit")["ok"] is True
