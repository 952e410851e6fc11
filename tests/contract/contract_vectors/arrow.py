"""Arrow IPC streams: one event type a stream, one event a row."""

from typing import Any

import pyarrow as pa

from contract_vectors.vector import APPEND_TIME_US, DUPLICATE, OK, Outcome, Vector, counted, many, refused

_TIME = pa.timestamp("us", tz="UTC")
_BAD = refused("bad_arrow")
_TEXT = pa.string()


def stream(
    columns: dict[str, Any], rows: int = 1, type_name: str | None = "fleetmeter.generation.v1", batches: int = 1
) -> bytes:
    """A stream of valid generations with columns added or replaced; `...` leaves a column out.

    A column is an Arrow array, or a list of texts. `batches` repeats the record batch.
    """
    base = {
        "id": [f"r-{i}" for i in range(rows)],
        "source": ["/fleet/gpu-7"] * rows,
        "subject": ["acme"] * rows,
        "time": pa.array([APPEND_TIME_US] * rows, _TIME),
        "model": ["m"] * rows,
        "generation_mode": ["diffusion"] * rows,
        **columns,
    }
    arrays = {
        name: pa.array(value, _TEXT) if isinstance(value, list) else value
        for name, value in base.items()
        if value is not ...
    }
    metadata = None if type_name is None else {"fleetmeter.type": type_name}
    schema = pa.schema([(name, array.type) for name, array in arrays.items()], metadata=metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for _ in range(batches):
            writer.write_batch(pa.record_batch(list(arrays.values()), schema=schema))
    return bytes(sink.getvalue().to_pybytes())


def _column(name: str, array: Any, *outcomes: Outcome) -> Vector:
    rows = len(array)
    label = getattr(array, "type", "text")
    return many(f"arrow: {name} as {label}"[:70] + f" {len(outcomes)}", stream({name: array}, rows), *outcomes)


def _of(values: list[Any], type_: pa.DataType) -> pa.Array:
    return pa.array(values, type_)


def _bad(path: str) -> Outcome:
    return refused("bad_arrow", path)


def _missing(name: str) -> Outcome:
    return refused("missing_field", name)


_GOOD = stream({})

VECTORS = [
    many("arrow: one row", _GOOD, OK),
    many("arrow: no rows", stream({}, 0)),
    many("arrow: three rows", stream({}, 3), OK, OK, OK),
    many("arrow: two batches, the second a resend", stream({}, 2, batches=2), OK, OK, DUPLICATE, DUPLICATE),
    many("arrow: only a schema", stream({}, batches=0)),
    many("arrow: no type in the metadata", stream({}, type_name=None), _bad("fleetmeter.type")),
    many("arrow: an unknown type", stream({}, type_name="fleetmeter.generation.v9"), refused("unknown_type", "type")),
    many("arrow: cut off in the schema", _GOOD[:40], _BAD),
    many("arrow: only the first bytes", b"\xff\xff\xff\xff", _BAD),
    many("arrow: three of them", b"\xff\xff\xff", refused("not_json")),
    many("arrow: garbage", b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\x00garbage" * 5, _BAD),
    *(
        many(f"arrow: no column {path}", stream({path.removeprefix("data."): ...}), _bad(path))
        for path in ("id", "source", "subject", "time", "data.model", "data.generation_mode")
    ),
    *(
        many(f"arrow: {path} of numbers", stream({path.removeprefix("data."): _of([1], pa.int64())}), _bad(path))
        for path in ("id", "source", "subject", "time", "data.model", "data.provider", "data.labels")
    ),
    many("arrow: the envelope's columns come first", stream({"model": ..., "subject": ...}), _bad("subject")),
    many("arrow: quantity of texts", stream({"input_tokens": ["5"]}), _bad("data.input_tokens")),
    many("arrow: quantity of floats", stream({"gpu_ms": _of([5.0], pa.float64())}), _bad("data.gpu_ms")),
    many("arrow: quantity of booleans", stream({"gpu_ms": _of([True], pa.bool_())}), _bad("data.gpu_ms")),
    many("arrow: a wrong column without rows", stream({"gpu_ms": _of([], pa.bool_())}, 0), _bad("data.gpu_ms")),
    many("arrow: a wrong column without batches", stream({"gpu_ms": ["5"]}, batches=0), _bad("data.gpu_ms")),
    many("arrow: time in ms", stream({"time": _of([APPEND_TIME_US // 1000], pa.timestamp("ms", "UTC"))}), _bad("time")),
    many("arrow: time without zone", stream({"time": _of([APPEND_TIME_US], pa.timestamp("us"))}), _bad("time")),
    many("arrow: time as text", stream({"time": ["2026-03-01T12:00:00Z"]}), _bad("time")),
    _column(
        "subject",
        _of(["a", None, "", "a\nb", "x" * 129], _TEXT),
        counted(account_id="a"),
        _missing("subject"),
        refused("bad_value", "subject"),
        refused("bad_value", "subject"),
        refused("bad_value", "subject"),
    ),
    _column("subject", _of(["ä😀"], pa.large_string()), counted(account_id="ä😀")),
    _column(
        "subject",
        _of(["a", "b", "a", None], _TEXT).dictionary_encode(),
        counted(account_id="a"),
        counted(account_id="b"),
        counted(account_id="a"),
        _missing("subject"),
    ),
    _column("id", _of(["a", "a", None, ""], _TEXT), OK, DUPLICATE, _missing("id"), refused("bad_value", "id")),
    _column("source", _of(["a", None], _TEXT), OK, _missing("source")),
    _column(
        "time",
        _of([APPEND_TIME_US, None, APPEND_TIME_US + 300_000_001, 0], _TIME),
        counted(minute=APPEND_TIME_US // 1_000_000),
        _missing("time"),
        refused("in_future", "time"),
        refused("too_old", "time"),
    ),
    _column(
        "model",
        _of(["m", None, "", "m" * 129], pa.large_string()),
        counted(model="m"),
        _missing("data.model"),
        _missing("data.model"),
        refused("bad_value", "data.model"),
    ),
    _column(
        "generation_mode",
        _of(["hybrid", "magic"], _TEXT).dictionary_encode(),
        counted(generation_mode="hybrid"),
        refused("bad_value", "data.generation_mode"),
    ),
    _column("provider", _of(["p", None, ""], _TEXT), counted(provider="p"), counted(provider=""), counted(provider="")),
    _column(
        "placement",
        _of(["device", "", "moon"], _TEXT),
        counted(placement="device"),
        counted(placement=""),
        refused("bad_value", "data.placement"),
    ),
    _column(
        "input_tokens",
        _of([0, 2**40, 2**40 + 1, 2**64 - 1, None], pa.uint64()),
        counted(context_band="0-32k"),
        counted(input_tokens=2**40),
        refused("overflow", "data.input_tokens"),
        refused("overflow", "data.input_tokens"),
        counted(context_band=""),
    ),
    _column(
        "input_tokens",
        _of([5, -1, -(2**63)], pa.int64()),
        counted(input_tokens=5),
        refused("negative", "data.input_tokens"),
        refused("negative", "data.input_tokens"),
    ),
    *(
        _column("input_tokens", _of([100], kind), counted(input_tokens=100))
        for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.int8(), pa.int16(), pa.int32())
    ),
    _column("gpu_ms", _of([0, None], pa.uint64()), counted(gpu_ms_samples=1), counted(gpu_ms_samples=0)),
    _column(
        "cache_read_input_tokens",
        _of([0, 1], pa.uint64()),
        OK,
        refused("part_exceeds_whole", "data.cache_read_input_tokens"),
    ),
    _column(
        "labels",
        _of(['{"team": "a", "zone": "z"}', None, "", "{}"], _TEXT),
        counted(1, labels='{"team":"a"}'),
        counted(labels=""),
        counted(labels=""),
        counted(labels=""),
    ),
    _column(
        "labels",
        _of(["team=a", "[]", "null", '{"team": 1}', '{"team": ""}', '{"team": "a", "team": "b"}'], _TEXT),
        refused("wrong_type", "data.labels"),
        refused("wrong_type", "data.labels"),
        refused("wrong_type", "data.labels"),
        refused("wrong_type", "data.labels"),
        refused("bad_value", "data.labels"),
        refused("duplicate_key", "data.labels"),
    ),
    _column("colour", _of(["red", None], _TEXT), counted(1), counted(1)),
    many("arrow: an unknown column of any type", stream({"x": _of([[1, 2]], pa.list_(pa.int8()))}), counted(1)),
    many(
        "arrow: adjustment",
        stream(
            {
                "model": ...,
                "generation_mode": ...,
                "meter": ["output_tokens"] * 3,
                "reason": ["r"] * 3,
                "quantity": _of([-(2**40), 2**40, -(2**40) - 1], pa.int64()),
                "effective_time": _of([APPEND_TIME_US, None, None], _TIME),
            },
            3,
            "fleetmeter.adjustment.v1",
        ),
        OK,
        OK,
        refused("overflow", "data.quantity"),
    ),
]
