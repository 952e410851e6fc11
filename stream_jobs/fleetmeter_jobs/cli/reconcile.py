"""`fleetmeter reconcile`: does what was counted follow from what Kafka holds, to the record and the event?"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from fleetmeter_jobs.audit.identities import restored_beside_workers
from fleetmeter_jobs.audit.one_log import OneLog
from fleetmeter_jobs.audit.shared_facts import facts_elsewhere, known_to, rows_left
from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.kafka import log_ends
from fleetmeter_jobs.cli.ledger import audit_store, restore_core
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.oracle import Comparison, compare, read_oracle
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress
from fleetmeter_jobs.ledger.clickhouse_http import ClickHouseHttp
from fleetmeter_jobs.ledger.errors import DedupStateError
from fleetmeter_jobs.ledger.store import Tally
from fleetmeter_jobs.reconcile import Line, Report, SharedFacts, describe, notes, reconcile
from fleetmeter_jobs.settings import Settings

app = command_app()

POLL_S: Final = 0.25
SHOWN_DIFFERENCES: Final = 20

Wait = Annotated[
    float, typer.Option("--wait", min=0, metavar="SECONDS", help="Wait so long for pending records to be counted.")
]

COLUMNS: Final = (
    "kafka_records",
    "events_in",
    "accepted",
    "duplicates",
    "rejected",
    "offsets_span",
    "offsets_committed",
    "pending",
    "skipped",
    "lost",
    "double_counted",
)


OracleFile = Annotated[
    Path | None, typer.Option("--oracle", help="Compare with what `fleetmeter simulate` says must be counted.")
]


@app.command("reconcile")
def reconcile_command(
    wait: Wait = 0.0,
    oracle: OracleFile = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Prove that every Kafka record was counted exactly once; exit 1 if not.

    Offsets, events, rollup rows and quarantine rows are counted independently of one another and compared, for each
    partition. Records that no worker has committed yet are pending, not lost; with --wait, pending ones that remain
    after the time also exit 1.

    Example: fleetmeter reconcile --wait 60 --json
    """
    settings = settings_of_stack(data_dir, setting)
    expected = None if oracle is None else read_oracle(oracle)
    report = drained_report(settings, wait, quiet=as_json)
    if settings.topic not in {each.partition.topic for each in report.partitions}:
        raise CommandError(
            f"Kafka at {settings.kafka_bootstrap} has no topic {settings.topic}, and nothing of it was ever counted: "
            "there is nothing to compare. Create it, or give the right one with -s topic=NAME.",
            Exit.KAFKA,
        )
    comparison = None if expected is None else compare(settings, expected, report.total)
    ok = report.ok and not (wait and report.total.pending) and not (comparison and comparison.differences)
    if as_json:
        print_json(report.as_dict() | {"ok": ok} | ({"oracle": comparison.as_dict()} if comparison else {}))
    else:
        print_report(report)
        if comparison is not None:
            print_comparison(comparison)
    if not ok:
        raise typer.Exit(Exit.NO)


def audit(settings: Settings) -> Report:
    """One audit, now. Raises CommandError (Kafka), LedgerError (ClickHouse)."""
    store = audit_store(settings)
    counted = {row[0] for row in store.http.rows("SELECT DISTINCT topic FROM ledger WHERE row_kind = 'marker'")}
    return reconcile(
        store, lambda: log_ends(settings, {settings.topic, *counted}), partial(shared_facts, settings, store.http)
    )


def shared_facts(settings: Settings, http: ClickHouseHttp, tally: Tally) -> SharedFacts:
    """Which facts of a log were accepted there, and are missing in its tally since another log's rows replaced
    theirs. Raises what the store raises."""
    accepted_there = OneLog(http, tally.partition)
    try:
        core = restored_beside_workers(
            tally.partition, tally.position, partial(restore_core, settings, accepted_there), accepted_there.position
        )
    except DedupStateError:
        # Without a sound state nothing proves that the facts are elsewhere; `audit` says what is wrong.
        return SharedFacts()
    found = known_to(core, facts_elsewhere(http, tally.partition))
    replaced = tally.facts - rows_left(http, tally)
    return found._replace(accepted=found.accepted - replaced)


def drained_report(
    settings: Settings, wait_s: float, *, quiet: bool, clock: Callable[[], float] = time.monotonic
) -> Report:
    """The audit, repeated until nothing is pending or the time is over."""
    deadline = clock() + wait_s
    report = audit(settings)
    with progress(quiet=quiet) as display:
        task = display.add_task("Waiting for the workers", total=None, detail="")
        while report.total.pending and clock() < deadline:
            total = report.total
            done = total.kafka_records - total.pending
            display.update(task, total=total.kafka_records, completed=done, detail=f"{total.pending:,} records pending")
            time.sleep(POLL_S)
            report = audit(settings)
    return report


def print_report(report: Report) -> None:
    """The audit for people: a row a partition, the total, and what is wrong in words."""
    rows = [
        [f"{each.partition.topic}/{each.partition.partition}", *_numbers(each.line), _mark(ok=each.ok)]
        for each in report.partitions
    ]
    rows.append([Text("total", "bold"), *_numbers(report.total), _mark(ok=report.ok)])
    print_table(("partition", *(name.replace("_", " ") for name in COLUMNS), ""), rows)
    for note in notes(report):
        console.print(Text(note, "yellow"))
    for problem in describe(report):
        console.print(Text(problem, "red"))
    console.print(verdict(report))


def verdict(report: Report) -> Text:
    """The one line that matters."""
    total = report.total
    counts = f"{total.lost:,} lost / {total.double_counted:,} double-counted"
    if not report.ok:
        return Text(f"NOT RECONCILED: {counts}; see the problems above.", "bold red")
    pending = f"; {total.pending:,} records wait to be counted" if total.pending else ""
    skipped = f"; {total.skipped:,} left out by operators, see above" if total.skipped else ""
    return Text(f"Reconciled: {counts}{pending}{skipped}.", "bold yellow" if skipped else "bold green")


def print_comparison(comparison: Comparison) -> None:
    """The comparison with an oracle, for people: the first differences, or that there are none."""
    for difference in comparison.differences[:SHOWN_DIFFERENCES]:
        console.print(Text(difference, "red"))
    count = len(comparison.differences)
    if count > SHOWN_DIFFERENCES:
        console.print(Text(f"... and {count - SHOWN_DIFFERENCES:,} more; --json prints all.", "red"))
    if not count:
        console.print(Text(f"All {comparison.figures:,} figures of the oracle are met.", "bold green"))


def _numbers(line: Line) -> list[int]:
    return [getattr(line, name) for name in COLUMNS]


def _mark(*, ok: bool) -> Text:
    return Text("ok", "green") if ok else Text("NOT OK", "bold red")
