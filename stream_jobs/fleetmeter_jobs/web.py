"""The worker's web port: /health/live, /health/ready and /metrics.

Live: the event loop turns. Ready: every assigned partition is being counted; else 503, with the partitions' states and
errors in the same JSON, or with what the worker waits for before it begins. A worker that waits for ClickHouse is live
and not ready.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from fleetmeter_jobs.partition_status import PartitionStatus


@dataclass(frozen=True, slots=True)
class Health:
    """A worker as /health/ready shows it."""

    ready: bool
    state: str
    """What the worker is doing: starting, joining, counting, stopping."""
    error: str
    """What it waits for before it can begin; empty if nothing. Partitions have errors of their own."""
    partitions: dict[int, PartitionStatus]


class WebPort:
    """An HTTP server on a port of its own choosing, or the one given."""

    def __init__(self, host: str, port: int, health: Callable[[], Health], registry: CollectorRegistry) -> None:
        self._host, self._port = host, port
        self._health, self._registry = health, registry
        app = web.Application()
        app.router.add_get("/health/live", self._live)
        app.router.add_get("/health/ready", self._ready)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> str:
        """Listen; returns the base URL. Raises OSError if the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        return _json({"live": True}, status=200)

    async def _ready(self, _request: web.Request) -> web.Response:
        health = self._health()
        body = {
            "ready": health.ready,
            "state": health.state,
            "error": health.error or None,
            "partitions": {str(key): asdict(one) for key, one in health.partitions.items()},
        }
        return _json(body, status=200 if health.ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _json(body: dict[str, Any], *, status: int) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json", status=status)
