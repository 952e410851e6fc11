"""A record's value taken apart into events, by its first bytes: JSON, a JSON array, JSON lines or an Arrow stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fleetmeter_reference import arrow_rows, json_text
from fleetmeter_reference.json_text import NotJson
from fleetmeter_reference.outcome import Refused

BLANK = " \t\r\n"
ARROW_START = b"\xff\xff\xff\xff"


@dataclass(frozen=True)
class Found:
    """One event of a record: its place, its own bytes, and its decoded value or why it has none."""

    index: int
    payload: bytes
    event: Any = None
    refused: Refused | None = None


def events_of(value: bytes | None, record_limit_bytes: int, event_limit_bytes: int) -> Iterator[Found]:
    """The events of a record in order. A record that cannot be taken apart is one event, refused."""
    if value is None:
        yield Found(0, b"", refused=Refused("tombstone"))
        return
    if len(value) > record_limit_bytes:
        yield Found(0, value, refused=Refused("too_large"))
        return
    try:
        yield from _taken_apart(value, event_limit_bytes)
    except Refused as refused:
        yield Found(0, value, refused=refused)


def _taken_apart(value: bytes, limit: int) -> Iterator[Found]:
    start = value.lstrip(BLANK.encode())
    if start.startswith(ARROW_START):
        rows = arrow_rows.events_of(value)
        return (Found(index, b"", event) for index, event in enumerate(rows))
    if start.startswith(b"["):
        text = _text(value)
        _check(text)
        return (_one(index, part.encode(), limit) for index, part in enumerate(json_text.split_array(text)))
    if not start.startswith(b"{"):
        raise Refused("not_json")
    try:
        _check(_text(value))
    except Refused:
        if b"\n{" not in value:
            raise
        lines = [line.strip(BLANK.encode()) for line in value.split(b"\n")]
        return (_one(index, line, limit) for index, line in enumerate(filter(None, lines)))
    return iter([_one(0, value.strip(BLANK.encode()), limit)])


def _one(index: int, payload: bytes, limit: int) -> Found:
    """One event's own bytes, judged as far as bytes go."""
    try:
        if len(payload) > limit:
            raise Refused("too_large")
        text = _text(payload)
        _check(text)
        if json_text.depth(text) > json_text.DEEPEST:
            raise Refused("too_deep")
        return Found(index, payload, json_text.decode(text))
    except Refused as refused:
        return Found(index, payload, refused=refused)


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("bad_utf8") from None


def _check(text: str) -> None:
    try:
        json_text.check(text)
    except NotJson:
        raise Refused("not_json") from None
