"""Comparing what was counted with what a simulation says must be counted: every figure of it."""

# ruff: noqa: S608  (statements are put together from our own constants only)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from fleetmeter_producers.simulator import verify_oracle
from fleetmeter_schemas.events import EVENT_TYPES
from fleetmeter_schemas.fields import Kind, field_table
from fleetmeter_schemas.tables import TABLES, USAGE_SUBJECTS

from fleetmeter_jobs.audit.shared_facts import FACT_TABLES
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
    """Every measure of every account, model and mode; every minute; every quantity of every kind of fact; the distinct
    subjects of every account; every reason of refusal; and the totals.

    The topic must hold nothing but the simulation's events.
    """
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = usage(client, GROUP)
        minutes = usage(client, ("minute", "event_type"))
        reasons = {reason: rows for reason, rows, _, _ in count_by_reason(client, settings.topic)}
        beside = dict(_facts_and_subjects(client))
    differences = [str(difference) for difference in verify_oracle(oracle, rows)]
    expected: dict[tuple[str, ...], int] = {("totals", name): oracle["counts"][name] for name in COUNTS}
    expected |= {("refused", reason): count for reason, count in oracle["rejected_by_reason"].items()}
    expected |= {(each["minute"], each["event_type"]): each["events"] for each in oracle["minutes"]}
    for each in oracle["facts"]:
        amounts = {"events": each["events"], **each["sums"]}
        expected |= {("facts", each["event_type"], each["kind"], name): amount for name, amount in amounts.items()}
    expected |= {
        ("distinct", each["account_id"], each["subject_kind"]): each["distinct"] for each in oracle["subjects"]
    }
    found: dict[tuple[str, ...], int] = {("totals", name): getattr(total, name) for name in COUNTS}
    found |= {("refused", reason): count for reason, count in reasons.items()}
    found |= beside
    found |= {
        (f"{row['minute']:%Y-%m-%dT%H:%M:%S.%fZ}", row["event_type"]): row["requests"] + row["fallbacks"]
        for row in minutes
    }
    for key in sorted({*expected, *found}):
        must, has = expected.get(key, 0), found.get(key, 0)
        if must != has:
            differences.append(
                f"{' / '.join(part or '-' for part in key)}: {has} found, must be {must} ({has - must:+d})"
            )
    measures = len(rows[0]) - len(GROUP) if rows else 0
    return Comparison(len(rows) * measures + len({*expected, *found}), tuple(differences))


def _facts_and_subjects(client: Any) -> Iterator[tuple[tuple[str, ...], int]]:
    """Under the oracle's names: the events of each kind that keep a row of their own, the sums of their quantities that
    are not 0, and how many subjects each account has."""
    quantities = {
        spec.name
        for model in EVENT_TYPES.values()
        if model.COUNT_MEASURE is None
        for spec in field_table(model)
        if spec.kind in {Kind.UINT, Kind.INT}
    }
    for table in FACT_TABLES:
        columns = TABLES[table].column_names
        names = [name for name in columns if name in quantities]
        kind = "kind" if "kind" in columns else "''"
        sums = ", ".join(f"sum(toInt128(ifNull({name}, 0)))" for name in names)
        rows = client.query(f"SELECT event_type, {kind}, count(), {sums} FROM {table} FINAL GROUP BY 1, 2").result_rows
        for event_type, of_kind, *amounts in rows:
            for name, amount in zip(("events", *names), amounts, strict=True):
                if amount:
                    yield ("facts", event_type, of_kind, name), int(amount)
    distinct = f"SELECT account_id, subject_kind, uniqExact(subject) FROM {USAGE_SUBJECTS.name} GROUP BY 1, 2"
    for account, subject_kind, subjects in client.query(distinct).result_rows:
        yield ("distinct", account, subject_kind), int(subjects)
