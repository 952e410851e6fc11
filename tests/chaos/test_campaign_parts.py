"""What a campaign is made of, without engines: plans, stories, the state that a resumed campaign goes on from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fleetmeter_chaos.broker_clock import DAY_S, BrokerClock
from fleetmeter_chaos.campaign import StateFile, Tally
from fleetmeter_chaos.faults import FAULTS, FAULTS_BY_PLACE
from fleetmeter_chaos.fleet import KINDS
from fleetmeter_chaos.plan import draw_plan
from fleetmeter_chaos.proxy import Rule
from fleetmeter_chaos.schedule import Outcome
from fleetmeter_chaos.story import Story, told
from fleetmeter_chaos.strikes import BLOWS, COMMIT_POINTS, SEAL_POINTS, Strike, Striker, killed
from fleetmeter_chaos.timeline import Timeline
from fleetmeter_doubles.tampered_parts import RENAMES, TamperedParts, TamperingError


def test_a_schedule_follows_from_its_seed() -> None:
    assert draw_plan(7) == draw_plan(7)
    assert draw_plan(7) != replace(draw_plan(8), seed=7)


def test_every_fault_is_drawn_sooner_or_later() -> None:
    plans = [draw_plan(seed) for seed in range(3000)]
    assert {step.fault for plan in plans for step in plan.steps} == {name for some in FAULTS_BY_PLACE for name in some}
    drawn = {FAULTS[step.fault].inject for plan in plans for step in plan.steps}
    assert drawn == {fault.inject for some in FAULTS_BY_PLACE for fault in some.values()}, "two have one name"
    strikes = {(one.point, one.blow) for plan in plans for worker in plan.strikes for one in worker}
    assert strikes == {(point, blow) for point in (*COMMIT_POINTS, *SEAL_POINTS) for blow in BLOWS}
    assert {kind for plan in plans for kind in plan.producers} == set(KINDS)
    assert {plan.workers for plan in plans} == {plan.partitions for plan in plans} == {1, 2, 3, 4}
    assert {plan.recreate for plan in plans} == {plan.named_workers for plan in plans} == {True, False}


def test_each_mutation_fits_the_code() -> None:
    """Where it does not, no worker starts, and every schedule fails."""
    apply = "from fleetmeter_chaos.mutations import MUTATIONS\nfor one in MUTATIONS.values(): one.apply()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    applied = subprocess.run(
        [sys.executable, "-c", apply], env=environment, capture_output=True, text=True, check=False
    )
    assert applied.returncode == 0, applied.stderr


def test_an_insert_never_hangs_behind_its_guard_where_few_tokens_are_kept() -> None:
    """That is the one thing that the promise needs: a token is remembered for longer than its insert takes."""
    few = [draw_plan(seed) for seed in range(500) if draw_plan(seed).window]
    assert few
    assert not [plan.seed for plan in few if "insert hangs" in {step.fault for step in plan.steps}]


def test_a_resumed_campaign_knows_what_was_done(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.jsonl")
    assert state.load() == []
    good = Outcome(7, [], {"worker killed": 2}, 1.5, 300, 3, {"faults": 1.0}, {"attempt raised": 1})
    bad = Outcome(8, ["lost an event"], {"worker killed": 1, "answer lost": 1}, 1.5, 300, 3)
    state.add(good)
    state.add(bad)
    with state.path.open("a", encoding="utf-8") as file:
        file.write('{"seed": 9, "prob')  # killed while it wrote
    assert state.load() == [good, bad]
    nine = Outcome(9, [], {}, 1.5, 300, 3)
    state.add(nine)
    assert state.load() == [good, bad, nine]
    state.path.write_text("".join(state.path.read_text("utf-8").splitlines(keepends=True)[:2]), "utf-8")
    tally = Tally(state.load())
    assert [one.seed for one in tally.failed] == [8]
    assert tally.injected() == {"worker killed": 3, "answer lost": 1}
    assert tally.survived() == {"worker killed": 2}
    assert tally.schedules_with() == {"worker killed": 2, "answer lost": 1}
    assert (tally.effects(), tally.schedules_with_effect()) == ({"attempt raised": 1}, {"attempt raised": 1})


def test_a_story_tells_in_order_and_counts(tmp_path: Path) -> None:
    story = Story(tmp_path / "story.jsonl")
    story.tell("worker-0", "is killed", "worker killed")
    story.tell("worker-1", "raises the attempt", effect="attempt raised")
    story.tell("worker-1", "is killed", "worker killed")
    assert story.faults() == {"worker killed": 2}
    assert story.effects() == {"attempt raised": 1}
    assert [line.split(" s ")[1].split()[0] for line in told(story.entries())] == ["worker-0", "worker-1", "worker-1"]


def test_what_is_later_comes_in_time_and_at_healing_at_once() -> None:
    timeline, came = Timeline(), list[str]()
    timeline.later(3600, lambda: came.append("in an hour"))
    timeline.later(0, lambda: came.append("now"))
    timeline.run_due()
    assert came == ["now"]
    assert 3590 < timeline.next_in_s() <= 3600
    timeline.later(7200, lambda: timeline.later(1, lambda: came.append("brought about")))
    timeline.run_all()
    assert came == ["now", "in an hour", "brought about"]
    assert timeline.next_in_s() == float("inf")


def test_a_rule_takes_the_requests_that_it_is_for() -> None:
    rule = Rule("slow", frozenset({"commit"}), "slow", times=2, skip=1, worker="worker-1")
    asked = [("worker-0", "commit"), ("worker-1", "read")] + [("worker-1", "commit")] * 4
    assert [rule.takes(worker, kind) for worker, kind in asked] == [False, False, False, True, True, False]  # type: ignore[arg-type]
    assert rule.done.is_set()


def test_an_engine_that_is_dead_already_is_not_struck(tmp_path: Path) -> None:
    story, pid_file = Story(tmp_path / "story.jsonl"), tmp_path / "pid"
    striker = Striker(
        [Strike("before_ack", count, "kill_broker") for count in (2, 3)], story, "w", {"kill_broker": pid_file}
    )
    with subprocess.Popen(["sleep", "60"]) as victim:
        pid_file.write_text(str(victim.pid), encoding="ascii")
        striker.at("before_ack", "p@0")
        assert victim.poll() is None
        striker.at("before_ack", "p@1")
        assert victim.wait(10) == -9
    striker.at("before_ack", "p@2")
    assert story.faults() == {"broker killed before ack": 1}
    assert not killed(pid_file)


@pytest.mark.parametrize("at_the_rename", [True, False])
def test_a_death_is_a_ghost_only_at_the_rename(tmp_path: Path, at_the_rename: bool) -> None:
    part = tmp_path / "tmp_insert_0_1_1_0"
    part.mkdir()
    rename = f"import os, sys; sys.stdin.read(1); os.rename({str(part)!r}, {str(tmp_path / '0_1_1_0')!r})"
    with subprocess.Popen([sys.executable, "-c", rename], stdin=subprocess.PIPE) as victim:
        try:
            parts = TamperedParts(
                tmp_path, victim.pid, RENAMES, "signal=SIGKILL:error=EIO", tmp_path / "strace", [0], [1]
            )
        except TamperingError as error:
            victim.kill()
            pytest.skip(str(error))
        if at_the_rename:
            assert victim.stdin is not None
            victim.stdin.write(b"x")
            victim.stdin.close()
        else:
            victim.kill()
        assert victim.wait(20) == -9
        parts.stop()
    assert parts.hits == at_the_rename
    assert part.exists()


def test_the_brokers_clock_moves_for_threads_that_append_and_for_no_others(tmp_path: Path) -> None:
    clock = BrokerClock(tmp_path)
    if clock.missing:
        pytest.skip(clock.missing)
    clock.set(30 * DAY_S)
    ask = "import ctypes, time; ctypes.CDLL(None).prctl(15, {name!r}); print(time.time())"

    def seen_by(name: bytes) -> float:
        command = [sys.executable, "-c", ask.format(name=name)]
        return float(subprocess.run(command, env=clock.environment(), capture_output=True, check=True).stdout)

    assert seen_by(b"data-plane-kafka-request-handler-0") - time.time() == pytest.approx(30 * DAY_S, abs=60)
    assert seen_by(b"kafka-1-raft-io-thread") - time.time() == pytest.approx(0, abs=60)
