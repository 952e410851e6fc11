"""What stands between the meters that users run and the simulated stream: events are collected, not sent, and a clock
that stands still makes the same of them each time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from fleetmeter_schemas.events import EventData

from fleetmeter_producers.simulator.planned import Body

ACCOUNT: Final = "simulated"
"""The account that meters are told; the stream gives each event one of its own."""
# Who, when and with whom: the stream adds them to each event.
_ADDED: Final = ("generation_id", "parent_id")


def stopped_clock() -> int:
    """A clock for meters, in ns: times are drawn, and not taken."""
    return 0


class Collector:
    """An `Emitter` that keeps what a meter emits, until it is taken as bodies."""

    def __init__(self) -> None:
        self._events: list[EventData] = []

    def emit(
        self,
        account: str,  # noqa: ARG002  (the interface's)
        data: EventData,
        *,
        time: datetime | None = None,  # noqa: ARG002
        id: str | None = None,  # noqa: A002, ARG002
    ) -> str:
        """Keep an event."""
        self._events.append(data)
        return str(len(self._events))

    def take(self) -> list[Body]:
        """The bodies of what was emitted since, in that order."""
        events, self._events = self._events, []
        return [_body_of(data) for data in events]


def _body_of(data: EventData) -> Body:
    fields: dict[str, Any] = data.to_wire()
    return Body.of(type(data), {name: value for name, value in fields.items() if name not in _ADDED})
