"""The canonical form of an export: JSON lines in a fixed order, one file a kind, byte for byte comparable.

rollups        usage by minute and all dimensions, with all measures (what is empty or 0 is left out)
quarantine     what was refused: reason, field, and the event (decoded if it is JSON, its bytes as Latin-1 if not)
facts          events that keep a row of their own: identity, account, type, time
subjects       who was seen, by account and day, first and last
completeness   what was counted, how far the watermark is, and of each hour whether it is complete

Left out is what may differ between runs of one input: offsets and partitions, when commits were made and by whom,
how many records the events came in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fleetmeter_schemas.timestamps import format_rfc3339, parse_rfc3339

from fleetmeter_golden.recording import RECORDED, moved

KINDS: Final = ("rollups", "quarantine", "facts", "subjects", "completeness")
DAY_US: Final = 86_400_000_000

Export = dict[str, str]
"""By kind: the file's text."""


def canonical(kinds: Mapping[str, Iterable[Mapping[str, Any]]]) -> Export:
    """Rows of each kind as text; the order of rows and of names in them does not matter."""
    assert set(kinds) == set(KINDS)
    return {kind: "".join(sorted(_line(row) for row in rows)) for kind, rows in kinds.items()}


def read_export() -> Export:
    """The recorded export."""
    return {kind: (RECORDED / f"{kind}.jsonl").read_text(encoding="utf-8") for kind in KINDS}


def write_export(export: Export) -> None:
    """Record an export."""
    for kind, text in export.items():
        (RECORDED / f"{kind}.jsonl").write_text(text, encoding="utf-8")


def time_text(time_us: int, days: int) -> str:
    """A time of a run whose input was moved by so many days, as it was recorded."""
    return format_rfc3339(time_us - days * DAY_US)


def payload_value(payload: bytes, days: int) -> Any:
    """A refused payload for comparison: an Arrow row, a JSON text and headers of the same event are the same."""
    recorded = moved(payload, -days) or b""
    try:
        event = json.loads(recorded, object_pairs_hook=_members)
    except ValueError:
        return recorded.decode("latin-1")
    return event


def _members(pairs: list[tuple[str, Any]]) -> Any:
    """An object; one with a name that stands there twice as the list of its members, so that nothing is hidden."""
    known = dict(pairs)
    if len(known) < len(pairs):
        return [list(pair) for pair in pairs]
    known.pop("datacontenttype", None)  # of binary mode; no recorded event has it
    if isinstance(known.get("time"), str):
        try:
            known["time"] = format_rfc3339(parse_rfc3339(known["time"]))
        except ValueError:
            return known
    return known


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
