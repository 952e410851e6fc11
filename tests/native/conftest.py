"""A small contract of two types, and the means to make events, cores and Arrow streams of it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import fleetmeter_native
import pyarrow as pa
import pytest

APPEND_US = 1_772_366_400_000_000
"""2026-03-01T12:00:00Z, when the records of these tests were appended."""
ULID = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"

Event = dict[str, Any]


def _field(name: str, role: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    plain = {"required": False, "max_length": None, "choices": None, "cap": None, "samples": False}
    return {"name": name, "role": role, "kind": kind, **plain, **more}


_SPEC: dict[str, Any] = {
    "version": 1,
    "envelope": {"id": 40, "source": 12, "subject": 12},
    "known_attributes": ["specversion", "type", "id", "source", "subject", "time", "data", "dataschema"],
    "types": [
        {
            "name": "test.work.v1",
            "short": "work",
            "route": "rollup",
            "count_measure": "works",
            "fields": [
                _field("model", "dimension", required=True, max_length=8),
                _field("mode", "dimension", choices=["", "fast", "slow"]),
                _field("labels", "dimension", "labels"),
                _field("tokens", "measure", "uint", cap=1000),
                _field("cached", "measure", "uint", cap=1000),
                _field("steps", "measure", "uint", cap=1000, samples=True),
                _field("huge", "measure", "uint", cap=2**63 - 1),
                _field("user", "subject", max_length=8),
                _field("note", "detail", max_length=8),
                _field("began", "detail", "time"),
            ],
            "rules": [
                {"rule": "parts_within", "parts": ["cached"], "whole": "tokens"},
                {"rule": "absent_when", "field": "steps", "on": "mode", "values": ["fast"]},
                {"rule": "required_when", "field": "tokens", "on": "mode", "values": ["slow"]},
                {"rule": "not_above", "field": "cached", "limit": "steps"},
                {"rule": "near_event_time", "field": "began", "max_age_us": 60_000_000, "max_ahead_us": 0},
            ],
            "bands": [
                {"name": "size", "of": "tokens", "thresholds": [10, 100], "labels": ["small", "middle", "large"]}
            ],
        },
        {
            "name": "test.fact.v1",
            "short": "fact",
            "route": "fact",
            "count_measure": None,
            "fields": [_field("amount", "detail", "int", required=True, cap=50), _field("user", "subject")],
            "rules": [],
            "bands": [],
        },
    ],
    "ledger": {
        "dimensions": ["model", "mode", "labels", "size"],
        "measures": ["works", "tokens", "cached", "steps", "steps_samples", "huge"],
    },
    "reasons": [{"code": code, "name": name} for code, name in fleetmeter_native.REASONS.items()],
}


@pytest.fixture
def spec() -> dict[str, Any]:
    """The contract, to change at will."""
    return copy.deepcopy(_SPEC)


MakeCore = Callable[..., fleetmeter_native.Core]


@pytest.fixture
def make_core() -> MakeCore:
    """Makes a core; `spec` and any option may be given."""

    def make(
        spec: dict[str, Any] | bytes = _SPEC, hash_key: bytes = b"k" * 16, **options: Any
    ) -> fleetmeter_native.Core:
        text = spec if isinstance(spec, bytes) else json.dumps(spec).encode()
        usual = {
            "horizon_us": 3_600_000_000,
            "future_us": 60_000_000,
            "record_limit_bytes": 100_000,
            "event_limit_bytes": 10_000,
            "label_keys": ["team", "app"],
            "label_sets_per_account_hour": 2,
        }
        return fleetmeter_native.Core(text, hash_key, **{**usual, **options})

    return make


@pytest.fixture
def core(make_core: MakeCore) -> fleetmeter_native.Core:
    """A fresh core."""
    return make_core()


MakeEvent = Callable[..., Event]


@pytest.fixture
def make_event() -> MakeEvent:
    """Makes a valid event; data fields by name, attributes in `envelope`."""

    def make(id_: str = "a", *, envelope: Event | None = None, **data: Any) -> Event:
        base = {
            "specversion": "1.0",
            "type": "test.work.v1",
            "id": id_,
            "source": "node-1",
            "subject": "acme",
            "time": "2026-03-01T11:59:30Z",
            "data": {"model": "llada", **data},
        }
        return {**base, **(envelope or {})}

    return make


@pytest.fixture
def arrow_stream() -> Callable[..., bytes]:
    """An IPC stream of rows of `test.work.v1`: columns by name (lists or arrays); the envelope is filled in."""

    def make(rows: int, *, compression: str | None = None, batches: int = 1, **columns: Any) -> bytes:
        usual: dict[str, Any] = {
            "id": [f"{ULID}-{i}" for i in range(rows)],
            "source": ["node-1"] * rows,
            "subject": ["acme"] * rows,
            "time": pa.array([APPEND_US - 30_000_000] * rows, pa.timestamp("us", "UTC")),
            "model": ["llada"] * rows,
        }
        table = pa.record_batch({**usual, **columns})
        table = table.replace_schema_metadata({"fleetmeter.type": "test.work.v1"})
        sink = pa.BufferOutputStream()
        options = pa.ipc.IpcWriteOptions(compression=compression)
        with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
            for _ in range(batches):
                writer.write_batch(table)
        return bytes(sink.getvalue().to_pybytes())

    return make
