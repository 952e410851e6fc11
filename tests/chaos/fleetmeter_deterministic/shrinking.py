"""Fewer steps, fewer workers, shorter waits: the least story that still breaks the promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from fleetmeter_deterministic.world import Schedule

Fails = Callable[[Schedule], bool]

_SIMPLER: dict[str, tuple[Any, ...]] = {
    "workers": (1, 2, 3),
    "partitions": (1, 2),
    "overlap": (True,),
    "window": (100, 8, 5),
    "flush_events": (100, 1),
    "batches_a_fetch": (1,),
    "before_month_end_s": (30.0,),
    "chunk_ids": (1000, 1, 2),
    "other_chunk_ids": (None,),
    "filter_bytes": (1000,),
    "arrow": (False,),
    "batches": (0, 1, 2, 3),
    "size": (0, 1, 2),
    "bad": (0, 1),
    "turn": (0,),
    "until": (None,),
    "moves": (400,),
    "seconds": (0.0, 1.0, 2.0),
}
"""Values that make a story simpler, simplest first."""


def shrink(schedule: Schedule, fails: Fails, tries: int = 400) -> Schedule:
    """The least schedule found that still fails, with at most so many tries. `fails` must be repeatable."""
    left = tries
    smaller = True
    while smaller and left > 0:
        smaller = False
        for candidate in _smaller(schedule):
            left -= 1
            if left < 0:
                break
            if fails(candidate):
                schedule, smaller = candidate, True
                break
    return schedule


def _smaller(schedule: Schedule) -> Iterator[Schedule]:
    steps = schedule.steps
    size = len(steps) // 2
    while size:
        for start in range(0, len(steps), size):
            yield replace(schedule, steps=steps[:start] + steps[start + size :])
        size //= 2
    for setup in _simpler(schedule.setup):
        yield replace(schedule, setup=setup)
    for index, step in enumerate(steps):
        for simple in _simpler(step):
            yield replace(schedule, steps=(*steps[:index], simple, *steps[index + 1 :]))


def _simpler(thing: Any) -> Iterator[Any]:
    for each in fields(thing):
        now = getattr(thing, each.name)
        if isinstance(now, tuple) and len(now) > 1:
            for index in range(len(now)):
                yield replace(thing, **{each.name: now[:index] + now[index + 1 :]})
        for value in _SIMPLER.get(each.name, ()):
            if value == now:
                break
            if not isinstance(now, tuple):
                yield replace(thing, **{each.name: value})
