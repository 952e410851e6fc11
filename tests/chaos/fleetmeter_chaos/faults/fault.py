"""What a fault is, and what it may do to a schedule that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol

from fleetmeter_chaos.engines import Engines
from fleetmeter_chaos.proxy import Proxy
from fleetmeter_chaos.story import Story
from fleetmeter_chaos.workers import Worker


class Scene(Protocol):
    """A schedule that runs, as faults see it. Its methods may be called from any thread."""

    story: Story
    proxy: Proxy
    engines: Engines

    def running(self) -> list[Worker]:
        """The workers that run now, neither stopped nor ended nor told to leave."""
        ...

    def signal(self, worker: Worker, number: int) -> None:
        """Send a worker a signal."""
        ...

    def start_worker(self) -> None:
        """One more."""
        ...

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call it after so long, or when the schedule heals."""
        ...

    def aside(self, call: Callable[[], None]) -> None:
        """Call it now, in a thread of its own; healing waits for it."""
        ...

    def healing(self) -> bool:
        """Whether it is time to come to an end."""
        ...

    def ledger_folder(self) -> Path:
        """Where ClickHouse makes the ledger's parts."""
        ...

    def table_partitions(self) -> list[int]:
        """Those that commits of this schedule can go to."""
        ...

    def scratch_file(self, name: str) -> Path:
        """A new file that is kept beside the story."""
        ...


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: how often it is drawn beside others, what is drawn for it, and what it does."""

    weight: float
    draw: Callable[[Random], Mapping[str, Any]]
    inject: Callable[..., None]
    """Called with the scene and what was drawn."""
