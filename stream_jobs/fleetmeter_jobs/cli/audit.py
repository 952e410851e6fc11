"""`fleetmeter audit`: everything that can be checked, and what is wrong in words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from fleetmeter_jobs.audit import CHECKS, AuditContext, Checked, run_checks
from fleetmeter_jobs.audit.sources import SourcesReport, find_scattered_sources
from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.kafka_span import read_span, span_of
from fleetmeter_jobs.cli.ledger import audit_store, restore_core
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table, progress
from fleetmeter_jobs.cli.reconcile import audit as reconcile_now
from fleetmeter_jobs.cli.times import check_span, parse_moment
from fleetmeter_jobs.ledger.growth_moves import read_moves

app = command_app(help="Check everything that can be checked, and say in words what is wrong.")

Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="CHECK", help=f"Only these checks: {', '.join(CHECKS)}.", show_default=False),
]
_SHOWN_SOURCES = 50
_SHOWN_IDS = 3


@app.callback(invoke_without_command=True)
def audit(
    context: typer.Context,
    only: Only = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Check everything that can be checked, and say in words what is wrong. Exits 1 if anything is.

    The tables' definitions, positions against Kafka's logs, the chain of commits, the arithmetic of offsets and events,
    quarantine and facts against the ledger, the views against the ledger, each partition's identities against what it
    accepted, those that left the workers' memory against their manifests, watermarks. Changes nothing, and may run
    beside workers. `fleetmeter audit sources` looks into Kafka's records besides.

    Example: fleetmeter audit --json
    """
    if context.invoked_subcommand is not None:
        return
    if unknown := sorted(set(only or []) - set(CHECKS)):
        raise CommandError(f"--only {unknown[0]}: there is no such check; choose from {', '.join(CHECKS)}.")
    settings = settings_of_stack(data_dir, setting)
    store = audit_store(settings)
    with connect(settings) as client, progress(quiet=as_json) as display:
        task = display.add_task("Checking", total=None, detail="")
        made = run_checks(
            AuditContext(
                settings=settings,
                store=store,
                client=client,
                reconcile=lambda: reconcile_now(settings),
                restore=lambda partition, position: restore_core(settings, store, partition, position),
                progress=lambda what: display.update(task, detail=what),
            ),
            tuple(only) if only else None,
        )
    ok = all(one.ok for one in made)
    if as_json:
        print_json({"ok": ok, "checks": [one.as_dict() for one in made]})
    else:
        _print(made, ok=ok)
    if not ok:
        raise typer.Exit(Exit.NO)


@app.command("sources")
def sources(
    time_from: Annotated[str, typer.Option("--from", help="Records appended from then on, such as now-1d.")] = "now-1d",
    time_to: Annotated[str, typer.Option("--to", help="Records appended before then.")] = "now",
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Find producers whose events arrive on more than one partition, and events that were counted twice for it.

    Reads the records of a time range from Kafka: exact for the range. Exits 1 if an event lies on two partitions.

    Example: fleetmeter audit sources --from now-2h
    """
    settings = settings_of_stack(data_dir, setting)
    now = datetime.now(UTC)
    start, end = parse_moment("--from", time_from, now), parse_moment("--to", time_to, now)
    check_span(start, end)
    span = span_of(settings, start, end)
    total = sum(end - start for start, end in span.values())
    moves = read_moves(audit_store(settings), settings.topic)
    with progress(quiet=as_json) as display:
        task = display.add_task("Reading", total=total, detail="")

        def tell(what: str, records: int) -> None:
            if records % 1_000 == 0:
                display.update(task, description=what, completed=records, detail=f"{records:,} records")

        report = find_scattered_sources(lambda: read_span(settings, span), tell, moves)
    if as_json:
        print_json(_sources_as_dict(report))
    else:
        _print_sources(report)
    if report.counted_again:
        raise typer.Exit(Exit.NO)


def _print(made: list[Checked], *, ok: bool) -> None:
    mark = {True: Text("ok", "green"), False: Text("NOT OK", "bold red")}
    print_table(("check", "", "examined"), [(one.name, mark[one.ok], one.examined) for one in made])
    for one in made:
        for finding in one.findings:
            style = "red" if finding.is_problem else "yellow"
            console.print(Text(f"{one.name}: {finding}", style), soft_wrap=True)
    verdict = "Everything that can be checked holds." if ok else "NOT OK: see the problems above."
    console.print(Text(verdict, "bold green" if ok else "bold red"))


def _sources_as_dict(report: SourcesReport) -> dict[str, Any]:
    return {
        "ok": not report.counted_again,
        "records": report.records,
        "events": report.events,
        "sources": report.sources,
        "unreadable_records": report.unreadable,
        "events_counted_again": report.counted_again,
        "scattered": {
            source: {"events": seen.events, "first_offsets": seen.first_offsets, "repeated": seen.repeated}
            for source, seen in sorted(report.scattered.items())
        },
    }


def _print_sources(report: SourcesReport) -> None:
    console.print(f"{report.records:,} records with {report.events:,} events of {report.sources:,} sources.")
    if report.unreadable:
        console.print(Text(f"{report.unreadable:,} records could not be read; they are in quarantine.", "dim"))
    if not report.scattered:
        console.print(Text("Each source keeps to one partition.", "bold green"))
        return
    listed = sorted(report.scattered.items(), key=lambda item: (-len(item[1].repeated), item[0]))
    rows = [
        (
            source,
            ", ".join(f"{partition} ({count:,})" for partition, count in sorted(seen.events.items())),
            len(seen.repeated),
            ", ".join(list(seen.repeated)[:_SHOWN_IDS]),
        )
        for source, seen in listed[:_SHOWN_SOURCES]
    ]
    print_table(("source", "partitions (events)", "events on several", "for example"), rows)
    if len(listed) > _SHOWN_SOURCES:
        console.print(Text(f"... and {len(listed) - _SHOWN_SOURCES:,} more; --json prints all.", "yellow"))
    console.print(
        Text(
            f"{len(listed):,} sources send to more than one partition: another partitioner than the client's, another "
            "key than the source, or partitions that were added. Dedup works within a partition, so that an event "
            "which is sent again to another one is counted again. Let the producer key its records by source, with "
            "murmur2 or any one partitioner for all.",
            "yellow",
        )
    )
    if report.counted_again:
        sentence = f"{report.counted_again:,} events were counted more than once; `fleetmeter events show` reads them."
        console.print(Text(sentence, "bold red"))
