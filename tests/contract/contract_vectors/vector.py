"""What a vector is: one record, and what must become of each of its events.

The expectations are written by hand from the contract. Every vector starts from an aggregator that has seen nothing,
and its record is appended at `APPEND_TIME`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from fleetmeter_reference.aggregator import Limits

APPEND_TIME: Final = "2026-03-01T12:00:00Z"
APPEND_TIME_US: Final = 1_772_366_400_000_000
GENERATION: Final = "fleetmeter.generation.v1"


@dataclass(frozen=True)
class Refusal:
    """The event is refused: the reason's name, and the field at fault."""

    code: str
    field: str = ""


@dataclass(frozen=True)
class Counted:
    """The event is counted; `values` are dimensions and measures of its rollup row (a fact has none)."""

    values: dict[str, Any] = field(default_factory=dict)
    unknown_fields: int = 0


@dataclass(frozen=True)
class Duplicate:
    """The event has been counted before."""


Outcome = Refusal | Counted | Duplicate


@dataclass(frozen=True)
class Vector:
    """A record's value and the outcome of each of its events, in order."""

    name: str
    record: bytes | None
    outcomes: tuple[Outcome, ...]
    limits: Limits = field(default_factory=Limits)


def refused(code: str, field_name: str = "") -> Refusal:
    """A refusal with the reason's name."""
    return Refusal(code, field_name)


def counted(unknown_fields: int = 0, **values: Any) -> Counted:
    """A counted event, with some of the values that its row must have."""
    return Counted(values, unknown_fields)


OK: Final = Counted()
DUPLICATE: Final = Duplicate()


def envelope(id_: str = "e-1", /, **changes: Any) -> dict[str, Any]:
    """The attributes of a valid generation, without its data; a change to `...` leaves an attribute out."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "type": GENERATION,
        "id": id_,
        "source": "/fleet/gpu-7",
        "subject": "acme",
        "time": APPEND_TIME,
        **changes,
    }
    return {name: value for name, value in attributes.items() if value is not ...}


def event(id_: str = "e-1", data: Any = ..., /, **changes: Any) -> str:
    """A valid generation as JSON text, with other data or attributes."""
    if data is ...:
        data = {"model": "m", "generation_mode": "diffusion"}
    return json.dumps({**envelope(id_, **changes), "data": data})


def generation(id_: str = "e-1", /, **fields: Any) -> str:
    """A valid generation with fields of its data set; `...` leaves one out."""
    data = {"model": "m", "generation_mode": "diffusion", **fields}
    return event(id_, {name: value for name, value in data.items() if value is not ...})


def with_data_text(members: str) -> str:
    """A valid generation whose data ends with raw JSON members, such as `"input_tokens": 1e3`."""
    head = json.dumps(envelope())[:-1]
    return f'{head}, "data": {{"model": "m", "generation_mode": "diffusion", {members}}}}}'


def with_text(members: str) -> str:
    """A valid generation whose envelope ends with raw JSON members."""
    return f"{generation()[:-1]}, {members}}}"


def of_type(short: str, /, **data: Any) -> str:
    """An event of another type, `device_report` for example."""
    return event("e-1", data, type=f"fleetmeter.{short}.v1")


def one(name: str, text: str | bytes, outcome: Outcome, limits: Limits | None = None) -> Vector:
    """A vector of a record that holds one event."""
    record = text if isinstance(text, bytes) else text.encode()
    return Vector(name, record, (outcome,), limits or Limits())


def many(name: str, text: str | bytes, *outcomes: Outcome, limits: Limits | None = None) -> Vector:
    """A vector of a record that holds any number of events."""
    record = text if isinstance(text, bytes) else text.encode()
    return Vector(name, record, outcomes, limits or Limits())
