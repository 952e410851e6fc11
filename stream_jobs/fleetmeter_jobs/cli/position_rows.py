"""Positions and decisions as rows, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from fleetmeter_jobs.cli.output import console, print_table
from fleetmeter_jobs.ledger.decisions import NEW_EPOCH, Change
from fleetmeter_jobs.ledger.store import Decision, Reason
from fleetmeter_jobs.positions import PartitionView, Standing, TopicView

_STYLES = {Standing.MISMATCH: "bold red", Standing.NO_LOG: "red", Standing.BEHIND: "yellow", Standing.COUNTED: "green"}


def view_as_dict(view: TopicView, reasons: Mapping[str, Reason]) -> dict[str, Any]:
    """For `--json`."""
    return {
        "ok": not view.problems,
        "topic_id": view.topic.topic_id if view.topic else None,
        "partitions": [_partition_as_dict(one) for one in view.partitions],
        "decisions": [_decision_as_dict(one, reasons.get(one.nonce)) for one in view.decisions],
    }


def print_view(topic: str, view: TopicView, reasons: Mapping[str, Reason]) -> None:
    """For people: a row a partition, what was decided before, and what is wrong in words."""
    rows = [
        (
            one.partition.partition,
            one.partition.epoch,
            one.position.next_offset if one.position else None,
            one.log.start if one.log else None,
            one.log.end if one.log else None,
            one.position.totals.skipped_offsets if one.position else None,
            f"{one.position.tail.leader_epoch}/{one.position.tail.crc:08x}" if one.position else None,
            Text(one.standing.value, _STYLES.get(one.standing, "")),
        )
        for one in view.partitions
    ]
    columns = ("partition", "epoch", "position", "log start", "log end", "skipped", "tail (leader epoch/CRC)", "")
    print_table(columns, rows, title=topic)
    for decision in view.decisions:
        reason = reasons.get(decision.nonce)
        by = f"{reason.who}, {reason.decided_at:%Y-%m-%d %H:%M} UTC: {reason.reason}" if reason else "nobody known"
        what = f"{decision.partition}: {decision.kind} {decision.first_offset} -> {decision.next_offset}"
        console.print(Text(f"{what} by {by}", "yellow"))
    for problem in view.problems:
        console.print(Text(problem, "red"), soft_wrap=True)
    if not view.problems:
        console.print(Text("Every position lies in its log.", "bold green"))


def change_as_dict(change: Change, outcome: str) -> dict[str, Any]:
    """One decision and what came of it, for `--json`."""
    return {
        "kind": change.kind,
        "topic": change.partition.topic,
        "partition": change.partition.partition,
        "from": {"epoch": change.partition.epoch, "offset": change.position.next_offset},
        "to": {"epoch": change.to.epoch, "offset": change.next_offset},
        "skipped_offsets": change.skipped_offsets,
        "log": {"start": change.log.start, "end": change.log.end},
        "outcome": outcome,
    }


def print_changes(outcomes: Sequence[tuple[Change, str]], *, done: bool) -> None:
    """Decisions and what came of each, for people."""
    for change, outcome in outcomes:
        console.print(Text(f"{_sentence(change)} [{outcome}]", "red" if outcome.startswith("overtaken") else ""))
    if not outcomes:
        console.print("No partition stands still for a new epoch.")
    elif not done:
        console.print(Text("Nothing was changed. The same command with --yes does it.", "bold"))


def _sentence(change: Change) -> str:
    log = f"Kafka's log goes from {change.log.start} to {change.log.end}"
    if change.kind == NEW_EPOCH:
        left_out = f", leaving out {change.skipped_offsets:,} offsets" if change.skipped_offsets else ""
        return (
            f"{change.partition} is closed at {change.position.next_offset}, and {change.to} begins at "
            f"{change.next_offset}{left_out}; {log}."
        )
    return (
        f"{change.partition} moves from {change.position.next_offset} to {change.next_offset}, leaving out "
        f"{change.skipped_offsets:,} offsets that will never be counted; {log}."
    )


def _partition_as_dict(one: PartitionView) -> dict[str, Any]:
    return {
        "partition": one.partition.partition,
        "epoch": one.partition.epoch,
        "position": one.position.next_offset if one.position else None,
        "first_offset": one.position.first_offset if one.position else None,
        "skipped_offsets": one.position.totals.skipped_offsets if one.position else None,
        "log": asdict(one.log) if one.log else None,
        "tail": asdict(one.position.tail) if one.position else None,
        "standing": one.standing.value,
        "problem": one.problem,
        "command": one.mismatch.command if one.mismatch else None,
    }


def _decision_as_dict(decision: Decision, reason: Reason | None) -> dict[str, Any]:
    return {**asdict(decision), **(asdict(reason) if reason else {"who": None, "reason": None, "decided_at": None})}
