"""A fleet's generation events, as much alike as real ones: some models, accounts and regions, each event another id.

JSON events are written as the client library writes them: the contract's field order, compact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from random import Random
from typing import Any, Final, Literal, TypeVar

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from fleetmeter_schemas import GenerationV1, format_rfc3339
from fleetmeter_schemas.arrow import arrow_schema

T = TypeVar("T")
Ids = Literal["sequenced", "foreign"]
Format = Literal["JSON", "JSON array", "JSON lines", "Arrow"]

FORMATS: Final[tuple[Format, ...]] = ("JSON", "JSON array", "JSON lines", "Arrow")
EVENTS_A_RECORD: Final[dict[Format, int]] = {"JSON": 1, "JSON array": 200, "JSON lines": 200, "Arrow": 10_000}
ULID: Final = "01JD8Z5W8Q3K6V9XKQ2N4T7RYB"

_MODELS: Final = (
    ("llada-8b-instruct", "diffusion", "low_confidence"),
    ("llada2.0-mini", "block_diffusion", "semi_autoregressive"),
    ("mercury-coder-small", "diffusion", "adaptive_parallel"),
    ("llama-3.2-3b", "autoregressive", ""),
    ("dream-7b-instruct", "diffusion", "slow_fast"),
)
_ACCOUNTS: Final = tuple(f"account-{n:03}" for n in range(200))
_REGIONS: Final = ("eu-west-1", "us-east-1", "ap-south-1")
_MINUTES: Final = 2


def rows(count: int, ids: Ids, *, now_us: int, start: int = 0, seed: int = 7) -> Iterator[dict[str, Any]]:
    """Flat rows: id, source, subject, time_us, and the data's fields. `start` moves the ids on."""
    random = Random(seed)
    for number in range(start, start + count):
        model, mode, strategy = random.choice(_MODELS)
        account = random.randrange(len(_ACCOUNTS))
        tokens = random.randrange(20, 2_000)
        row: dict[str, Any] = {
            "id": f"{ULID}-{number}" if ids == "sequenced" else f"chatcmpl-{seed:x}-{number:020x}",
            "source": f"/fleet/gpu-{number % 8}" if ids == "foreign" else "/fleet/gpu-0",
            "subject": _ACCOUNTS[account],
            "time_us": now_us - random.randrange(_MINUTES * 60_000_000),
            "model": model,
            "generation_mode": mode,
            "provider": "fleet",
            "operation": "chat",
            "placement": "cloud",
            "route": "direct",
            "region": _REGIONS[account % len(_REGIONS)],
            "accelerator": "h100-sxm",
            "status": "ok",
            "input_tokens": random.randrange(50, 8_000),
            "output_tokens": tokens,
            "function_evaluations": tokens if mode == "autoregressive" else 24,
            "latency_ms": tokens * 2,
            "user": f"u-{random.randrange(500)}",
        }
        if mode != "autoregressive":
            row |= {"decoding_strategy": strategy, "denoising_steps": random.choice((10, 23, 48)), "blocks": 4}
        yield row


def event(row: dict[str, Any]) -> bytes:
    """A row as one structured CloudEvent."""
    fields = GenerationV1.model_fields
    return orjson.dumps(
        {
            "specversion": "1.0",
            "type": GenerationV1.TYPE,
            "id": row["id"],
            "source": row["source"],
            "subject": row["subject"],
            "time": format_rfc3339(row["time_us"]),
            "data": {name: row[name] for name in fields if name in row},
        }
    )


def records(format_: Format, count: int, ids: Ids, *, now_us: int, start: int = 0, seed: int = 7) -> list[bytes]:
    """`count` events as records of a wire format, `EVENTS_A_RECORD` in each."""
    return records_of(format_, list(rows(count, ids, now_us=now_us, start=start, seed=seed)))


def records_of(format_: Format, all_rows: list[dict[str, Any]]) -> list[bytes]:
    """Rows as records of a wire format, `EVENTS_A_RECORD` in each."""
    return [_record(format_, batch) for batch in in_batches(all_rows, EVENTS_A_RECORD[format_])]


def in_batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _record(format_: Format, batch: list[dict[str, Any]]) -> bytes:
    if format_ == "Arrow":
        return _stream(batch)
    texts = [event(row) for row in batch]
    if format_ == "JSON array":
        return b"[" + b",".join(texts) + b"]"
    return b"\n".join(texts)


def _stream(batch: list[dict[str, Any]]) -> bytes:
    """An Arrow stream of the columns that the rows have; texts in dictionaries, as a producer of volume would."""
    schema = arrow_schema(GenerationV1)
    names = [
        "id",
        "source",
        "subject",
        "time",
        *(name for name in GenerationV1.model_fields if name in batch[0] or name in batch[-1]),
    ]
    columns = {}
    for name in names:
        column = pa.array([row.get("time_us" if name == "time" else name) for row in batch], schema.field(name).type)
        columns[name] = column.dictionary_encode() if column.type == pa.string() and name != "id" else column
    return _written(columns)


def crowd_record(start: int, count: int, *, now_us: int) -> bytes:
    """A record of events that only matter for their ids: `count` foreign ones from number `start` on."""
    numbers = pa.array(range(start, start + count), pa.int64())
    return id_record(pc.binary_join_element_wise("crowd", numbers.cast(pa.string()), "-"), now_us=now_us)


def incarnation(number: int) -> str:
    """A ULID of its own for each number."""
    return f"01JD8Z5W8Q3K6V9X{number:010d}"


def id_record(ids: pa.Array, *, now_us: int) -> bytes:
    """A record of events that only matter for their ids."""
    count = len(ids)
    constant = {"source": "/crowd", "subject": "crowd", "model": "m", "generation_mode": "diffusion"}
    columns = {
        "id": ids,
        "time": pa.array([now_us] * count, pa.timestamp("us", "UTC")),
        **{name: pa.array([text] * count).dictionary_encode() for name, text in constant.items()},
    }
    return _written(columns)


def _written(columns: dict[str, pa.Array]) -> bytes:
    schema = pa.schema([(name, column.type) for name, column in columns.items()], arrow_schema(GenerationV1).metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(pa.record_batch(list(columns.values()), schema=schema))
    return bytes(sink.getvalue().to_pybytes())
