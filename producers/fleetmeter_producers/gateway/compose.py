"""Making an event of whatever is known, so that one bad field costs that field and never the event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from fleetmeter_schemas.envelope import EventRejected, parse_data
from fleetmeter_schemas.events import EventData

from fleetmeter_producers.gateway.notes import Note, NoteCode

Data = TypeVar("Data", bound=EventData)


def compose(model: type[Data], fields: Mapping[str, Any], notes: list[Note]) -> Data:
    """The event of these fields, without those that the contract refuses, which are noted.

    Raises `EventRejected` if what is left lacks a required field, such as the model's name.
    """
    left = {name: value for name, value in fields.items() if value is not None}
    while True:
        try:
            return cast("Data", parse_data(model, left))
        except EventRejected as refusal:
            name = refusal.field.removeprefix("data.")
            if name not in left:
                raise
            del left[name]
            notes.append(Note(NoteCode.BAD_TEXT, name, f"is left out: the contract refuses it ({refusal.reason.code})"))


def check_names(model: type[EventData], names: Iterable[str]) -> None:
    """`TypeError` for a name that is no field of the event: a mistake of who wrote the call, found at the first one."""
    unknown = sorted(set(names) - set(model.model_fields))
    if unknown:
        raise TypeError(f"{model.__name__} has no field {', '.join(unknown)}")
