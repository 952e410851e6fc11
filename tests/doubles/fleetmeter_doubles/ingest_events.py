"""Events as HTTP clients send them, and what of them lies in a broker in memory."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import orjson

from fleetmeter_doubles.kafka_broker import FakeBroker


def make_event(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A valid generation, changed: `source=`, `subject=`, `data=`, ...; None leaves an attribute out."""
    event = {
        "specversion": "1.0",
        "type": "fleetmeter.generation.v1",
        "id": f"event-{number}",
        "source": "urn:test:gateway",
        "subject": "acct-1",
        "time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "data": {"model": "llada-8b-instruct", "generation_mode": "diffusion", "output_tokens": 3},
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def text_of(*events: dict[str, Any]) -> bytes:
    """A batch in lines."""
    return b"\n".join(json.dumps(event).encode() for event in events)


def arrived(broker: FakeBroker) -> dict[str, list[str]]:
    """The ids of the events in the log, by the records' key; and each record holds only its key's events."""
    ids: dict[str, list[str]] = {}
    for _, key, value in broker.log:
        for line in (value or b"").split(b"\n"):
            event = orjson.loads(line)
            assert event["source"] == key.decode()
            ids.setdefault(key.decode(), []).append(event["id"])
    return ids
