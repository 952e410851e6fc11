"""Waiting for something to do, in the event loop."""

from __future__ import annotations

import asyncio


async def woken(wake: asyncio.Event, seconds: float) -> None:
    """Wait until woken, at most so long. What woke us is heeded, and does not wake again."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        return
    wake.clear()
