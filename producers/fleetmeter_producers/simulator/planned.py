"""What the simulator decides before a byte is written: bodies, events, records.

These are the units of the oracle: it counts a planned event when the broker has acknowledged its record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import orjson
from fleetmeter_schemas.events import EventData
from fleetmeter_schemas.reasons import Reason


@cache
def _names(model: type[EventData]) -> dict[str, None]:
    """The fields of a type in their order. (A plain dict: pydantic looks its fields up anew each time.)"""
    return dict.fromkeys(model.model_fields)


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """The data of an event but for who asked, written once; many events may share it.

    `head` is its JSON without the closing brace: what follows in the canonical order are subjects and details.
    """

    type_name: str
    short: str
    counted: bool
    data: dict[str, Any]
    head: bytes

    @classmethod
    def of(cls, model: type[EventData], fields: Mapping[str, Any]) -> Body:
        """The body with these fields; None means absent. The caller answers for their validity (and the tests check
        it): validating each event again would cost more than making it."""
        names = _names(model)
        if not fields.keys() <= names.keys():
            raise TypeError(f"{model.__name__} has no field {', '.join(sorted(fields.keys() - names.keys()))}")
        data = {name: fields[name] for name in names if fields.get(name) is not None}
        return cls(model.TYPE, model.SHORT, model.COUNT_MEASURE is not None, data, orjson.dumps(data)[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class Subjects:
    """Who asked: pseudonyms as fields, and as the JSON that follows a body's head."""

    fields: dict[str, str]
    tail: bytes

    @classmethod
    def of(cls, fields: dict[str, str]) -> Subjects:
        """The subjects with these pseudonyms, in the contract's order: user, conversation, installation."""
        return cls(fields, b"," + orjson.dumps(fields)[1:-1] if fields else b"")


NOBODY = Subjects.of({})


class Planned(NamedTuple):
    """A good event: `number` is its place among the distinct ones, `details` what follows the subjects."""

    number: int
    body: Body
    subjects: Subjects
    details: dict[str, str]
    account: str
    source: str
    event_id: str
    time_us: int
    late: bool


class Broken(NamedTuple):
    """An event, or a whole record, that must be refused for a reason."""

    reason: Reason


Items = tuple[Planned | Broken, ...]


class Record(NamedTuple):
    """A Kafka record, and what is in it."""

    key: bytes
    value: bytes | None
    items: Items
