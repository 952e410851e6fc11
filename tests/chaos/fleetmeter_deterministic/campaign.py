"""Many schedules, in as many processes as wanted; each failure comes with its seed and its least story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from multiprocessing import get_context
from typing import Any

from fleetmeter_jobs.errors import JobError

from fleetmeter_deterministic.drawing import draw
from fleetmeter_deterministic.mutations import Mutation
from fleetmeter_deterministic.shrinking import shrink
from fleetmeter_deterministic.world import Broken, Schedule, World, repeatable

_CHUNK = 25
"""Schedules that a process plays at a time."""


@dataclass(frozen=True)
class Played:
    """What came of one schedule."""

    broken: str | None
    story: tuple[str, ...]
    tally: Counter[str]
    commits: int


@dataclass(frozen=True)
class Failure:
    """A broken promise, with the least story that was found. `schedule` is written as Python."""

    seed: str
    broken: str
    schedule: str
    story: tuple[str, ...]


@dataclass
class Summary:
    """What a campaign has seen of its first schedules. `tally`: faults and events; `with_it`: in how many schedules."""

    schedules: int = 0
    commits: int = 0
    tally: Counter[str] = field(default_factory=Counter)
    with_it: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def add(self, other: Summary) -> None:
        """The next schedules."""
        self.schedules += other.schedules
        self.commits += other.commits
        self.tally += other.tally
        self.with_it += other.with_it
        self.failures += other.failures


def play(schedule: Schedule) -> Played:
    """Run one schedule from its beginning to its verdict."""
    with repeatable(schedule.setup):
        world = World(schedule.setup)
        broken = None
        try:
            world.play(schedule.steps)
        except Broken as error:
            broken = str(error)
        except (JobError, AssertionError) as error:
            broken = f"{type(error).__name__}: {error}"
        finally:
            world.end()
        commits = sum(row["commits"] for part in world.store.parts for row in part.markers)
        return Played(broken, tuple(world.story), world.tally, commits)


def drawn(seed: str, mutation: Mutation | None = None) -> Schedule:
    """The schedule of a seed; as it is played with a mutation, if there is one."""
    if mutation is None:
        return draw(seed)
    schedule = draw(seed, mutation.flavour)
    # Mutations that change rows can change them only as they are.
    return replace(schedule, setup=replace(schedule.setup, arrow=False))


def least(seed: str, mutation: Mutation | None = None) -> Failure:
    """The failure of a seed, shrunk. The mutation must be in force."""
    schedule = shrink(drawn(seed, mutation), lambda candidate: _breaks(candidate, mutation))
    played = play(schedule)
    broken = played.broken or "it passes when it is played again: something in the simulation is not repeatable"
    return Failure(seed, broken, as_python(schedule), played.story)


def seeds(seed: str, schedules: int, first: int = 0) -> list[str]:
    """The seeds of a campaign's schedules."""
    return [f"{seed}/{number}" for number in range(first, first + schedules)]


def run(seed: str, schedules: int, *, first: int = 0, jobs: int = 1) -> Generator[Summary]:
    """Play so many schedules, beginning with number `first`; gives what each few of them brought, in order."""
    todo = seeds(seed, schedules, first)
    chunks = [todo[start : start + _CHUNK] for start in range(0, len(todo), _CHUNK)]
    if jobs == 1:
        yield from map(_play_all, chunks)
        return
    # A process of its own for each job, from scratch: a fork would share the threads of this one by name only.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        results: list[Future[Summary]] = [pool.submit(_play_all, chunk) for chunk in chunks]
        try:
            for result in results:
                yield result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _play_all(todo: list[str]) -> Summary:
    summary = Summary()
    for seed in todo:
        played = play(drawn(seed))
        failures = [least(seed)] if played.broken is not None else []
        summary.add(Summary(1, played.commits, played.tally, Counter(set(played.tally)), failures))
    return summary


def caught(mutation: Mutation, seed: str, schedules: int) -> str | None:
    """The seed of the first schedule that fails for want of what a mutation takes out; None if it survives so many."""
    with mutation.patch():
        for each in seeds(seed, schedules):
            if _breaks(drawn(each, mutation), mutation):
                return each
    return None


def _breaks(schedule: Schedule, mutation: Mutation | None) -> bool:
    broken = play(schedule).broken
    return broken is not None if mutation is None else mutation.explains(broken)


def as_python(thing: Any) -> str:
    """A schedule, or a part of one, as an expression; fields that have their default are left out."""
    match thing:
        case Enum():
            return f"{type(thing).__name__}.{thing.name}"
        case Schedule():
            steps = "".join(f"        {as_python(step)},\n" for step in thing.steps)
            return f"Schedule(\n    {as_python(thing.setup)},\n    (\n{steps}    ),\n)"
        case tuple():
            return "(" + "".join(f"{as_python(each)}, " for each in thing).rstrip(" ") + ")"
        case _ if is_dataclass(thing):
            named = [(each.name, getattr(thing, each.name)) for each in fields(thing) if _told(thing, each)]
            return f"{type(thing).__name__}({', '.join(f'{name}={as_python(value)}' for name, value in named)})"
        case _:
            return repr(thing)


def _told(thing: Any, one: Any) -> bool:
    return bool(getattr(thing, one.name) != one.default)
