"""One flush on its way into the ledger, beside which counting goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fleetmeter_jobs.ledger.commit import Committed, Lost
from fleetmeter_jobs.ledger.position import Position
from fleetmeter_jobs.pending import Pending
from fleetmeter_jobs.processor_seams import Ledger
from fleetmeter_jobs.threads import Threads


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of it."""

    pending: Pending
    flush: Any
    outcome: Committed | Lost
    seconds: float


async def fly(
    ledger: Ledger,
    threads: Threads,
    clock: Callable[[], float],
    previous: Position,
    pending: Pending,
    flush: Any,
    topic_id: str,
) -> Landed:
    """Commit a flush that continues `previous`, in a thread."""
    began = clock()
    outcome = await threads.store(ledger.commit, previous, pending, flush, topic_id)
    return Landed(pending, flush, outcome, clock() - began)
