"""How a schedule is drawn from a seed: mostly stories in which somebody stands at the wrong place at the wrong time."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleetmeter_doubles import Fault

from fleetmeter_deterministic.steps import (
    COMMIT_POINTS,
    POINTS,
    SEAL_POINTS,
    START_POINTS,
    Assign,
    ChangeLeader,
    Control,
    CrashStore,
    Fail,
    Jump,
    KafkaAway,
    Kill,
    Land,
    Operation,
    Pass,
    Point,
    Recreate,
    Retain,
    Run,
    Send,
    SendAgain,
    Start,
    Step,
    Stop,
)
from fleetmeter_deterministic.world import Schedule, Setup

_STEPS = (6, 22)
_INSERT_FAULTS = (Fault.BEFORE, Fault.ANSWER_LOST, Fault.ANSWER_LOST, Fault.GHOST, Fault.LATE, Fault.LATE, Fault.CUT)
_READ_FAULTS = (Fault.BEFORE, Fault.ANSWER_LOST)
_DELETE_FAULTS = (*_READ_FAULTS, Fault.GHOST)
_OTHER_OPERATIONS: tuple[Operation, ...] = (
    "position",
    "hash_key",
    "blobs",
    "side_rows",
    "manifests",
    "content",
    "ids_sum",
    "known_ids",
    "delete",
)
_BEFORE_INSERT: tuple[Point, ...] = ("before_side_rows", "side_rows", "before_insert")
_LATER_S = (7_200.0, 86_400.0, 20 * 86_400.0, 33 * 86_400.0, 40 * 86_400.0)
_ARROW_SHARE = 0.03
"""Of schedules in which rows really become Arrow, which takes ten times as long."""

Story = Callable[[random.Random, Setup], list[Step]]


@dataclass(frozen=True)
class Flavour:
    """What schedules of a kind are made of."""

    stories: tuple[Story, ...]
    windows: tuple[int, ...] = (100, 100, 8, 5)
    flush_events: tuple[int, ...] = (1, 3, 6, 100)
    workers: tuple[int, ...] = (1, 2, 2, 3, 4)
    chunk_ids: tuple[int, ...] = (1000, 1000, 4)
    overlap: float = 0.6
    """The share in which several workers believe that they have the same partitions."""


def draw(seed: str, flavour: str | None = None) -> Schedule:
    """The schedule of a seed; of any flavour, or of a certain one."""
    rng = random.Random(seed)
    names = list(FLAVOURS)
    drawn = rng.choices(names, weights=[_SHARES[name] for name in names])[0]
    kind = FLAVOURS[flavour or drawn]
    setup = Setup(
        workers=rng.choice(kind.workers),
        partitions=rng.choice((1, 1, 2, 3)),
        overlap=rng.random() < kind.overlap,
        window=rng.choice(kind.windows),
        flush_events=rng.choice(kind.flush_events),
        batches_a_fetch=rng.choice((1, 2, 4)),
        before_month_end_s=rng.choice((3.0, 30.0, 100_000.0)),
        chunk_ids=rng.choice(kind.chunk_ids),
        other_chunk_ids=rng.choice((None, None, 2, 5)),
        filter_bytes=rng.choice((1000, 1000, 4, 0)),
        arrow=rng.random() < _ARROW_SHARE,
    )
    steps: list[Step] = [Send(number, rng.randrange(4), rng.randrange(1, 4)) for number in range(setup.partitions)]
    wanted = rng.randint(*_STEPS)
    while len(steps) < wanted:
        steps += rng.choice(kind.stories)(rng, setup)
    return Schedule(setup, tuple(steps))


def _worker(rng: random.Random, setup: Setup) -> int:
    return rng.randrange(setup.workers)


def _some(rng: random.Random, setup: Setup) -> tuple[int, ...]:
    return tuple(sorted(rng.sample(range(setup.workers), rng.randint(1, setup.workers))))


def _all(setup: Setup) -> tuple[int, ...]:
    return tuple(range(setup.workers))


def _partitions(rng: random.Random, setup: Setup) -> tuple[int, ...]:
    return tuple(sorted(rng.sample(range(setup.partitions), rng.randint(1, setup.partitions))))


def _news(rng: random.Random, setup: Setup) -> list[Step]:
    partition = rng.randrange(setup.partitions)
    match rng.randrange(8):
        case 0 | 1 | 2 | 3:
            return [Send(partition, rng.randint(1, 4), rng.randint(1, 3), rng.choice((0, 0, 1, 2)))]
        case 4 | 5:
            return [SendAgain(partition, rng.randrange(6))]
        case 6:
            return [SendAgain(partition, rng.randrange(6), aborted=True)]
        case _:
            return [Control(partition)]


def _go(rng: random.Random, setup: Setup) -> list[Step]:
    return [Run(_some(rng, setup), rng.choice((0.0, 1.5, 5.0)), turn=rng.randrange(4))]


def _stand(rng: random.Random, setup: Setup) -> list[Step]:
    point = rng.choice(COMMIT_POINTS if rng.random() < 0.8 else POINTS)
    return [Run(_some(rng, setup), rng.choice((1.5, 5.0, 30.0)), until=point, turn=rng.randrange(4))]


def _few_moves(rng: random.Random, setup: Setup) -> list[Step]:
    return [Run((_worker(rng, setup),), 2.0, moves=rng.randint(1, 25), turn=rng.randrange(4))]


def _zombie(rng: random.Random, setup: Setup) -> list[Step]:
    """One stands still in a commit; others go on for long, perhaps into the next month; then it wakes up."""
    zombie = _worker(rng, setup)
    others = tuple(number for number in range(setup.workers) if number != zombie) or (zombie,)
    steps: list[Step] = [Run((zombie,), 5.0, until=rng.choice(COMMIT_POINTS), turn=rng.randrange(2))]
    if rng.random() < 0.4:
        steps.append(Pass(rng.choice((60.0, 100_000.0))))
    for _ in range(rng.randint(1, 3)):
        steps += [Send(rng.randrange(setup.partitions), rng.randint(1, 5), 2), Run(others, rng.choice((2.0, 6.0)))]
    return [*steps, Run((zombie,), 3.0, moves=rng.choice((1, 3, 10, 100)))]


def _crash(rng: random.Random, setup: Setup) -> list[Step]:
    worker = _worker(rng, setup)
    stand = Run((worker,), 5.0, until=rng.choice(POINTS), turn=rng.randrange(4))
    steps: list[Step] = [stand, Kill(worker)]
    return [*steps, Start(worker, _partitions(rng, setup))] if rng.random() < 0.8 else steps


def _slow_start(rng: random.Random, setup: Setup) -> list[Step]:
    """One begins, and stands still while it asks; meanwhile others count."""
    slow, partition = _worker(rng, setup), rng.randrange(setup.partitions)
    others = tuple(number for number in range(setup.workers) if number != slow) or (slow,)
    return [
        Kill(slow),
        Start(slow, (partition,)),
        Run((slow,), 1.0, until=rng.choice(START_POINTS), turn=rng.randrange(2)),
        Send(partition, rng.randint(1, 3), 2),
        Run(others, rng.choice((1.5, 5.0))),
        Run((slow,), rng.choice((0.0, 2.0))),
    ]


def _insert_fault(rng: random.Random, setup: Setup) -> list[Step]:
    faults = tuple(rng.choice(_INSERT_FAULTS) for _ in range(rng.randint(1, 4)))
    workers = _some(rng, setup)
    return [*(Fail(worker, "insert", faults) for worker in workers), Run(workers, rng.choice((0.0, 2.0, 20.0)))]


def _other_fault(rng: random.Random, setup: Setup) -> list[Step]:
    operation: Operation = rng.choice(_OTHER_OPERATIONS)
    possible = _DELETE_FAULTS if operation == "delete" else _READ_FAULTS
    faults = tuple(rng.choice(possible) for _ in range(rng.randint(1, 3)))
    return [Fail(_worker(rng, setup), operation, faults)]


def _meet(rng: random.Random, setup: Setup) -> list[Step]:
    """All stand between guard and token, and go on in some order."""
    order = list(_all(setup))
    rng.shuffle(order)
    return [Run(_all(setup), 10.0, until="between_steps"), *(Run((worker,), 0.0) for worker in order)]


def _ghost_and_crash(rng: random.Random, setup: Setup) -> list[Step]:
    worker = _worker(rng, setup)
    return [
        Send(rng.randrange(setup.partitions), 1, 2),
        Fail(worker, "insert", (Fault.GHOST,)),
        Run((worker,), 5.0, until=rng.choice(("after_insert", "before_read_back"))),
        CrashStore(rng.choice((0.0, 3.0))),
        Kill(worker),
        Start(worker, _partitions(rng, setup)),
        Run(_some(rng, setup), 3.0),
    ]


def _store_away(rng: random.Random, setup: Setup) -> list[Step]:
    return [CrashStore(rng.choice((0.0, 2.0, 30.0))), *_go(rng, setup)]


def _seal(rng: random.Random, setup: Setup) -> list[Step]:
    """One stands still while it seals; perhaps it dies there, perhaps others go on and it wakes up again."""
    worker, partition = _worker(rng, setup), rng.randrange(setup.partitions)
    others = tuple(number for number in range(setup.workers) if number != worker) or (worker,)
    point = rng.choice(SEAL_POINTS)
    steps: list[Step] = [
        Send(partition, rng.randint(1, 4), rng.randint(1, 3)),
        Run((worker,), 5.0, until=point, turn=rng.randrange(4)),
    ]
    if rng.random() < 0.4:
        steps += [Kill(worker), Start(worker, _partitions(rng, setup)), *_go(rng, setup)]
    else:
        steps += [Send(partition, rng.randint(0, 4), 2), Run(others, rng.choice((2.0, 6.0))), Run((worker,), 3.0)]
    return steps


def _much_later(rng: random.Random, setup: Setup) -> list[Step]:
    """Weeks pass, and what was counted is sent again."""
    partition = rng.randrange(setup.partitions)
    news = [Send(partition, 1, rng.randint(1, 2))] if rng.random() < 0.7 else []
    again = [SendAgain(partition, rng.randrange(8)) for _ in range(rng.randint(1, 3))]
    return [Pass(rng.choice(_LATER_S)), *news, *_go(rng, setup), *again, *_go(rng, setup)]


def _late(rng: random.Random, setup: Setup) -> list[Step]:
    return [Land(rng.randrange(4))]


def _group(rng: random.Random, setup: Setup) -> list[Step]:
    worker = _worker(rng, setup)
    match rng.randrange(4):
        case 0:
            return [Stop(worker), *_go(rng, setup), Start(worker, _partitions(rng, setup))]
        case 1:
            return [Start(worker, _partitions(rng, setup))]
        case _:
            return [Assign(worker, _partitions(rng, setup)) for worker in _some(rng, setup)]


def _kafka(rng: random.Random, setup: Setup) -> list[Step]:
    match rng.randrange(3):
        case 0:
            return [KafkaAway(), *_go(rng, setup), KafkaAway(away=False)]
        case 1:
            return [ChangeLeader(rng.randrange(setup.partitions))]
        case _:
            jump = rng.choice((-3, -1, 1, 2))
            return [Jump(_worker(rng, setup), rng.randrange(setup.partitions), jump), *_news(rng, setup)]


def _log_changes(rng: random.Random, setup: Setup) -> list[Step]:
    """The log ends its life, perhaps under somebody who has read from it and not committed yet."""
    partition = rng.randrange(setup.partitions)
    steps: list[Step] = []
    if rng.random() < 0.6:
        steps += [Send(partition, rng.randint(1, 3), rng.randint(1, 2)), *_stand_or_read(rng, setup)]
    match rng.randrange(5):
        case 0:
            return [*steps, Retain(partition, rng.randint(1, 6))]
        case 1 | 2:
            refill = Send(partition, rng.randint(0, 4), rng.randint(1, 3))
            return [*steps, ChangeLeader(partition, lost=rng.randint(1, 3)), refill]
        case _:
            return [*steps, Recreate(rng.randint(0, 6))]


def _stand_or_read(rng: random.Random, setup: Setup) -> list[Step]:
    if rng.random() < 0.5:
        return [Run(_some(rng, setup), 0.5, turn=rng.randrange(2))]
    return [Run(_some(rng, setup), 5.0, until=rng.choice(COMMIT_POINTS), turn=rng.randrange(2))]


def _overtaken(rng: random.Random, setup: Setup) -> list[Step]:
    """One stands before its insert until its token is forgotten."""
    zombie = _worker(rng, setup)
    others = tuple(number for number in range(setup.workers) if number != zombie) or (zombie,)
    partition = rng.randrange(setup.partitions)
    return [
        Send(partition, 1, 1),
        Run((zombie,), 5.0, until=rng.choice(_BEFORE_INSERT)),
        Send(partition, rng.randint(4, 9), 1),
        Run(others, rng.choice((4.0, 9.0))),
        Run((zombie,), 3.0, moves=rng.choice((3, 10, 100))),
    ]


_ANY: tuple[Story, ...] = (
    _news,
    _news,
    _news,
    _go,
    _go,
    _go,
    _stand,
    _stand,
    _few_moves,
    _zombie,
    _zombie,
    _crash,
    _crash,
    _slow_start,
    _insert_fault,
    _insert_fault,
    _other_fault,
    _meet,
    _ghost_and_crash,
    _store_away,
    _late,
    _group,
    _group,
    _kafka,
    _seal,
    _much_later,
)

FLAVOURS: Mapping[str, Flavour] = {
    "mixed": Flavour(_ANY),
    # What ends a log's life makes the rest of a story short, so most go without.
    "logs": Flavour((*_ANY, *[_log_changes] * 12)),
    "zombies": Flavour((*_ANY, *[_overtaken] * 12), windows=(5, 8), flush_events=(1,), workers=(2, 3), overlap=1.0),
    "memory": Flavour(
        (*_ANY, *[_seal] * 8, *[_much_later] * 5, *[_other_fault] * 3), flush_events=(1, 3), chunk_ids=(1, 2, 4)
    ),
}
"""Kinds of schedules by name."""

_SHARES = {"mixed": 5, "logs": 2, "zombies": 2, "memory": 4}
