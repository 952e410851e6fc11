"""What the reference says of one event: refused, or read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fleetmeter_schemas.events import EventData


class Refused(Exception):
    """An event that the contract refuses: the reason's stable name, and the field at fault (empty where there is none).

    Envelope attributes go by their bare name, fields of the data as `data.<name>`.
    """

    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(code, field)
        self.code = code
        self.field = field


@dataclass(frozen=True)
class Read:
    """A valid event, before its time and identity are judged.

    `values` holds what is present: text, whole numbers, microseconds for times, and for labels the canonical text of
    those with allowed keys. `unknown` counts attributes, fields and label keys that were ignored.
    """

    model: type[EventData]
    id: str
    source: str
    subject: str
    time_us: int
    values: dict[str, Any]
    unknown: int
