"""What it costs in Python to read and check one JSON event: the peers of the native core's parser."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial

import orjson
from fleetmeter_schemas import parse_event

from fleetmeter_bench.measure import Speed, speed
from fleetmeter_bench.native_speed import NOW_US
from fleetmeter_bench.workload import records


def parser_peers(events: int, seconds: float) -> Iterator[tuple[str, Speed]]:
    """Events a second of each way, by its name."""
    values = records("JSON", events, "sequenced", now_us=NOW_US)
    ways: tuple[tuple[str, Callable[[bytes], object]], ...] = (
        ("json (no check)", json.loads),
        ("orjson (no check)", orjson.loads),
        ("json + pydantic", lambda value: parse_event(json.loads(value))),
        ("orjson + pydantic", lambda value: parse_event(orjson.loads(value))),
    )
    for name, way in ways:
        yield name, speed(partial(_prepared, way, values), seconds=seconds)


def _prepared(way: Callable[[bytes], object], values: list[bytes]) -> Callable[[], int]:
    return partial(_all, way, values)


def _all(way: Callable[[bytes], object], values: list[bytes]) -> int:
    for value in values:
        way(value)
    return len(values)
