"""Schedules that broke a promise once, or do so without a certain piece of the protocol. Tests replay all of them.

A campaign prints what it finds in this form. `without` names the mutation under which the story breaks; then a story
that no longer leads where it should is noticed too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleetmeter_doubles import Fault

from fleetmeter_deterministic.steps import (
    ChangeLeader,
    CrashStore,
    Fail,
    Jump,
    Pass,
    Recreate,
    Retain,
    Run,
    Send,
    SendAgain,
)
from fleetmeter_deterministic.world import Schedule, Setup


@dataclass(frozen=True)
class Story:
    """What happens, and the mutation under which it breaks a promise; none if it broke the code as it was once."""

    schedule: Schedule
    without: str | None = None


_ONE = Setup(workers=1, flush_events=100, batches_a_fetch=1)
_TWO = Setup(workers=2, flush_events=100, batches_a_fetch=1)
_SEALING = replace(_ONE, chunk_ids=1)
_GHOST = (
    Run(workers=(0,)),
    Send(partition=0, size=1),
    Fail(worker=0, operation="insert", faults=(Fault.GHOST,)),
    Run(workers=(0,), seconds=2.0),
)

STORIES: Mapping[str, Story] = {
    "a zombie's token was forgotten": Story(
        Schedule(
            Setup(window=8, flush_events=1, batches_a_fetch=1),
            (
                Run(workers=(1,), until="before_insert"),
                Send(partition=0, batches=8, size=1),
                Run(workers=(0,)),
            ),
        ),
        without="guard",
    ),
    "two pass the guard together": Story(
        Schedule(
            _TWO,
            (
                Send(partition=0, size=1),
                Run(workers=(1,)),
                Run(workers=(0, 1), seconds=2.0, until="between_steps"),
            ),
        ),
        without="token",
    ),
    "an insert lands after its client gave up": Story(
        Schedule(
            _ONE,
            (
                Run(workers=(0,)),
                Fail(worker=0, operation="insert", faults=(Fault.LATE,)),
                Send(partition=0, size=1),
                Run(workers=(0,), seconds=2.0),
            ),
        ),
        without="raised-on-error",
    ),
    "a ghost has the token": Story(Schedule(_ONE, _GHOST), without="never-raised"),
    "a ghost was answered with done": Story(Schedule(_ONE, _GHOST), without="read-back"),
    "a ghost of the counts, and then their marker": Story(Schedule(_ONE, _GHOST), without="marker"),
    "a ghost of the identities, and then the counts": Story(Schedule(_ONE, _GHOST), without="blobs-before"),
    "the identities after a raised attempt": Story(
        Schedule(_TWO, (Run(workers=(1,)), *_GHOST[1:])), without="blobs-after"
    ),
    "a connection breaks between two record batches": Story(
        Schedule(
            _ONE,
            (
                Run(workers=(0,)),
                Send(partition=0, size=1),
                Fail(worker=0, operation="insert", faults=(Fault.CUT,)),
                Run(workers=(0,), seconds=2.0),
            ),
        ),
        without="one-batch",
    ),
    "retention overtakes a start": Story(
        Schedule(
            _ONE,
            (
                Send(partition=0, size=1),
                Run(workers=(0,), until="between_steps"),
                Retain(partition=0, batches=1),
            ),
        )
    ),
    "a topic made again is begun where the old one ended": Story(
        Schedule(replace(_ONE, flush_events=1), (Send(partition=0, size=1), Run(workers=(0,)), Recreate(batches=1))),
        without="check-at-start",
    ),
    "others count while one starts": Story(
        Schedule(
            _TWO,
            (
                Run(workers=(1,), until="position"),
                Send(partition=0, size=1),
                Run(workers=(0,), seconds=2.0),
                Run(workers=(1,)),
            ),
        ),
        without="old-bounds",
    ),
    "an unclean election rewrites what was read": Story(
        Schedule(
            _ONE,
            (
                Send(partition=0, size=1),
                Run(workers=(0,)),
                ChangeLeader(partition=0, lost=1),
                Send(partition=0),
            ),
        ),
        without="check-of-leaders",
    ),
    "a topic made again is read on": Story(
        Schedule(_ONE, (Run(workers=(0,)), Recreate(batches=1))),
        without="check-of-topic",
    ),
    "a consumer goes back": Story(
        Schedule(_ONE, (Send(partition=0, size=1), Run(workers=(0,)), Jump(worker=0, partition=0, batches=-1))),
        without="continuity",
    ),
    "a seal breaks off between ids and manifests": Story(
        Schedule(
            _SEALING,
            (
                Fail(worker=0, operation="ids_sum", faults=(Fault.BEFORE,)),
                Send(partition=0, size=1),
                Run(workers=(0,), seconds=2.0),
            ),
        ),
        without="deleted-early",
    ),
    "a batch is sent again after its chunk was sealed": Story(
        Schedule(
            _SEALING,
            (
                Send(partition=0, size=1),
                Run(workers=(0,), seconds=2.0),
                SendAgain(partition=0, batch=0),
            ),
        ),
        without="lookups",
    ),
    "a rival seals while one reads the state": Story(
        Schedule(
            replace(_SEALING, workers=3, other_chunk_ids=5),
            (
                Send(partition=0, size=1),
                Run(workers=(1,), seconds=2.0),
                Run(workers=(0,), until="blobs"),
                Run(workers=(2,)),
                Run(workers=(0,)),
            ),
        ),
        without="read-again",
    ),
    "a batch is sent again three weeks later": Story(
        Schedule(
            _SEALING,
            (
                Send(partition=0, size=1),
                Run(workers=(0,), seconds=2.0),
                Pass(seconds=21 * 86_400.0),
                Send(partition=0, size=1),
                Run(workers=(0,), seconds=2.0),
                SendAgain(partition=0, batch=0),
            ),
        ),
        without="horizon",
    ),
    "an unclean election loses what was rejected and not committed": Story(
        Schedule(
            replace(_TWO, flush_events=1),
            (
                Run(workers=(1,)),
                Send(partition=0, size=0, bad=1),
                CrashStore(seconds=1.0),
                Run(workers=(1,)),
                ChangeLeader(partition=0, lost=2),
                Send(partition=0, size=1),
            ),
        )
    ),
    "identities are left out": Story(Schedule(_ONE, (Send(partition=0, size=1),)), without="identities"),
}
