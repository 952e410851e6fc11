"""The audit: for every partition, does what was counted follow from what Kafka holds, to the record and the event?

- offsets: next - first = records + control + aborted offsets + those that operators have skipped; a hole was lost, a
  surplus was counted twice. A skip is no loss of the pipeline, but never passes without a word: who, when and why
- events: events in = accepted + duplicates + rejected
- rollups: requests + fallbacks + facts = accepted, counted from the rows and not from the markers
- quarantine: rows = rejected
- log: start <= position <= end; what retention took unread is lost
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from fleetmeter_jobs.ledger.decisions import GROWTH_STEPS, NEW_EPOCH
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.ledger.store import AuditStore, Decision, Reason, Tally


class LogEnds(NamedTuple):
    """Kafka's own word on one partition: the first offset it still holds, and the offset after the last."""

    start: int
    end: int


class SharedFacts(NamedTuple):
    """Of a log that lacks rows of facts, those whose row carries another log's coordinates."""

    accepted: int = 0
    """It accepted them too: one row stands for both."""
    forgotten: int = 0
    """Nothing tells any more whether it did, for they are older than what is remembered."""


@dataclass(frozen=True, slots=True)
class Line:
    """The audit's figures of one partition, or their sums over several."""

    kafka_records: int = 0
    """Offsets of the log since counting began, those that retention has taken since included."""
    events_in: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    counted: int = 0
    """Events found in usage rows and facts."""
    quarantined: int = 0
    """Rows found in quarantine."""
    offsets_span: int = 0
    """From where counting began to the position."""
    offsets_committed: int = 0
    """Offsets that commits say they account for."""
    pending: int = 0
    """Offsets in Kafka that are not committed yet."""
    shared: int = 0
    """Facts that another partition accepted too; its row stands for both."""
    skipped: int = 0
    """Offsets that operators have decided not to count."""
    lost: int = 0
    double_counted: int = 0


