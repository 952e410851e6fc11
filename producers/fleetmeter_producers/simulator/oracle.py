"""What must be counted, by plain addition over what the broker acknowledged, and nothing the pipeline has touched.

The oracle file is JSON:

- `complete`: false if some records were not acknowledged, so that nobody knows whether they arrived;
- `counts`: records, events_in = accepted + duplicates + rejected, and how many of the accepted ones came late;
- `rejected_by_reason`, `accepted_by_type`;
- `usage`: for each account, model, generation mode and event type all measures that are not 0, samples included;
- `minutes`: for each minute (start, RFC 3339) and event type the events that rollups count;
- `facts`: for each type and kind of the others how many events, and the sums of their quantities;
- `subjects`: for each account and kind of subject how many distinct ones.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.fields import Kind, Role, field_table
from fleetmeter_schemas.reasons import Reason

from fleetmeter_producers.simulator.planned import Body, Broken, Items, Planned, Subjects
from fleetmeter_producers.wire import format_time

ORACLE_VERSION: Final = 1
KEY: Final = ("account_id", "model", "generation_mode", "event_type")
_MINUTE_US: Final = 60_000_000


class Oracle:
    """Counts records as the broker acknowledges them, in any order; an event counts once, whichever copy came."""

    def __init__(self, distinct_limit: int) -> None:
        self._seen = bytearray(distinct_limit)
        self._bodies: Counter[tuple[str, Body]] = Counter()
        self._subjects: defaultdict[str, set[Subjects]] = defaultdict(set)
        self._minutes: Counter[tuple[int, str]] = Counter()
        self._rejected: Counter[Reason] = Counter()
        self.records = self.accepted = self.duplicates = self.late = 0

    @property
    def rejected(self) -> int:
        """Events and records that must be refused."""
        return self._rejected.total()

    def acknowledge(self, items: Items) -> None:
        """The broker has a record with these events."""
        self.records += 1
        for item in items:
            if isinstance(item, Broken):
                self._rejected[item.reason] += 1
            else:
                self._count(item)

    def _count(self, event: Planned) -> None:
        number, body, subjects, _, account, _, _, time_us, late = event
        if self._seen[number]:
            self.duplicates += 1
            return
        self._seen[number] = 1
        self.accepted += 1
        self.late += late
        self._bodies[account, body] += 1
        self._subjects[account].add(subjects)
        if body.counted:
            self._minutes[time_us // _MINUTE_US, body.short] += 1

    def as_dict(self, *, complete: bool) -> dict[str, Any]:
        """The oracle file's content."""
        types: Counter[str] = Counter()
        for (_, body), times in self._bodies.items():
            types[body.short] += times
        return {
            "version": ORACLE_VERSION,
            "complete": complete,
            "counts": {
                "records": self.records,
                "events_in": self.accepted + self.duplicates + self.rejected,
                "accepted": self.accepted,
                "duplicates": self.duplicates,
                "rejected": self.rejected,
                "late": self.late,
            },
            "rejected_by_reason": {reason.code: self._rejected[reason] for reason in Reason if self._rejected[reason]},
            "accepted_by_type": dict(sorted(types.items())),
            "usage": self._usage(),
            "minutes": [
                {"minute": format_time(minute * _MINUTE_US), "event_type": short, "events": events}
                for (minute, short), events in sorted(self._minutes.items())
            ],
            "facts": self._facts(),
            "subjects": self._distinct(),
        }

    def _usage(self) -> list[dict[str, Any]]:
        sums: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        measures = {body: _measures(body) for body in {body for _, body in self._bodies} if body.counted}
        for (account, body), times in self._bodies.items():
            if body.counted:
                group = sums[account, body.data["model"], body.data.get("generation_mode", ""), body.short]
                for measure, amount in measures[body]:
                    group[measure] += times * amount
        return [dict(zip(KEY, key, strict=True)) | dict(+sums[key]) for key in sorted(sums)]

    def _facts(self) -> list[dict[str, Any]]:
        events: Counter[tuple[str, str]] = Counter()
        sums: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        for (_, body), times in self._bodies.items():
            if body.counted:
                continue
            key = (body.short, body.data.get("kind", ""))
            events[key] += times
            for spec in field_table(EVENT_TYPES[body.type_name]):
                if spec.kind in {Kind.UINT, Kind.INT} and spec.name in body.data:
                    sums[key][spec.name] += times * body.data[spec.name]
        return [
            {"event_type": short, "kind": kind, "events": events[short, kind], "sums": dict(sums[short, kind])}
            for short, kind in sorted(events)
        ]

    def _distinct(self) -> list[dict[str, Any]]:
        rows = []
        for account, members in sorted(self._subjects.items()):
            pseudonyms: defaultdict[str, set[str]] = defaultdict(set)
            for subjects in members:
                for kind, pseudonym in subjects.fields.items():
                    pseudonyms[kind].add(pseudonym)
            rows += [
                {"account_id": account, "subject_kind": kind, "distinct": len(pseudonyms[kind])}
                for kind in sorted(pseudonyms)
            ]
        return rows


def _measures(body: Body) -> list[tuple[str, int]]:
    """What one event with this body adds: itself, each reported measure, and a sample of it."""
    model = EVENT_TYPES[body.type_name]
    added = [(str(model.COUNT_MEASURE), 1)]
    for spec in field_table(model):
        if spec.role is Role.MEASURE and spec.name in body.data:
            added.append((spec.name, body.data[spec.name]))
            if spec.samples:
                added.append((spec.samples_name, 1))
    return added


def write_oracle(path: Path, oracle: Mapping[str, Any]) -> None:
    """Put the file in its place whole, or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_bytes(orjson.dumps(oracle, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    os.replace(draft, path)  # noqa: PTH105  (it says what is meant: over the old one)
