"""Mending a refused event before it is sent again. Its identity, (source, id), must stay: then it can't count twice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from fleetmeter_schemas import EventRejected, parse_event
from fleetmeter_schemas.decoding import decode_json

from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.settings import Settings

IDENTITY = ("source", "id")


class StillRefusedError(Exception):
    """The event would go to quarantine again; the message is the sentence that it would get there."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value to set: the path to it, such as ("data", "input_tokens"), and the value; None takes the field away."""

    path: tuple[str, ...]
    value: Any


def parse_change(text: str) -> Change:
    """`data.input_tokens=5`. The value is JSON; what is no JSON is taken as text. Raises CommandError."""
    path, equals, value = text.partition("=")
    if not equals or not all(path.split(".")):
        raise CommandError(f"--set {text!r} is not FIELD=VALUE, such as data.input_tokens=5 or subject=acct-42.")
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError:
        parsed = value
    return Change(tuple(path.split(".")), parsed)


def mend(payload: bytes, changes: Sequence[Change]) -> bytes:
    """The payload with the changes made; the very same bytes if there are none.

    Raises StillRefusedError if the payload is no JSON object, CommandError if a change would give it another identity.
    """
    if not changes:
        return payload
    try:
        event = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise StillRefusedError(
            f"the payload is not valid JSON ({error}), so that no field of it can be set: use --edit"
        ) from error
    if not isinstance(event, dict):
        raise StillRefusedError("the payload is not a JSON object, so that no field of it can be set: use --edit")
    for change in changes:
        _set(event, change)
    mended = orjson.dumps(event)
    require_same_identity(payload, mended)
    return mended


def require_same_identity(before: bytes, after: bytes) -> None:
    """Raises CommandError if the event had a source or an id, and has another one now."""
    old, new = _object(before), _object(after)
    for name in IDENTITY:
        if isinstance(old.get(name), str) and old[name] and new.get(name) != old[name]:
            raise CommandError(
                f"The event's {name} is {old[name]!r} and must stay: with another one it could be counted twice."
            )


def check_sendable(payload: bytes, settings: Settings, now_us: int) -> str:
    """The event's source, if a worker would count the event. Raises StillRefusedError with the sentence if not.

    `now_us` stands for the append time that the broker will give it.
    """
    for name, limit in (("record", settings.record_limit_bytes), ("event", settings.event_limit_bytes)):
        if len(payload) > limit:
            raise StillRefusedError(f"it has {len(payload)} bytes; at most {limit} are allowed ({name}_limit_bytes)")
    try:
        event = parse_event(decode_json(payload))
    except orjson.JSONDecodeError as error:
        raise StillRefusedError(f"it is not valid JSON: {error}") from error
    except EventRejected as rejected:
        raise StillRefusedError(str(rejected)) from rejected
    if event.time_us < now_us - settings.horizon_days * 86_400_000_000:
        raise StillRefusedError(f"time: it happened more than {settings.horizon_days} days ago (horizon_days)")
    if event.time_us > now_us + settings.future_limit_s * 1_000_000:
        raise StillRefusedError(f"time: it lies more than {settings.future_limit_s} s in the future (future_limit_s)")
    return event.source


def _set(event: dict[str, Any], change: Change) -> None:
    *parents, name = change.path
    place = event
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise StillRefusedError(f"{parent} is not an object, so that {'.'.join(change.path)} can't be set")
        place = inner
    if change.value is None:
        place.pop(name, None)
    else:
        place[name] = change.value


def _object(payload: bytes) -> Mapping[str, Any]:
    try:
        value = decode_json(payload)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}
