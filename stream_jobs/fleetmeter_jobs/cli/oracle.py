"""Comparing what was counted with what a simulation says must be counted: every figure of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from fleetmeter_producers.simulator import verify_oracle

from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.quarantine_rows import count_by_reason
from fleetmeter_jobs.reconcile import Line
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.usage import usage

GROUP: Final = ("account_id", "model", "generation_mode", "event_type")
COUNTS: Final = ("events_in", "accepted", "duplicates", "rejected")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many figures were compared, and each that differs, in a sentence."""

    figures: int
    differences: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {"ok": not self.differences, "figures": self.figures, "differences": list(self.differences)}


def read_oracle(path: Path) -> Mapping[str, Any]:
    """The oracle file of a simulation. Raises CommandError if it is none, or knows only a part."""
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise CommandError(f"{path} is not an oracle file of `fleetmeter simulate`: {error}.") from error
    if not isinstance(document, dict) or "usage" not in document or "complete" not in document:
        raise CommandError(f"{path} is not an oracle file of `fleetmeter simulate`.")
    if not document["complete"]:
        raise CommandError(f"{path} is of an interrupted simulation: nobody knows what arrived. Simulate again.")
    return document


def compare(settings: Settings, oracle: Mapping[str, Any], total: Line) -> Comparison:
    """Every measure of every account, model and mode; every minute; every reason of refusal; and the totals.

    The topic must hold nothing but the simulation's events.
    """
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = usage(client, GROUP)
        minutes = usage(client, ("minute", "event_type"))
        reasons = {reason: rows for reason, rows, _, _ in count_by_reason(client, settings.topic)}
    differences = [str(difference) for difference in verify_oracle(oracle, rows)]
    expected = {("totals", name): oracle["counts"][name] for name in COUNTS}
    expected |= {("refused", reason): count for reason, count in oracle["rejected_by_reason"].items()}
    expected |= {(each["minute"], each["event_type"]): each["events"] for each in oracle["minutes"]}
    found = {("totals", name): getattr(total, name) for name in COUNTS}
    found |= {("refused", reason): count for reason, count in reasons.items()}
    found |= {
        (f"{row['minute']:%Y-%m-%dT%H:%M:%S.%fZ}", row["event_type"]): row["requests"] + row["fallbacks"]
        for row in minutes
    }
    for key in sorted({*expected, *found}):
        must, has = expected.get(key, 0), found.get(key, 0)
        if must != has:
            differences.append(f"{' / '.join(key)}: {has} found, must be {must} ({has - must:+d})")
    measures = len(rows[0]) - len(GROUP) if rows else 0
    return Comparison(len(rows) * measures + len({*expected, *found}), tuple(differences))
