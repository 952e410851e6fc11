"""Labels: an object of text, of which keys on the operator's list are kept, in one canonical spelling."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from fleetmeter_reference.json_text import Object
from fleetmeter_reference.outcome import Refused


def read_labels(value: Any, path: str, allowed: Collection[str]) -> tuple[str, int]:
    """The canonical text of the labels with allowed keys (empty where there are none), and how many were dropped."""
    if not isinstance(value, Object):
        raise Refused("wrong_type", path)
    if not all(isinstance(text, str) for _, text in value.members):
        raise Refused("wrong_type", path)
    if len(value.members) > 8 or any(not _fits(key, 64) or not _fits(text, 128) for key, text in value.members):
        raise Refused("bad_value", path)
    if value.repeated:
        raise Refused("duplicate_key", path)
    kept = {key: text for key, text in value.members if key in allowed}
    return canonical_text(kept), len(value.members) - len(kept)


def canonical_text(labels: dict[str, str]) -> str:
    """Compact JSON with keys in the order of their UTF-8 bytes; the empty text for no labels."""
    if not labels:
        return ""
    by_bytes = dict(sorted(labels.items(), key=lambda item: item[0].encode()))
    return json.dumps(by_bytes, ensure_ascii=False, separators=(",", ":"))


def _fits(text: str, most: int) -> bool:
    return 1 <= len(text) <= most and not any(ord(ch) < 32 or ord(ch) == 127 for ch in text)
