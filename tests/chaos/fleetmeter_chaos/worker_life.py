"""What a worker process of the campaign is: the product's own `run_worker`, observed, struck, with a clock that jumps.

Nothing of the product knows of faults. The process patches a few names before it runs: the class that binds a
partition to the ledger gets an observer around its own, the wall clock gets a shift, and the canary's proof of the
store is left out for most workers (it takes a second). The metrics' restarts are told to the story as well.
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
from typing import Any, Final

from fleetmeter_jobs.metrics import PartitionMetrics
from fleetmeter_jobs.partition_ledger import PartitionLedger
from fleetmeter_jobs.settings import Settings

from fleetmeter_chaos.mutations import MUTATIONS, replace_name
from fleetmeter_chaos.story import Story
from fleetmeter_chaos.strikes import Blow, Strike, Striker, StrikingObserver

worker_module = import_module("fleetmeter_jobs.worker")
partition_ledger_module = import_module("fleetmeter_jobs.partition_ledger")
_RESTARTS: Final = {
    "lost": "commit lost to a rival",
    "gap": "offsets read again",
    "doubt": "checks made again",
    "kafka": "held: Kafka away, or another log",
    "clickhouse": "held: ClickHouse away",
}
"""What a worker says of itself, by the reason for which it drops a partition's state."""


@dataclass(frozen=True, slots=True)
class WorkerLife:
    """All that a worker process is told. `clock_shifts_s`: the first holds from the start, each SIGUSR1 brings on the
    next (seconds that the wall clock is ahead)."""

    name: str
    ready_file: str
    story: str
    pid_files: dict[Blow, str]
    strikes: tuple[Strike, ...] = ()
    clock_shifts_s: tuple[float, ...] = ()
    prove_store: bool = False
    mutation: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    beyond_limits: dict[str, int] = field(default_factory=dict)
    """Settings that no operator may choose: so small that a schedule gets to what takes days elsewhere."""

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
    striker = Striker(life.strikes, story, life.name, {blow: Path(file) for blow, file in life.pid_files.items()})
    _observe(lambda inner: StrikingObserver(striker, story, life.name, inner))
    _tell_of_restarts(story, life.name)
    _tell_of_chunks(story, life.name)
    _shift_clock(life.clock_shifts_s or (0.0,))
    if not life.prove_store:
        replace_name(worker_module, "prove_store", lambda _scratch: None)
    if life.mutation:
        MUTATIONS[life.mutation].apply()
    settings = Settings.load().model_copy(update=life.beyond_limits)
    code: int = worker_module.run_worker(settings, ready_file=Path(life.ready_file))
    return code


def _observe(around: Callable[[Any], StrikingObserver]) -> None:
    signature = inspect.signature(PartitionLedger)

    def observed(*args: Any, **kwargs: Any) -> PartitionLedger:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["observer"] = around(bound.arguments["observer"])
        return PartitionLedger(*bound.args, **bound.kwargs)

    replace_name(worker_module, "PartitionLedger", observed)


def _tell_of_restarts(story: Story, name: str) -> None:
    def restarted(self: PartitionMetrics, reason: str) -> None:
        story.tell(name, f"drops what is in memory: {reason}", effect=_RESTARTS.get(reason, f"held ({reason})"))
        count(self, reason)

    count = replace_name(PartitionMetrics, "restarted", restarted)


def _tell_of_chunks(story: Story, name: str) -> None:
    def sealed(self: PartitionMetrics, ids: int, seconds: float) -> None:
        story.tell(name, f"sealed a chunk of {ids} foreign ids", effect="chunk of ids sealed")
        count_sealed(self, ids, seconds)

    def looked_up(self: PartitionMetrics, asked: int, known: int, seconds: float) -> None:
        story.tell(name, f"looked up {asked} ids, {known} of them known", effect="old ids looked up")
        count_looked_up(self, asked, known, seconds)

    def restored(*args: Any, **kwargs: Any) -> Any:
        found = restore(*args, **kwargs)
        if found.book.cold:
            story.tell(name, f"restored {len(found.book.cold)} sealed chunks", effect="restored from sealed chunks")
        return found

    count_sealed = replace_name(PartitionMetrics, "sealed", sealed)
    count_looked_up = replace_name(PartitionMetrics, "looked_up", looked_up)
    restore = replace_name(partition_ledger_module, "restore", restored)


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
