"""The HTTP ingest that one would write in an hour: aiohttp, one event at a time, one Kafka record each.

Answers when the broker has acknowledged all events of a request, as ours does. `python -m fleetmeter_bench.plain_ingest
BOOTSTRAP TOPIC READY_FILE JUDGE`; JUDGE is `pydantic` (the contract's own models) or `none`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web
from confluent_kafka import Producer
from fleetmeter_schemas import parse_event


def serve(bootstrap: str, topic: str, ready_file: Path, judge: str) -> None:
    """Serve until killed."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
        }
    )

    def poll() -> None:
        while True:
            producer.poll(0.1)

    threading.Thread(target=poll, daemon=True).start()

    async def take(request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        lines = (await request.read()).splitlines()
        open_records = len(lines)
        done: asyncio.Future[None] = loop.create_future()

        def delivered(error: Any, _message: Any) -> None:
            nonlocal open_records
            open_records -= 1
            if open_records == 0 and error is None:
                loop.call_soon_threadsafe(done.set_result, None)

        for line in lines:
            event = orjson.loads(line)
            if judge == "pydantic":
                parse_event(event)
            producer.produce(topic, line, event["source"].encode(), on_delivery=delivered)
        await done
        return web.json_response({"accepted": len(lines)}, status=202)

    def tell(url: str) -> None:
        ready_file.write_text(json.dumps({"url": url}))

    async def run() -> None:
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/events", take)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        tell("http://{}:{}".format(*runner.addresses[0][:2]))
        await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4])
