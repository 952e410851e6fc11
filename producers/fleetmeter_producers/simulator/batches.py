"""The wire formats: events of one source gathered into records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import orjson

from fleetmeter_producers.arrow_stream import arrow_stream
from fleetmeter_producers.simulator.malformed import Fit
from fleetmeter_producers.simulator.planned import Broken, Planned, Record
from fleetmeter_producers.simulator.servers import Identity


class Emission(NamedTuple):
    """One event on its way: who sends it, what it is, its JSON, and where that may stand."""

    identity: Identity
    item: Planned | Broken
    value: bytes | None
    fit: Fit


class Batches:
    """Gathers emissions into records. The order within a source (for Arrow: a source and type) is kept."""

    def __init__(self, batch_events: int) -> None:
        self._batch_events = batch_events
        self._waiting: dict[tuple[str, str], list[Emission]] = {}

    def add(self, emission: Emission) -> Record | None:
        """The record that this emission completes, if any."""
        identity, item, value, fit = emission
        wire_format = identity.wire_format
        if wire_format == "json" or fit is Fit.ALONE:
            return Record(identity.key, value, (item,))
        kind = ""
        if wire_format == "arrow":
            if isinstance(item, Broken):
                return Record(identity.key, value, (item,))
            kind = item.body.type_name
        elif wire_format == "array" and fit is not Fit.ELEMENT:
            return Record(identity.key, value, (item,))
        waiting = self._waiting.setdefault((identity.source, kind), [])
        waiting.append(emission)
        if len(waiting) < self._batch_events:
            return None
        del self._waiting[identity.source, kind]
        return _record(waiting)

    def rest(self) -> Iterator[Record]:
        """The records that were not full."""
        for waiting in self._waiting.values():
            yield _record(waiting)
        self._waiting.clear()


def _record(emissions: list[Emission]) -> Record:
    identity = emissions[0].identity
    items = tuple(emission.item for emission in emissions)
    values = [emission.value for emission in emissions if emission.value is not None]
    if identity.wire_format == "arrow":
        events = [orjson.loads(value) for value in values]
        value = arrow_stream(events[0]["type"], events)
    else:
        value = b"\n".join(values) if identity.wire_format == "ndjson" else b"[" + b",".join(values) + b"]"
    return Record(identity.key, value, items)
