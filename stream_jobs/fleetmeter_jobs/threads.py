"""Where blocking work runs, so that the event loop stays free for Kafka's heartbeats.

Two pools: the core's has a thread per processor (its work is CPU with the GIL released), the store's has many (its work
is
waiting, and a ClickHouse that hangs must not keep other partitions from counting).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_STORE_THREADS = 64


class Threads:
    """Two thread pools. `close` waits for nothing: a call that hangs ends with the process."""

    def __init__(self) -> None:
        self._core = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="core")
        self._store = ThreadPoolExecutor(max_workers=_STORE_THREADS, thread_name_prefix="store")
        self._waiting = 0
        self.sealing = asyncio.Lock()
        """Held while a chunk is sealed: it takes hundreds of megabytes, so that partitions take turns."""

    async def core(self, call: Callable[..., T], *args: Any) -> T:
        """Run CPU work that releases the GIL."""
        return await asyncio.get_running_loop().run_in_executor(self._core, call, *args)

    async def store(self, call: Callable[..., T], *args: Any) -> T:
        """Run a call that waits for ClickHouse or Kafka."""
        running = asyncio.get_running_loop().run_in_executor(self._store, call, *args)
        self._waiting += 1
        running.add_done_callback(self._came_back)
        return await running

    @property
    def waiting(self) -> int:
        """How many calls wait for ClickHouse or Kafka now, those included whose answer nobody wants any more."""
        return self._waiting

    def _came_back(self, _running: object) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Take no more work, and cancel what has not begun."""
        self._core.shutdown(wait=False, cancel_futures=True)
        self._store.shutdown(wait=False, cancel_futures=True)
