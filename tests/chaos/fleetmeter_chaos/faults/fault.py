"""What a fault is, and what it may do to a schedule that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from fleetmeter_chaos.engines import Engines
from fleetmeter_chaos.proxy import Proxy
from fleetmeter_chaos.story import Story
from fleetmeter_chaos.workers import Worker


class Scene(Protocol):
    """A schedule that runs, as faults see it. All calls come from the schedule's own thread."""

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


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault: how often it is drawn beside others, what is drawn for it, and what it does."""

    weight: float
    draw: Callable[[Random], Mapping[str, Any]]
    inject: Callable[..., None]
    """Called with the scene and what was drawn."""
