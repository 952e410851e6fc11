"""The recorded input, and its times moved by whole days."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

RECORDED: Final = Path(__file__).resolve().parent.parent / "recorded"
END: Final = datetime(2026, 3, 1, 19, 59, 59, tzinfo=UTC)
"""Time of the last recorded event, but for one that comes from the future."""
EVENT_LIMIT_BYTES: Final = 4096
"""Of the runs: one recorded event is larger."""
_TIME: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.|Z)")


@dataclass(frozen=True)
class Sent:
    """One Kafka record."""

    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def read_input(path: Path = RECORDED / "input.jsonl") -> list[Sent]:
    """The recorded records, in the order of sending."""
    return [_sent(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def write_input(records: Iterable[Sent], path: Path = RECORDED / "input.jsonl") -> None:
    """Record an input. A value that is no UTF-8 stands there in base64."""
    path.write_text("".join(json.dumps(_line(one), ensure_ascii=False) + "\n" for one in records), encoding="utf-8")


def days_until(now: datetime) -> int:
    """By how many whole days the recorded times have to move so that the last hour is over, and at most a day ago."""
    return (now - END - timedelta(hours=1)) // timedelta(days=1)


def moved(value: bytes | None, days: int) -> bytes | None:
    """The value with every RFC 3339 time in UTC moved. What only looks like a time (30 February) stays."""
    if value is None:
        return None
    return _TIME.sub(lambda found: _moved(found[0], days), value)


def _moved(text: bytes, days: int) -> bytes:
    try:
        moment = datetime.fromisoformat(text.decode())
    except ValueError:
        return text
    return (moment + timedelta(days=days)).isoformat().encode()


def _sent(line: dict[str, str | None]) -> Sent:
    key, value = line["key"], line.get("value")
    assert key is not None
    if (encoded := line.get("base64")) is not None:
        return Sent(key.encode(), base64.b64decode(encoded))
    return Sent(key.encode(), None if value is None else value.encode())


def _line(one: Sent) -> dict[str, str | None]:
    key = one.key.decode()
    try:
        return {"key": key, "value": None if one.value is None else one.value.decode()}
    except UnicodeDecodeError:
        return {"key": key, "base64": base64.b64encode(one.value or b"").decode()}
