"""What a worker says of itself on its web port."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any, Final

TIMEOUT_S: Final = 2.0


def health_of(web: str) -> dict[str, Any] | None:
    """The worker's health document (`ready`, `state`, `partitions`); None if nothing answers at this base URL."""
    try:
        with urllib.request.urlopen(f"{web}/health/ready", timeout=TIMEOUT_S) as answer:  # noqa: S310  (http only)
            body = answer.read()
    except urllib.error.HTTPError as error:  # 503 has the document, too
        body = error.read()
    except OSError:
        return None
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def counts(web: str) -> bool:
    """Whether the worker at this base URL counts all its partitions."""
    health = health_of(web)
    return health is not None and health.get("ready") is True
