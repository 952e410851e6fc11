"""What the demo has to tell: what was sent, what was counted, whether it agrees, and what it shows of the fleet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fleetmeter_producers.simulator import SimulationSummary
from fleetmeter_sql.named_queries import load_query, run_query

from fleetmeter_jobs.cli.demo_invoice import Bill
from fleetmeter_jobs.cli.oracle import Comparison
from fleetmeter_jobs.cli.quarantine_rows import count_by_reason
from fleetmeter_jobs.reconcile import Report
from fleetmeter_jobs.settings import Settings
from fleetmeter_jobs.usage import usage

TOP_ROWS: Final = 6

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """Where queries were answered, over all accounts. Devices report estimates with bounds, never single queries."""

    on_devices: int
    on_devices_lower: int
    on_devices_upper: int
    in_cloud: int
    on_own_servers: int
    fallbacks: int
    """Of the latter two, those that a device had tried first."""

    @property
    def stayed_local(self) -> float:
        """Of the queries that a device tried, the share that it answered itself."""
        tried = self.on_devices + self.fallbacks
        return self.on_devices / tried if tried else 0.0


@dataclass(frozen=True, slots=True)
class Story:
    """The demo's findings. Rows have dimensions and all measures, as `fleetmeter usage` gives them."""

    summary: SimulationSummary
    report: Report
    comparison: Comparison
    workers: int
    counted_s: float
    """From the first event sent to the last one committed."""
    commits: int
    rollup_rows: int
    top_accounts: tuple[Row, ...]
    by_model: tuple[Row, ...]
    answered: Answered
    refused: tuple[tuple[str, int, str], ...]
    """Reason, number, and the sentence of one of them."""
    bill: Bill | None = None
    """One account's invoice; None if the period could not be closed."""

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing doubled, nothing left, every figure as the oracle says, and a bill that adds up."""
        counted = self.report.ok and not self.report.total.pending and not self.comparison.differences
        return counted and (self.bill is None or self.bill.explanation.ok)

    @property
    def events_per_s(self) -> float:
        """From producer to committed rollup, all on this machine."""
        return self.summary.events_in / self.counted_s

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "ok": self.ok,
            "sent": asdict(self.summary),
            "reconciliation": self.report.as_dict(),
            "oracle": self.comparison.as_dict(),
            "workers": self.workers,
            "counted_s": round(self.counted_s, 3),
            "events_per_s": round(self.events_per_s),
            "commits": self.commits,
            "rollup_rows": self.rollup_rows,
            "top_accounts": list(self.top_accounts),
            "by_model": list(self.by_model),
            "answered": asdict(self.answered),
            "refused": [{"reason": reason, "events": count, "example": text} for reason, count, text in self.refused],
            "bill": None if self.bill is None else self.bill.as_dict(),
        }


def tell(
    client: Any,
    settings: Settings,
    summary: SimulationSummary,
    report: Report,
    comparison: Comparison,
    *,
    workers: int,
    counted_s: float,
) -> Story:
    """Asks the store for the rest of the story. `client` is in the settings' database."""
    generations = {"event_type": "generation"}
    commits = client.query("SELECT sum(commits) FROM ingest_positions").result_rows[0][0]
    rollup_rows = client.query("SELECT count() FROM usage_minutes").result_rows[0][0]
    accounts = usage(client, ("account_id",))
    models = usage(client, ("model", "generation_mode", "placement"), filters=generations)
    refused = count_by_reason(client, settings.topic)
    return Story(
        summary=summary,
        report=report,
        comparison=comparison,
        workers=workers,
        counted_s=counted_s,
        commits=int(commits),
        rollup_rows=int(rollup_rows),
        top_accounts=tuple(_largest(accounts)[:TOP_ROWS]),
        by_model=tuple(_largest(models)),
        answered=_answered(client),
        refused=tuple((reason, count, sentence) for reason, count, _, sentence in refused),
    )


def _answered(client: Any) -> Answered:
    answer = run_query(client, load_query("local_share"))
    rows = [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]

    def total(*columns: str) -> int:
        return sum(int(row[column]) for row in rows for column in columns)

    return Answered(
        on_devices=total("metered_local", "estimated_local"),
        on_devices_lower=total("metered_local", "estimated_local_lower"),
        on_devices_upper=total("metered_local", "estimated_local_upper"),
        in_cloud=total("cloud", "placement_unknown"),
        on_own_servers=total("on_prem"),
        fallbacks=total("fallbacks"),
    )


def _largest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: -row["requests"])
