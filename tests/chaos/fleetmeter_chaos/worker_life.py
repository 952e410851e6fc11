"""What a worker process of the campaign is: the product's own `run_worker`, observed, struck, with a clock that jumps.

Nothing of the product knows of faults. The process patches three names before it runs: the class that binds a
partition to the ledger gets an observer around its own, the wall clock gets a shift, and the canary's proof of the
store is left out for most workers (it takes a second, and one worker of each schedule's ClickHouse did it).
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings

from fleetmeter_chaos.mutations import MUTATIONS, replace_name
from fleetmeter_chaos.story import Story
from fleetmeter_chaos.strikes import Strike, Striker, StrikingObserver

worker_module = import_module("fleetmeter_jobs.worker")


@dataclass(frozen=True, slots=True)
class WorkerLife:
    """All that a worker process is told. `clock_shifts_s`: the first holds from the start, each SIGUSR1 brings on the
    next (seconds that the wall clock is ahead)."""

    name: str
    ready_file: str
    story: str
    clickhouse_pid: int
    strikes: tuple[Strike, ...] = ()
    clock_shifts_s: tuple[float, ...] = ()
    prove_store: bool = False
    mutation: str = ""
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: dict[str, Any]) -> WorkerLife:
        """From JSON."""
        strikes = tuple(Strike(**strike) for strike in document["strikes"])
        return cls(**{**document, "strikes": strikes, "clock_shifts_s": tuple(document["clock_shifts_s"])})


def live(life: WorkerLife) -> int:
    """Run the worker; its exit code. Changes this process for good: call it in a process of its own."""
    for name in [name for name in os.environ if name.startswith("FLEETMETER_")]:
        del os.environ[name]
    os.environ |= {f"FLEETMETER_{name.upper()}": value for name, value in life.settings.items()}
    story = Story(Path(life.story))
    striker = Striker(life.strikes, story, life.name, life.clickhouse_pid)
    _observe(lambda inner: StrikingObserver(striker, story, life.name, inner))
    _shift_clock(life.clock_shifts_s or (0.0,))
    if not life.prove_store:
        replace_name(worker_module, "prove_store", lambda _scratch: None)
    if life.mutation:
        MUTATIONS[life.mutation].apply()
    code: int = worker_module.run_worker(Settings.load(), ready_file=Path(life.ready_file))
    return code


def _observe(around: Callable[[Any], StrikingObserver]) -> None:
    signature = inspect.signature(PartitionLedger)

    def observed(*args: Any, **kwargs: Any) -> PartitionLedger:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["observer"] = around(bound.arguments["observer"])
        return PartitionLedger(*bound.args, **bound.kwargs)

    replace_name(worker_module, "PartitionLedger", observed)


def _shift_clock(shifts_s: tuple[float, ...]) -> None:
    real, real_ns, turn = time.time, time.time_ns, [0]

    def shift_s() -> float:
        return shifts_s[min(turn[0], len(shifts_s) - 1)]

    def jump(_number: int, _frame: object) -> None:
        turn[0] += 1

    replace_name(time, "time", lambda: real() + shift_s())
    replace_name(time, "time_ns", lambda: real_ns() + int(shift_s() * 1e9))
    signal.signal(signal.SIGUSR1, jump)


def end(code: int) -> None:
    """Leave a forked process without running what its parent had registered."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
