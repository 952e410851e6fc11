"""What a load has done: by each producer while it goes on, and by all of them at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fleetmeter_producers.load.config import LoadConfig
from fleetmeter_producers.load.latencies import Latencies


@dataclass(frozen=True, slots=True)
class Progress:
    """How far producers are, `seconds` after they began: events emitted, delivered, dropped, and waiting."""

    seconds: float = 0.0
    emitted: int = 0
    delivered: int = 0
    dropped: int = 0
    waiting: int = 0
    failed_deliveries: int = 0
    last_error: str | None = None

    def plus(self, other: Progress) -> Progress:
        """That of both together; of their times, the longer one."""
        return Progress(
            max(self.seconds, other.seconds),
            self.emitted + other.emitted,
            self.delivered + other.delivered,
            self.dropped + other.dropped,
            self.waiting + other.waiting,
            self.failed_deliveries + other.failed_deliveries,
            self.last_error or other.last_error,
        )


@dataclass(frozen=True, slots=True)
class Driven:
    """What one producer did. `ended`: when it stopped emitting; `drained`: when its client was closed."""

    ended: Progress
    drained: Progress
    most_waiting: int
    latencies: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EmitTimes:
    """How long `emit` took its caller, in microseconds, by share of the calls."""

    p50: float
    p99: float
    p999: float
    most: float


@dataclass(frozen=True, slots=True)
class LoadReport:
    """`emitted` events were accepted within `seconds`, at `events_per_s`, of `asked_events_per_s`. At the end of the
    emission `backlog` of them waited, at most `most_backlog` (the sum of each producer's own highest); `drain_s` later
    `delivered` were acknowledged, and `left` not. `dropped` ones were lost, because an outbox was full."""

    asked_events_per_s: float
    events_per_s: float
    seconds: float
    producers: int
    batch: str
    outbox: str
    emitted: int
    delivered: int
    dropped: int
    backlog: int
    most_backlog: int
    left: int
    drain_s: float
    failed_deliveries: int
    last_error: str | None
    emit_us: EmitTimes

    @property
    def ok(self) -> bool:
        """Whether all that was emitted is delivered, and nothing was lost."""
        return not self.left and not self.dropped and self.delivered == self.emitted


def report_of(config: LoadConfig, driven: Sequence[Driven]) -> LoadReport:
    """All producers' results in one."""
    ended, drained, latencies = Progress(), Progress(), Latencies()
    for one in driven:
        ended, drained = ended.plus(one.ended), drained.plus(one.drained)
        latencies.merge(Latencies(one.latencies))
    return LoadReport(
        asked_events_per_s=config.events_per_s,
        # Each by its own clock: processes do not begin at the same moment.
        events_per_s=round(sum(one.ended.emitted / one.ended.seconds for one in driven if one.ended.seconds), 1),
        seconds=round(ended.seconds, 3),
        producers=len(driven),
        batch=config.batch,
        outbox="spool" if config.spool else "memory",
        emitted=drained.emitted,
        delivered=drained.delivered,
        dropped=drained.dropped,
        backlog=ended.waiting,
        most_backlog=sum(one.most_waiting for one in driven),
        left=drained.waiting,
        drain_s=round(max((one.drained.seconds - one.ended.seconds for one in driven), default=0.0), 3),
        failed_deliveries=drained.failed_deliveries,
        last_error=drained.last_error,
        emit_us=EmitTimes(latencies.at(0.5), latencies.at(0.99), latencies.at(0.999), latencies.at(1.0)),
    )