@dataclass(frozen=True, slots=True)
class PartitionReport:
    """One partition's line, and what is wrong with it, in sentences."""

    partition: PartitionId
    line: Line
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    """What operators have decided about it, in sentences: no problem, but nothing to overlook either."""

    @property
    def ok(self) -> bool:
        """Whether this partition is counted exactly."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Report:
    """The whole audit."""

    partitions: tuple[PartitionReport, ...]

    @property
    def total(self) -> Line:
        """The sums over all partitions."""
        return Line(*(sum(getattr(p.line, field.name) for p in self.partitions) for field in fields(Line)))

    @property
    def ok(self) -> bool:
        """Whether every partition is counted exactly. True while events are still pending."""
        return all(partition.ok for partition in self.partitions)

    def as_dict(self) -> dict[str, object]:
        """For `--json`: the total, and each partition with its problems."""
        return {
            "ok": self.ok,
            **_values(self.total),
            "partitions": [
                {
                    "topic": report.partition.topic,
                    "partition": report.partition.partition,
                    "epoch": report.partition.epoch,
                    "ok": report.ok,
                    **_values(report.line),
                    "problems": list(report.problems),
                    "notes": list(report.notes),
                }
                for report in self.partitions
            ],
        }


def reconcile(
    store: AuditStore,
    kafka_ends: Callable[[], Mapping[tuple[str, int], LogEnds]],
    shared_facts: Callable[[Tally], SharedFacts] = lambda _tally: SharedFacts(),
) -> Report:
    """Audit every partition that the ledger or Kafka knows.

    `kafka_ends` gives the log's ends by (topic, partition). It is called after the ledger was read, so that beside
    running workers the logs can only be ahead of the ledger. `shared_facts` is asked about a partition that lacks rows
    of facts: which facts it accepted whose row carries another partition's coordinates. Of a partition with several
    log epochs, only the newest is compared to Kafka; the others' logs are gone.
    """
    tallies = store.tallies()
    reasons = store.reasons()
    logs = kafka_ends()
    newest = {(t.partition.topic, t.partition.partition): t.partition.epoch for t in tallies}  # in order of epoch
    reports = []
    for tally in tallies:
        key = (tally.partition.topic, tally.partition.partition)
        is_newest = newest[key] == tally.partition.epoch
        reports.append(_audit(tally, logs.get(key), reasons, shared_facts, is_newest=is_newest))
    for (topic, partition), ends in logs.items():
        if (topic, partition) not in newest:
            records = ends.end - ends.start
            line = Line(kafka_records=records, pending=records)
            reports.append(PartitionReport(PartitionId(topic, partition), line, ()))
    return Report(tuple(sorted(reports, key=lambda report: report.partition)))


def _audit(
    tally: Tally,
    ends: LogEnds | None,
    reasons: Mapping[str, Reason],
    shared_facts: Callable[[Tally], SharedFacts],
    *,
    is_newest: bool,
) -> PartitionReport:
    position, totals = tally.position, tally.position.totals
    span, committed = position.next_offset - position.first_offset, totals.offsets
    counted = tally.usage_events + tally.facts
    elsewhere = shared_facts(tally) if counted < totals.accepted else SharedFacts()
    shared = max(0, min(elsewhere.accepted, totals.accepted - counted))
    lost, double_counted, problems = 0, 0, list[str]()

    def compare(should: int, found: int, what: str) -> None:
        nonlocal lost, double_counted
        if found < should:
            lost += should - found
            problems.append(f"{what}: {found} found, {should} expected: {should - found} lost")
        elif found > should:
            double_counted += found - should
            problems.append(f"{what}: {found} found, {should} expected: {found - should} counted twice")

    compare(span, committed, f"offsets {position.first_offset} to {position.next_offset} accounted for")
    compare(totals.accepted, counted + shared, "accepted events in usage rows and facts")
    if counted + shared < totals.accepted and elsewhere.forgotten:
        problems[-1] += (
            f". Up to {elsewhere.forgotten} of them may be facts that another partition accepted too, longer ago than "
            "ids are remembered, and whose rows are there; an earlier report says how many it shared"
        )
    if totals.events_in != totals.accepted + totals.duplicates + totals.rejected:
        problems.append(
            f"{totals.events_in} events in are not {totals.accepted} accepted + {totals.duplicates} duplicates "
            f"+ {totals.rejected} rejected"
        )
    if tally.quarantined != totals.rejected:
        lost += max(0, totals.rejected - tally.quarantined)
        problems.append(f"quarantine has {tally.quarantined} rows for {totals.rejected} rejected events")
    notes = [_note(decision, reasons.get(decision.nonce)) for decision in tally.decisions]
    problems += [
        f"the {decision.kind} of offsets {decision.first_offset} to {decision.next_offset} has no row in "
        "position_changes: it was not made by `fleetmeter positions`"
        for decision in tally.decisions
        if decision.nonce not in reasons
    ]
    if shared:
        notes.append(
            f"{shared} facts were accepted by another partition too, and one row stands for both: not lost, but a "
            "producer sends one event to two partitions. `fleetmeter audit sources` finds it"
        )
    skipped = sum(decision.skipped_offsets for decision in tally.decisions)
    if skipped != totals.skipped_offsets:
        problems.append(
            f"{totals.skipped_offsets} offsets are accounted for as skipped, but operators have skipped {skipped}"
        )
    pending, log_end = 0, position.next_offset
    if is_newest and ends is None:
        problems.append("the ledger knows this partition, Kafka does not: was the topic deleted?")
    elif is_newest and ends is not None:
        log_end = ends.end
        pending = max(0, ends.end - max(position.next_offset, ends.start))
        if position.next_offset > ends.end:
            problems.append(
                f"the position {position.next_offset} lies beyond the log's end {ends.end}: another log? "
                "`fleetmeter positions show` tells, and how to go on"
            )
        if position.next_offset < ends.start:
            gone = ends.start - position.next_offset
            lost += gone
            problems.append(
                f"retention took {gone} offsets from {position.next_offset} on before they were counted; "
                "`fleetmeter positions show` tells how to go on"
            )
    line = Line(
        kafka_records=max(log_end, position.next_offset) - position.first_offset,
        events_in=totals.events_in,
        accepted=totals.accepted,
        duplicates=totals.duplicates,
        rejected=totals.rejected,
        counted=counted,
        quarantined=tally.quarantined,
        offsets_span=span,
        offsets_committed=committed,
        pending=pending,
        shared=shared,
        skipped=totals.skipped_offsets,
        lost=lost,
        double_counted=double_counted,
    )
    return PartitionReport(tally.partition, line, tuple(problems), tuple(notes))


def _note(decision: Decision, reason: Reason | None) -> str:
    by = f"{reason.who} on {reason.decided_at:%Y-%m-%d %H:%M} UTC: {reason.reason}" if reason else "nobody known"
    if decision.kind == NEW_EPOCH:
        left_out = f", leaving out {decision.skipped_offsets} offsets," if decision.skipped_offsets else ""
        return f"log epoch {decision.partition.epoch} was begun at offset {decision.next_offset}{left_out} by {by}"
    if decision.kind in GROWTH_STEPS:
        return f"log epoch {decision.partition.epoch} goes on at offset {decision.next_offset}, by {by}"
    span = f"offsets {decision.first_offset} to {decision.next_offset} ({decision.skipped_offsets})"
    return f"{span} were left out by decision of {by}"


def _values(line: Line) -> dict[str, int]:
    return {field.name: getattr(line, field.name) for field in fields(line)}


def notes(report: Report) -> Sequence[str]:
    """Each decision of an operator as one line that names its partition, for people."""
    return [f"{each.partition}: {note}" for each in report.partitions for note in each.notes]


def describe(report: Report) -> Sequence[str]:
    """Each problem as one line that names its partition, for people."""
    return [f"{each.partition}: {problem}" for each in report.partitions for problem in each.problems]
