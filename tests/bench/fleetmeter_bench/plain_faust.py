"""Plain Faust, for comparison: the stock transport, one JSON record at a time, and the same sums in a dict.

Runs as a process of its own: `python -m fleetmeter_bench.plain_faust BOOTSTRAP TOPIC EVENTS SECONDS`. It prints how
many events it counted in how long, and then waits to be ended. It neither deduplicates nor commits anything, which
flatters it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from typing import Any

import faust
from fleetmeter_schemas import parse_rfc3339
from mode import Worker


def build_app(bootstrap: str, topic_name: str, events: int, seconds: float, data_dir: str) -> faust.App:
    """An app whose agent counts so many events or seconds, from the first event on, and says so."""
    app = faust.App(
        f"plain-{topic_name}",
        broker=f"kafka://{bootstrap}",
        datadir=data_dir,
        web_enabled=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        store="memory://",
    )
    topic = app.topic(topic_name, value_serializer="json", internal=False)
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])

    @app.agent(topic, concurrency=1)  # type: ignore[untyped-decorator]  # Faust's types are not complete
    async def count(stream: Any) -> None:
        done, began = 0, 0.0
        async for event in stream:
            began = began or time.perf_counter()
            data = event["data"]
            minute = parse_rfc3339(event["time"]) // 60_000_000
            group = sums[event["subject"], minute, data["model"], data["generation_mode"], data.get("region", "")]
            group[0] += 1
            group[1] += data.get("input_tokens", 0)
            group[2] += data.get("output_tokens", 0)
            done += 1
            elapsed = time.perf_counter() - began
            if done == events or elapsed > seconds:
                sys.stdout.write(json.dumps({"events": done, "seconds": elapsed, "groups": len(sums)}) + "\n")
                sys.stdout.flush()
                return

    return app


def main(arguments: list[str]) -> None:
    """Count until told enough."""
    bootstrap, topic, events, seconds = arguments
    with tempfile.TemporaryDirectory(prefix="fleetmeter-bench-") as data_dir:
        app = build_app(bootstrap, topic, int(events), float(seconds), data_dir)
        Worker(app, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1:])
