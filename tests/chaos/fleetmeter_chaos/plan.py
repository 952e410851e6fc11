"""What a schedule will do: a pure function of its seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from fleetmeter_chaos import fleet
from fleetmeter_chaos.broker_clock import DAY_S
from fleetmeter_chaos.faults import FAULTS
from fleetmeter_chaos.strikes import BLOWS, COMMIT_POINTS, SEAL_POINTS, Strike

SESSION_S = 1.5
"""A worker that Kafka has not heard from for so long loses its partitions."""
_NOT_WITH_FEW_TOKENS = frozenset({"insert hangs"})
"""The promise needs a token to be remembered for longer than an insert hangs behind its guard."""


@dataclass(frozen=True, slots=True)
class Step:
    """A fault to inject, when, and how."""

    at_s: float
    fault: str
    how: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """One schedule."""

    seed: int
    partitions: int
    workers: int
    events: int
    span_s: float
    producers: tuple[fleet.Kind, ...]
    flush_interval_s: float
    flush_events: int
    strikes: tuple[tuple[Strike, ...], ...]
    """Of the workers in the order of their starts, replacements included; later ones have none."""
    steps: tuple[Step, ...]
    clock_shifts_s: tuple[tuple[float, ...], ...]
    """Of the workers in the same order: how far each one's wall clock is ahead, at first and after each jump."""
    broker_ahead_s: float
    """How far the broker's clock is ahead at first. Never behind: events that happen now must not lie in its future."""
    insert_timeout_s: int
    window: int
    """Tokens that ClickHouse remembers; 0 for as many as the migrations say."""
    chunk_ids: int
    """Foreign ids with which a chunk is sealed; 0 for as many as the settings say: then only days make chunks."""
    filter_limit_bytes: int | None
    """Of a partition's filters, beyond which ids are looked up by the hour; None for as much as the settings say."""
    named_workers: bool
    """Whether workers have names in their group, and so keep their partitions over a quick restart."""
    recreate: bool
    """Whether the topic is deleted, made again and refilled in the end."""
    from_the_start: bool
    """Whether faults begin before the first commit."""
    prove_store: bool
    """Whether the first worker proves the store before it counts."""


def draw_plan(seed: int) -> Plan:
    """The schedule of a seed."""
    rng = Random(seed)
    span_s = rng.uniform(1.2, 2.5)
    workers = rng.choice((1, 2, 2, 3, 4))
    window = rng.choice((0, 0, 0, 20, 50))
    chunk_ids = rng.choice((0, 0, 12, 30))
    return Plan(
        seed=seed,
        partitions=rng.randint(1, 4),
        workers=workers,
        events=rng.randrange(250, 700),
        span_s=span_s,
        producers=tuple(rng.sample(fleet.KINDS, rng.randint(1, 3))),
        flush_interval_s=rng.choice((0.05, 0.1, 0.2, 0.4)),
        flush_events=rng.choice((25, 60, 150, 500)),
        strikes=tuple(_draw_strikes(rng, sealing=chunk_ids > 0) for _ in range(workers + 3)),
        steps=_draw_steps(rng, span_s, _NOT_WITH_FEW_TOKENS if window else frozenset()),
        clock_shifts_s=tuple(_draw_clock(rng) for _ in range(workers + 3)),
        broker_ahead_s=rng.choice((0, 0, 0, 9, 30)) * DAY_S,
        insert_timeout_s=rng.choice((3, 10, 10, 10)),
        window=window,
        chunk_ids=chunk_ids,
        filter_limit_bytes=rng.choice((None, None, 0, 200)),
        named_workers=rng.random() < 0.3,
        recreate=rng.random() < 0.08,
        from_the_start=rng.random() < 0.4,
        prove_store=not window and rng.random() < 0.1,
    )


def _draw_strikes(rng: Random, *, sealing: bool) -> tuple[Strike, ...]:
    if rng.random() < 0.45:
        return ()
    blow = rng.choices(BLOWS, (5, 3, 2, 0.4))[0]
    if sealing and rng.random() < 0.5:
        return (Strike(rng.choice(SEAL_POINTS), rng.choice((1, 1, 2, 3)), blow),)
    return (Strike(rng.choice(COMMIT_POINTS), rng.choice((1, 1, 2, 3, 5, 8)), blow),)


def _draw_clock(rng: Random) -> tuple[float, ...]:
    if rng.random() < 0.5:
        return ()
    return tuple(rng.choice((0, -1, 1)) * rng.choice((2, 600, 3 * DAY_S, 400 * DAY_S)) for _ in range(3))


def _draw_steps(rng: Random, span_s: float, not_these: frozenset[str]) -> tuple[Step, ...]:
    weights = {name: fault.weight for name, fault in FAULTS.items() if name not in not_these}
    names = rng.choices(list(weights), list(weights.values()), k=rng.randint(2, 6))
    steps = [Step(rng.uniform(0.1, span_s), name, FAULTS[name].draw(rng)) for name in names]
    return tuple(sorted(steps, key=lambda step: step.at_s))
