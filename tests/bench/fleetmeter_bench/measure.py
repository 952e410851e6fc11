"""Timing on one core: the median of several runs, bounded in time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Speed:
    """Events a second: the median of the runs, and how far they lay apart."""

    median: float
    lowest: float
    highest: float
    runs: int
    events: int


def speed(
    prepare: Callable[[], Callable[[], int]],
    *,
    most_runs: int = 7,
    seconds: float = 4.0,
    clock: Clock = time.thread_time,
    wall_clock: Clock = time.monotonic,
) -> Speed:
    """Time what `prepare` returns (it returns how many events it handled), until `seconds` are over, but at least once.

    `prepare` is not timed, and is called anew for each run. Time is the thread's own processor time: that of one core,
    whatever else the machine is doing.
    """
    rates: list[float] = []
    events = 0
    deadline = wall_clock() + seconds
    while len(rates) < most_runs and (not rates or wall_clock() < deadline):
        run = prepare()
        began = clock()
        events = run()
        rates.append(events / (clock() - began))
    return Speed(statistics.median(rates), min(rates), max(rates), len(rates), events)
