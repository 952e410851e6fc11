"""What adapters need of a client: somebody who takes an event and answers for it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from fleetmeter_schemas.events import EventData


class Emitter(Protocol):
    """`UsageClient` is one."""

    def emit(
        self,
        account: str,
        data: EventData,
        *,
        time: datetime | None = None,
        id: str | None = None,  # noqa: A002  (CloudEvents' name for it)
    ) -> str:
        """Accept one event of an account and return its id; it will be counted exactly once."""
        ...


def events_dropped(emitter: Emitter) -> int:
    """Events that it has lost so far because it had no room, as a client does that is set to; of others, 0."""
    stats = getattr(emitter, "stats", None)
    return int(stats().dropped) if callable(stats) else 0
