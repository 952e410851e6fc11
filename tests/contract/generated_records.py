"""Random records: generated events in every wire format, and bytes that are none."""

from __future__ import annotations

from random import Random
from typing import Any

import pyarrow as pa
from contract_vectors.vector import APPEND_TIME_US
from fleetmeter_schemas import EVENT_TYPES, EventData
from fleetmeter_schemas.arrow import arrow_schema
from fleetmeter_schemas.fields import FieldSpec, Kind, field_table
from generated_events import BAD_TEXTS, EDGES, TEXTS, event_text, identity, labels_text


def records(random: Random, count: int) -> list[bytes | None]:
    """A batch of records."""
    return [record(random) for _ in range(count)]


def record(random: Random) -> bytes | None:
    """One record's value."""
    roll = random.random()
    if roll < 0.01:
        return None
    if roll < 0.02:
        return random.randbytes(random.randrange(12))
    if roll < 0.5:
        value = event_text(random)
    elif roll < 0.65:
        elements = [
            event_text(random) if random.random() < 0.98 else "7" for _ in range(random.choice([0, 1, 2, 5, 40]))
        ]
        value = "[" + random.choice([",", ", ", ",\n"]).join(elements) + "]"
    elif roll < 0.85:
        lines = [
            event_text(random) if random.random() < 0.97 else random.choice(["", " ", "x", "[]", "{"]) for _ in range(5)
        ]
        value = random.choice(["\n", "\r\n"]).join(lines) + random.choice(["", "\n"])
    else:
        return stream(random)
    return mutated(random, value.encode("utf-8", "surrogatepass"))


def mutated(random: Random, value: bytes) -> bytes:
    """The bytes, a few of them changed now and then."""
    if random.random() > 0.06:
        return value
    at = random.randrange(len(value) + 1)
    match random.randrange(5):
        case 0:
            return value[:at]
        case 1:
            return value[:at] + random.randbytes(1) + value[at:]
        case 2:
            return value[:at] + value[at + 1 :]
        case 3:
            return (
                value[:at]
                + random.choice([b"{", b"}", b'"', b",", b"\\", b"[", b"\n{", b"\x00", b"\xff", b"\xc3"])
                + value[at:]
            )
        case _:
            return value[:at] + random.randbytes(1) + value[at + 1 :]


def stream(random: Random) -> bytes:
    """An Arrow IPC stream of one event type, with some of its columns, in some of their types."""
    model = random.choices(list(EVENT_TYPES.values()), [12, 3, 2, 1, 1, 2])[0]
    rows = random.choice([0, 1, 3, 40])
    columns: dict[str, pa.Array] = {
        "id": _texts(random, [identity(random) for _ in range(rows)]),
        "source": _texts(random, [random.choice(["/gpu-1", "/gpu-2"]) for _ in range(rows)]),
        "subject": _texts(random, random.choices(["acme", "globex", "🦙", None, ""], [20, 10, 10, 1, 1], k=rows)),
        "time": pa.array(
            [APPEND_TIME_US - random.randrange(5 * 3_600_000_000) for _ in range(rows)], pa.timestamp("us", "UTC")
        ),
    }
    wholes = {row["whole"] for rule in model.RULES if "whole" in (row := rule.as_spec())}
    for spec in field_table(model):
        if spec.name in wholes:
            columns[spec.name] = pa.array([random.choice([1_000, 2**40]) for _ in range(rows)], pa.uint64())
        elif spec.required or random.random() < 0.3:
            columns[spec.name] = _column(random, spec, rows)
    if random.random() < 0.1:
        columns["colour"] = pa.array(["red"] * rows)
    if random.random() < 0.02:
        del columns[random.choice(list(columns))]
    if random.random() < 0.3:
        columns = dict(random.sample(list(columns.items()), len(columns)))
    return written(columns, model, random.choice([1, 1, 2]))


def written(columns: dict[str, pa.Array], model: type[EventData], batches: int) -> bytes:
    """The stream of the same record batch some times over."""
    schema = pa.schema([(name, column.type) for name, column in columns.items()], arrow_schema(model).metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(batches):
            writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    return bytes(sink.getvalue().to_pybytes())


def _texts(random: Random, values: list[Any]) -> pa.Array:
    plain = pa.array(values, random.choice([pa.string(), pa.string(), pa.large_string()]))
    return plain.dictionary_encode() if random.random() < 0.4 else plain


def _column(random: Random, spec: FieldSpec, rows: int) -> pa.Array:
    holes = 0.3 if not spec.required else 0.01
    cells = [None if random.random() < holes else _cell(random, spec) for _ in range(rows)]
    if spec.kind in (Kind.STRING, Kind.LABELS):
        return _texts(random, cells)
    if spec.kind is Kind.TIME:
        return pa.array(cells, pa.timestamp("us", "UTC"))
    type_ = pa.uint64() if spec.kind is Kind.UINT else pa.int64()
    if all(cell is None or 0 <= cell < 128 for cell in cells):
        type_ = random.choice([type_, pa.int8(), pa.uint16(), pa.int32(), pa.int64()])
    return pa.array(cells, type_)


def _cell(random: Random, spec: FieldSpec) -> Any:
    match spec.kind:
        case Kind.UINT:
            return (
                random.choice([0, 1, 2, 3]) if random.random() < 0.99 else random.choice([*EDGES, 2**40 + 1, 2**64 - 1])
            )
        case Kind.INT:
            return random.choice([1, -1]) * random.choice([*EDGES, 2**40 + 1])
        case Kind.TIME:
            return APPEND_TIME_US - random.randrange(10**12)
        case Kind.LABELS:
            return (
                labels_text(random)
                if random.random() < 0.95
                else random.choice(["", "{", "[]", '{"a": {"b": 1}}', "null"])
            )
        case Kind.STRING if spec.choices is not None:
            return random.choice(spec.choices) if random.random() < 0.99 else random.choice(TEXTS)
        case Kind.STRING:
            return (
                random.choice(TEXTS) * random.choice([1, 1, 2]) if random.random() < 0.99 else random.choice(BAD_TEXTS)
            )
