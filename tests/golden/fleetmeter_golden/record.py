"""Record the input of the golden runs anew, and what it must give by the reference.

    export PYTHONPATH=tests/golden:tests/reference
    .venv/bin/python -m fleetmeter_golden.record             recorded/input.jsonl and the export
    .venv/bin/python -m fleetmeter_golden.record --export    the export alone, after a change of the contract

The simulator makes the bulk of the input, every kind of bad event included; the rest is written below, for what a
healthy fleet seldom sends. The export is never taken from a run: the reference in tests/reference calculates it. Read
the difference before it is committed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from fleetmeter_producers.simulator import SimulationConfig, records

from fleetmeter_golden.by_reference import expected
from fleetmeter_golden.canonical import write_export
from fleetmeter_golden.recording import END, EVENT_LIMIT_BYTES, Sent, read_input, write_input

CONFIG = SimulationConfig(
    events=420,
    seed=20260301,
    accounts=6,
    servers=10,
    span_s=5400,
    late_limit_s=7200,
    malformed_rate=0.06,
    duplicate_rate=0.08,
    late_rate=0.05,
    foreign_rate=0.4,
    event_limit_bytes=EVENT_LIMIT_BYTES,
)


def recorded() -> Iterator[Sent]:
    """The simulated fleet, then the rare events."""
    for key, value, _ in records(CONFIG, int(END.timestamp()) * 1_000_000):
        yield Sent(key, value)
    for source in ("urn:rare:a", "urn:rare:b", "urn:rare:c", "urn:rare:d"):
        for event in _rare():
            event["source"] = source
            yield Sent(source.encode(), json.dumps(event, ensure_ascii=False).encode())


def _rare() -> Iterator[dict[str, Any]]:
    """Edges of the contract, each with the last event's time, so that every source comes as far as every other."""
    for number, data in enumerate(_RARE_DATA):
        yield {
            "specversion": "1.0",
            "type": "fleetmeter.generation.v1",
            "id": f"01KJN3Q5Z0AAAAAAAAAAAAAAAA-{number}" if number % 2 else f"rare-{number % 10}",
            "subject": "acme ☃ 🦙",
            "time": "2026-03-01T19:59:59.999999Z",
            "data": {"model": "llada-8b", "generation_mode": "diffusion", **data},
        }


_RARE_DATA: tuple[dict[str, Any], ...] = (
    {"input_tokens": 2**40, "output_tokens": 0},
    {"input_tokens": 2**40},
    {"denoising_steps": 0, "max_denoising_steps": 64},
    {"labels": {"team": "é", "app": 'quote " backslash \\', "not-allowed": "dropped"}},
    {"labels": {"experiment": "a"}, "user": "u-1", "conversation": "c-1"},
    {"a_field_of_tomorrow": {"deep": [1, 2, 3]}, "input_tokens": 7},
    {"input_tokens": 31_999},
    {"input_tokens": 32_001},
    {"input_tokens": 1},
    {"input_tokens": 1},
    {"input_tokens": 999, "output_tokens": 1},  # the id of the first with other content: a duplicate
)


def main(arguments: list[str]) -> int:
    """Record; the exit code."""
    if arguments not in ([], ["--export"]):
        sys.stderr.write(__doc__ or "")
        return 2
    if not arguments:
        write_input(recorded())
    write_export(expected(read_input()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
