"""Do the committed identities lead to as many events as the markers say were accepted, without gap or overlap?

Each partition's dedup state is made from the ledger exactly as a worker would make it; what a worker would refuse to go
on from is what is found here. One partition at a time, since a state can be large.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.ledger.errors import DedupMovedError, DedupStateError
from fleetmeter_jobs.ledger.position import PartitionId, Position

_ADVICE = (
    "A worker that takes this partition stops for the same reason. Restore the ledger's rows from a backup; if they "
    "are gone for good, events sent again from before then can't be told from new ones."
)
_TRIES = 5

T = TypeVar("T")
RestoreState = Callable[[PartitionId, Position], object]
"""Makes a partition's dedup state from the ledger; raises DedupStateError where it does not add up."""


def check_identities(
    newest: Sequence[tuple[PartitionId, Position]],
    restore: RestoreState,
    reread: Callable[[PartitionId], Position | None],
    progress: Callable[[str], None],
) -> Checked:
    """Restore the state of each partition, in its newest log epoch (older ones are part of it).

    A worker that seals meanwhile moves identities from under the position; `reread` gives where it is then.
    """
    findings = []
    accepted = 0
    for partition, position in newest:
        progress(str(partition))
        accepted += position.totals.accepted
        try:
            restored_beside_workers(partition, position, restore, reread)
        except DedupStateError as error:
            findings.append(Finding(f"{error}.", _ADVICE))
    return Checked("identities", f"{accepted:,} accepted events of {len(newest)} partitions", tuple(findings))


def restored_beside_workers(
    partition: PartitionId,
    position: Position,
    restore: Callable[[PartitionId, Position], T],
    reread: Callable[[PartitionId], Position | None],
) -> T:
    """What `restore` makes, at a later position if a worker seals meanwhile. Raises what it raises."""
    for _ in range(_TRIES):
        try:
            return restore(partition, position)
        except DedupMovedError:
            position = reread(partition) or position
    return restore(partition, position)
