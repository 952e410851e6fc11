"""An emitter that keeps what it is given, after judging it as a worker would."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fleetmeter_producers.incarnation import Incarnation
from fleetmeter_schemas import Event, EventData, parse_event
from fleetmeter_schemas.timestamps import to_rfc3339


@dataclass
class KeepingEmitter:
    """`events` are what was accepted, by way of their JSON form. `refuse` is raised instead, where it is given."""

    events: list[Event] = field(default_factory=list)
    refuse: Exception | None = None
    _ids: Incarnation = field(default_factory=Incarnation)

    def emit(
        self,
        account: str,
        data: EventData,
        *,
        time: datetime | None = None,
        id: str | None = None,  # noqa: A002
    ) -> str:
        """Accept an event."""
        if self.refuse is not None:
            raise self.refuse
        event_id = id or self._ids.next_id()
        self.events.append(
            parse_event(
                {
                    "specversion": "1.0",
                    "type": data.TYPE,
                    "id": event_id,
                    "source": "urn:test:emitter",
                    "subject": account,
                    "time": to_rfc3339(time or datetime.now(UTC)),
                    "data": data.to_wire(),
                }
            )
        )
        return event_id

    @property
    def last(self) -> dict[str, Any]:
        """The fields of the newest event."""
        return self.events[-1].data.to_wire()
