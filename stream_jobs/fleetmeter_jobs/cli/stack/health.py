"""What a worker says of itself on its web port."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Final

TIMEOUT_S: Final = 2.0
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment is not meant for workers."""


def health_of(web: str) -> dict[str, Any] | None:
    """The worker's health document (`ready`, `state`, `partitions`); None if nothing answers at this base URL, or a
    worker that ends in the middle of its answer."""
    try:
        document = json.loads(_body_of(f"{web}/health/ready"))
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _body_of(url: str) -> bytes:
    try:
        with _DIRECT.open(url, timeout=TIMEOUT_S) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:  # 503 has the document, too
        with error:
            return error.read()


def counts(web: str) -> bool:
    """Whether the worker at this base URL counts all its partitions."""
    health = health_of(web)
    return health is not None and health.get("ready") is True
