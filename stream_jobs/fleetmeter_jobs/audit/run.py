"""All checks, one after the other, each as far as it gets: one that can't be made does not keep the others from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from fleetmeter_sql.client import SqlClient

from fleetmeter_jobs.audit.chain import check_chain
from fleetmeter_jobs.audit.chunks import check_chunks
from fleetmeter_jobs.audit.derived import check_derived
from fleetmeter_jobs.audit.findings import Checked, Finding
from fleetmeter_jobs.audit.identities import RestoreState, check_identities
from fleetmeter_jobs.audit.strays import check_strays
from fleetmeter_jobs.audit.tables import check_tables
from fleetmeter_jobs.errors import TopicRefusedError
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.errors import LedgerError
from fleetmeter_jobs.ledger.pinned import READ_SETTINGS
from fleetmeter_jobs.ledger.position import PartitionId, Position
from fleetmeter_jobs.positions import Standing, look
from fleetmeter_jobs.reconcile import Report, describe, notes
from fleetmeter_jobs.settings import Settings

_STALE: Final = timedelta(hours=1)
"""A watermark so far behind its topic's furthest is worth a note: every open minute waits for it."""


@dataclass(frozen=True, slots=True)
class AuditContext:
    """What the checks look at."""

    settings: Settings
    store: ClickHouseStore
    client: SqlClient
    """Of no database, as `connect` opens it."""
    reconcile: Callable[[], Report]
    restore: RestoreState
    progress: Callable[[str], None]


def run_checks(context: AuditContext, names: tuple[str, ...] | None = None) -> list[Checked]:
    """Make the named checks (all if None), in order. Raises what Kafka and ClickHouse raise when they are away."""
    return [_made(name, context) for name in CHECKS if names is None or name in names]


def _made(name: str, context: AuditContext) -> Checked:
    try:
        return CHECKS[name](context)
    except (LedgerError, TopicRefusedError) as error:
        # What ClickHouse refuses, or has no time or memory for, keeps nobody from the other checks. If it is away, this
        # raises.
        context.store.http.rows("SELECT 1")
        return Checked(name, "could not be made", (Finding(f"This could not be checked: {error}."),))


def _topics(context: AuditContext) -> list[str]:
    rows = context.store.http.rows(
        "SELECT DISTINCT topic FROM ledger WHERE row_kind = 'marker' ORDER BY topic", settings=READ_SETTINGS
    )
    return sorted({context.settings.topic, *(topic for (topic,) in rows)})


def _tables(context: AuditContext) -> Checked:
    context.progress("definitions")
    return check_tables(context.client, context.settings)


def _positions(context: AuditContext) -> Checked:
    findings, partitions = [], 0
    for topic in _topics(context):
        context.progress(topic)
        view = look(context.store, context.settings.kafka_access, topic, context.store.partitions(topic))
        partitions += len(view.partitions)
        findings += [Finding(f"{problem}.") for problem in view.problems]
        if view.topic is None and not view.partitions:
            findings.append(Finding(f"Topic {topic} does not exist yet.", "Create it, or set FLEETMETER_TOPIC."))
        for one in view.partitions:
            if one.standing is Standing.NOT_BEGUN and one.log is not None and one.log.end > one.log.start:
                sentence = f"{one.partition} holds {one.log.end - one.log.start} offsets, and no worker has taken it."
                findings.append(
                    Finding(sentence, "Start a worker; `fleetmeter status` shows which run.", is_problem=False)
                )
    return Checked("positions", f"{partitions} partitions against Kafka's logs", tuple(findings))


def _arithmetic(context: AuditContext) -> Checked:
    context.progress("markers, rollups, facts, quarantine")
    report = context.reconcile()
    total = report.total
    examined = (
        f"{total.offsets_span:,} offsets, {total.events_in:,} events, {total.accepted:,} accepted, "
        f"{total.rejected:,} in quarantine"
    )
    found = [Finding(f"{problem}.") for problem in describe(report)]
    found += [Finding(f"{note}.", is_problem=False) for note in notes(report)]
    return Checked("arithmetic", examined, tuple(found))


def _chain(context: AuditContext) -> Checked:
    context.progress("markers")
    return check_chain(context.store.http)


def _strays(context: AuditContext) -> Checked:
    context.progress("side tables")
    return check_strays(context.store.http)


def _derived(context: AuditContext) -> Checked:
    return check_derived(context.store.http, context.progress)


def _logs(context: AuditContext) -> list[list[tuple[PartitionId, Position]]]:
    """Of each Kafka partition all log epochs, oldest first."""
    found = (
        context.store.epochs(topic, number) for topic in _topics(context) for number in context.store.partitions(topic)
    )
    return [epochs for epochs in found if epochs]


def _identities(context: AuditContext) -> Checked:
    newest = [epochs[-1] for epochs in _logs(context)]
    return check_identities(newest, context.restore, context.store.position, context.progress)


def _chunks(context: AuditContext) -> Checked:
    logs = [log for epochs in _logs(context) for log in epochs]
    return check_chunks(context.store, logs, context.progress)


def _completeness(context: AuditContext) -> Checked:
    context.progress("watermarks")
    rows = context.store.http.rows(
        "SELECT topic, partition, toUnixTimestamp64Milli(watermark), "
        "toUnixTimestamp64Milli(max(watermark) OVER (PARTITION BY topic)) FROM usage_completeness "
        "ORDER BY topic, partition",
        settings=READ_SETTINGS,
    )
    latest = datetime.now(UTC) + timedelta(seconds=context.settings.future_limit_s)
    findings = []
    for topic, number, mark_ms, furthest_ms in rows:
        mark, furthest = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (mark_ms, furthest_ms))
        if mark > latest:
            sentence = f"{topic}-{number}: the watermark {mark:%Y-%m-%d %H:%M} UTC lies in the future."
            findings.append(Finding(sentence, "Compare the brokers' clocks with this machine's."))
        elif furthest - mark > _STALE:
            sentence = (
                f"{topic}-{number} is complete up to {mark:%Y-%m-%d %H:%M} UTC only, others up to {furthest:%H:%M}."
            )
            advice = "Every later minute waits for it: `fleetmeter positions show` tells whether it stands still."
            findings.append(Finding(sentence, advice, is_problem=False))
    return Checked("completeness", f"watermarks of {len(rows)} partitions", tuple(findings))


CHECKS: Final[dict[str, Callable[[AuditContext], Checked]]] = {
    "tables": _tables,
    "positions": _positions,
    "chain": _chain,
    "arithmetic": _arithmetic,
    "strays": _strays,
    "derived": _derived,
    "identities": _identities,
    "chunks": _chunks,
    "completeness": _completeness,
}
"""By the name that `--only` takes, in the order in which they are made."""
