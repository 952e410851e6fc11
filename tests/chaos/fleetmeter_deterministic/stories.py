"""Schedules that broke a promise once, or do so without a certain piece of the protocol. Tests replay all of them.

A campaign prints what it finds in this form. `without` names the mutation under which the story breaks; then a story
that no longer leads where it should is noticed too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fleetmeter_doubles import Fault

from fleetmeter_deterministic.steps import ChangeLeader, Fail, Jump, Recreate, Retain, Run, Send
from fleetmeter_deterministic.world import Schedule, Setup


@dataclass(frozen=True)
class Story:
    """What happens, and the mutation under which it breaks a promise; none if it broke the code as it was once."""

    schedule: Schedule
    without: str | None = None


_ONE = Setup(workers=1, flush_events=100, batches_a_fetch=1)
_TWO = Setup(workers=2, flush_events=100, batches_a_fetch=1)
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
        ),
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
    "identities are left out": Story(Schedule(_ONE, (Send(partition=0, size=1),)), without="identities"),
}
