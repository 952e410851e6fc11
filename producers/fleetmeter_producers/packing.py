"""How waiting events become Kafka records: one each, or many in one.

A record of many is cheaper for everybody: the broker, the network and the workers. It is delivered, or not, as a whole;
sent again, its events keep their ids, and each of them counts once whatever else is in the record.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Final, Literal, NamedTuple

import orjson

from fleetmeter_producers.arrow_stream import arrow_stream
from fleetmeter_producers.errors import ClientSettingsError
from fleetmeter_producers.outbox import Entry

Batch = Literal["none", "ndjson", "arrow"]

_logger = logging.getLogger(__name__)

_ROOM_FOR_SEPARATOR: Final = 1


class Record(NamedTuple):
    """A record's value, and the positions of its events in the outbox."""

    value: bytes
    positions: tuple[int, ...]


Pack = Callable[[Sequence[Entry]], Iterator[Record]]


def packing(batch: Batch, *, most_events: int, most_bytes: int) -> Pack:
    """What packs entries in order, in records of at most `most_events` events and about `most_bytes` of their JSON.

    Raises `ClientSettingsError` if a package is missing.
    """
    if batch == "none":
        return one_each
    if batch == "arrow" and find_spec("pyarrow") is None:
        raise ClientSettingsError("batch: 'arrow' needs the package pyarrow: pip install pyarrow")
    join = _ndjson if batch == "ndjson" else _arrow

    def pack(entries: Sequence[Entry]) -> Iterator[Record]:
        for group in _groups(entries, most_events, most_bytes):
            if len(group) == 1:
                yield from one_each(group)
            else:
                yield from join(group)

    return pack


def one_each(entries: Sequence[Entry]) -> Iterator[Record]:
    """A record for each event."""
    return (Record(value, (position,)) for position, value in entries)


def _groups(entries: Iterable[Entry], most_events: int, most_bytes: int) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    size = 0
    for entry in entries:
        cost = len(entry.value) + _ROOM_FOR_SEPARATOR
        if group and (len(group) >= most_events or size + cost > most_bytes):
            yield group
            group, size = [], 0
        group.append(entry)
        size += cost
    if group:
        yield group


def _ndjson(entries: Sequence[Entry]) -> Iterator[Record]:
    yield Record(b"\n".join(entry.value for entry in entries), tuple(entry.position for entry in entries))


def _arrow(entries: Sequence[Entry]) -> Iterator[Record]:
    """One record for each type of event: an Arrow stream has the columns of one type."""
    import pyarrow as pa  # noqa: PLC0415  (not part of the base install)

    by_type: dict[str, tuple[list[dict[str, object]], list[Entry]]] = {}
    for position, value in entries:
        event = orjson.loads(value)
        events, alike = by_type.setdefault(event["type"], ([], []))
        events.append(event)
        alike.append(Entry(position, value))
    for type_name, (events, alike) in by_type.items():
        try:
            value = arrow_stream(type_name, events)
        except (pa.ArrowException, KeyError, ValueError, TypeError, OverflowError) as error:
            # An event that another version of the client left in the spool, say. As JSON it always goes.
            _logger.warning("%d events of type %s go as JSON: %s", len(alike), type_name, error)
            yield from one_each(alike)
        else:
            yield Record(value, tuple(entry.position for entry in alike))
