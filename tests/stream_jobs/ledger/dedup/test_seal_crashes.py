"""Seals that die anywhere, meet rivals anywhere, or run while others restore: nothing is forgotten, nothing else is
touched."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, get_args

import pytest
from fleetmeter_doubles import Crashed, Fault, MemoryLedger, Turn
from fleetmeter_doubles.dedup_world import DAY, DedupWorld
from fleetmeter_jobs.ledger.context import CommitObserver, HookPoint
from fleetmeter_jobs.ledger.dedup.restore import Restored
from fleetmeter_jobs.ledger.errors import DedupMovedError, StoreUnavailableError

POINTS = [point for point in get_args(HookPoint) if point in {"before_ids", "before_manifests"} or "blobs" in point]
OPERATIONS = ("manifests", "content", "blobs", "side_rows", "ids_sum", "delete")


class Struck(Exception):
    """The worker's process has died."""


class Striker(CommitObserver):
    """Dies at a named point, once."""

    def __init__(self, point: str) -> None:
        self.point: str | None = point

    def at(self, point: HookPoint, label: str) -> None:
        if point == self.point:
            self.point = None
            raise Struck


@pytest.mark.parametrize("point", POINTS)
def test_a_seal_that_dies_is_made_again(world: DedupWorld, point: str) -> None:
    world.fill(range(DAY, DAY + 3))
    before, tallies = world.position, world.store.tallies()
    chunk = world.closed()[0]
    world.observer = Striker(point)
    with pytest.raises(Struck):
        world.keep(chunk)
    world.assert_remembered(world.restore(), DAY + 3)
    world.fill([DAY + 3])
    world.seal_all()
    world.assert_remembered(world.restore(), DAY + 30)
    assert world.restore().identities == 72
    assert world.position.totals.accepted == before.totals.accepted + 18
    assert world.store.tallies()[0].usage_events == tallies[0].usage_events + 18


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("fault", [Fault.BEFORE, Fault.ANSWER_LOST, Fault.GHOST])
@pytest.mark.parametrize("strike", range(4))
def test_a_store_that_fails_anywhere_loses_nothing(
    toy_world: DedupWorld, memory: MemoryLedger, operation: str, fault: Fault, strike: int
) -> None:
    toy_world.fill(range(DAY, DAY + 4))
    left = [strike]

    def fail(asked: str, _label: str) -> Fault | None:
        if asked != operation or not left:
            return None
        left[0] -= 1
        return fault if not left[0] + 1 and left.pop() else None

    for chunk in toy_world.closed():
        for _ in range(3):
            memory.fault = fail
            try:
                toy_world.keep(chunk)
                break
            except StoreUnavailableError:
                memory.fault = lambda _operation, _label: None
                toy_world.assert_remembered(toy_world.restore(), DAY + 4)
        memory.fault = lambda _operation, _label: None
    assert not left, "the fault never struck"
    toy_world.assert_remembered(toy_world.restore(), DAY + 30)
    assert list(memory.blobs(toy_world.partition, 2**62)) == []


class Pausing(CommitObserver):
    """Hands the turn back at each point of a seal."""

    def at(self, point: HookPoint, label: str) -> None:
        Turn.pause(point)


@pytest.mark.parametrize("seed", range(30))
def test_rivals_that_seal_restore_and_die_in_any_order(seed: int) -> None:
    """Some cut otherwise; some restore while blobs are being deleted. Every step of every one is a turn."""
    rng, memory = random.Random(seed), MemoryLedger()
    world = DedupWorld(memory, observer=Pausing())
    world.fill(range(DAY, DAY + 5))
    memory.fault = _paused
    rivals = [world, world, replace(world, rule=replace(world.rule, ids=rng.choice([4, 10, 20])))]
    turns = [Turn(lambda rival=rival: _live(rival)) for rival in rivals]
    turns += [Turn(world.restore) for _ in range(2)]
    going = list(turns)
    while going:
        turn = rng.choice(going)
        if rng.random() < 0.01:
            turn.crash()
        else:
            turn.step()
        if turn.done:
            going.remove(turn)
    memory.fault = lambda _operation, _label: None
    world.observer = CommitObserver()
    for turn in turns:
        if isinstance(turn.result, Restored):
            world.assert_remembered(turn.result, DAY + 5)
    restored = world.restore()
    assert restored.identities == 90
    world.assert_remembered(restored, DAY + 5)
    world.seal_all()
    world.assert_remembered(world.restore(), DAY + 30)


def _paused(operation: str, _label: str) -> None:
    Turn.pause(operation)


def _live(world: DedupWorld) -> Any:
    """A worker that seals what it finds; overtaken, it reads its state again."""
    for _ in range(10):
        try:
            chunks = world.closed()
            for chunk in chunks:
                world.keep(chunk, before_day=0)
        except DedupMovedError:
            continue
        else:
            return len(chunks)
    raise AssertionError("overtaken again and again, by rivals that had long ended")


def test_crashes_are_not_errors() -> None:
    """What `Turn.crash` raises must not be caught on its way."""
    assert not issubclass(Crashed, Exception)
