"""A request's body off the network: bounded in bytes and in time, and accounted for before it is there."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from aiohttp import web

from fleetmeter_producers.ingest.problem import Problem
from fleetmeter_producers.ingest.room import Share


def check_length(request: web.Request, limit_bytes: int) -> None:
    """Raise `Problem` 413 for a body that says itself that it is too large."""
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)


async def read_body(request: web.Request, share: Share, limit_bytes: int, timeout_s: float) -> bytes:
    """The body as it was sent.

    Raises `Problem`: 413 for more than `limit_bytes`, 408 if it is not there within `timeout_s`, 503 without room.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit_bytes:
                    raise _too_large(limit_bytes)
                share.take(len(part))
                parts.append(part)
    except TimeoutError as error:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, f"the body was not complete after {timeout_s} s; {size} bytes had come"
        ) from error
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(limit_bytes: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body has more than {limit_bytes} bytes; send fewer events a request, or compress them",
    )
