"""`fleetmeter quarantine`: the events that were refused: see them, understand them, send them again."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from fleetmeter_schemas import Reason
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect
from fleetmeter_jobs.cli.coordinates import Coordinates, parse_coordinates
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json, print_table
from fleetmeter_jobs.cli.quarantine_mend import (
    Change,
    StillRefusedError,
    check_sendable,
    mend,
    parse_change,
    require_same_identity,
)
from fleetmeter_jobs.cli.quarantine_resend import Parcel, resend, whole_payload
from fleetmeter_jobs.cli.quarantine_rows import QuarantineRow, Wanted, count_by_reason, find_rows, mark_replayed
from fleetmeter_jobs.settings import Settings

app = command_app(help="List, show and replay the events that were refused.")

ReasonOption = Annotated[
    str | None, typer.Option("--reason", "-r", help="Only this reason code, such as negative or too_old.")
]
At = Annotated[str | None, typer.Argument(metavar="PARTITION/OFFSET[/INDEX]", help="The record, or one event of it.")]
RequiredAt = Annotated[str, typer.Argument(metavar="PARTITION/OFFSET[/INDEX]", help="The record, or one event of it.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many rows.")]


@app.command("list")
def list_rows(
    reason: ReasonOption = None,
    limit: Limit = 20,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """List refused events: how many for each reason, and the first of them.

    Example: fleetmeter quarantine list --reason negative
    """
    settings = settings_of_stack(data_dir, setting)
    _check_reason(reason)
    with connect(settings, database=settings.clickhouse_database) as client:
        counts = count_by_reason(client, settings.topic)
        rows = find_rows(client, Wanted(settings.topic, reason=reason, limit=limit))
    if as_json:
        reasons = {name: {"rows": count, "replayed": replayed} for name, count, replayed, _ in counts}
        print_json({"reasons": reasons, "rows": [row.as_dict() for row in rows]})
        return
    if not counts:
        console.print("The quarantine is empty.")
        return
    print_table(("reason", "rows", "replayed", "for example"), counts)
    console.print()
    print_table(
        ("coordinates", "appended", "reason", "sentence", "replayed"),
        [(row.coordinates, row.append_time, row.reason, row.sentence, row.replayed_at) for row in rows],
    )
    console.print(Text("See one with `fleetmeter quarantine show COORDINATES`.", "dim"))


@app.command("show")
def show(
    at: RequiredAt,
    raw: Annotated[bool, typer.Option("--raw", help="Print only the payload, byte for byte, to edit it.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Show refused events with everything that is known of them.

    Example: fleetmeter quarantine show 0/1542/0 --raw > event.json
    """
    settings = settings_of_stack(data_dir, setting)
    rows = _rows_at(settings, parse_coordinates(at))
    if raw:
        sys.stdout.buffer.write(whole_payload(settings, _only(rows, "--raw")))
    elif as_json:
        print_json([row.as_dict() for row in rows])
    else:
        for row in rows:
            facts = {name: value for name, value in row.as_dict().items() if name not in {"payload", "coordinates"}}
            console.print(Text(row.coordinates, "bold"), Text(row.reason, "red"))
            print_table(("", ""), [(name, str(value)) for name, value in facts.items()])
            console.print(Text(row.payload.decode(errors="replace")), soft_wrap=True)


@app.command("replay")
def replay(
    at: At = None,
    reason: ReasonOption = None,
    every: Annotated[bool, typer.Option("--all", help="Every row that was not replayed yet.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Rows that were replayed before, too.")] = False,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Mend a field, such as data.input_tokens=5; null removes."),
    ] = None,
    edited: Annotated[
        Path | None, typer.Option("--edit", help="Send this file instead of the payload of the one row.", exists=True)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be sent.")] = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Send refused events again, mended or as they are. They keep their id and partition: none can count twice.

    What a worker would refuse again is not sent, with the reason; then the command exits 1.

    Example: fleetmeter quarantine replay --reason negative --set data.input_tokens=5 --dry-run
    """
    settings = settings_of_stack(data_dir, setting)
    _check_reason(reason)
    if at is None and reason is None and not every:
        raise CommandError("Say which events: coordinates, --reason, or --all.")
    wanted = Wanted(
        settings.topic,
        reason=reason,
        at=None if at is None else parse_coordinates(at),
        replayed=None if again else False,
    )
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = find_rows(client, wanted)
        parcels, refused = _pack(settings, rows, [parse_change(text) for text in changes or []], edited)
        sent = [] if dry_run else resend(settings, parcels)
        mark_replayed(client, [parcel.row for parcel in sent], datetime.now(UTC))
    unsent = [] if dry_run else [parcel for parcel in parcels if parcel not in sent]
    _report(parcels if dry_run else sent, refused, unsent, dry_run=dry_run, as_json=as_json)
    if refused or unsent:
        raise typer.Exit(Exit.NO)


def _pack(
    settings: Settings, rows: list[QuarantineRow], changes: list[Change], edited: Path | None
) -> tuple[list[Parcel], list[tuple[QuarantineRow, str]]]:
    """What can be sent, and what would be refused again, with the sentence."""
    if edited is not None:
        _only(rows, "--edit")
    parcels, refused = [], []
    for row in rows:
        try:
            before = whole_payload(settings, row)
            payload = before if edited is None else edited.read_bytes()
            require_same_identity(before, payload)
            payload = mend(payload, changes)
            parcels.append(Parcel(row, check_sendable(payload, settings, time.time_ns() // 1000), payload))
        except StillRefusedError as error:
            refused.append((row, str(error)))
    return parcels, refused


def _report(
    sent: list[Parcel],
    refused: list[tuple[QuarantineRow, str]],
    unsent: list[Parcel],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "dry_run": dry_run,
            "sent": [parcel.row.coordinates for parcel in sent],
            "unsent": [parcel.row.coordinates for parcel in unsent],
            "refused": [{"coordinates": row.coordinates, "sentence": sentence} for row, sentence in refused],
        }
        print_json(document)
        return
    for row, sentence in refused:
        console.print(Text(f"{row.coordinates} would be refused again: {sentence}", "yellow"))
    for parcel in unsent:
        console.print(Text(f"{parcel.row.coordinates} was not acknowledged by Kafka; run the command again", "red"))
    verb = "would be sent" if dry_run else "sent and acknowledged"
    console.print(f"{len(sent):,} events {verb}, {len(refused):,} would be refused again.")


def _rows_at(settings: Settings, at: Coordinates) -> list[QuarantineRow]:
    with connect(settings, database=settings.clickhouse_database) as client:
        rows = find_rows(client, Wanted(settings.topic, at=at))
    if not rows:
        raise CommandError(
            f"Nothing in quarantine stems from {at.partition}/{at.offset} of {settings.topic}. "
            f"`fleetmeter quarantine list` shows coordinates."
        )
    return rows


def _only(rows: list[QuarantineRow], option: str) -> QuarantineRow:
    if len(rows) != 1:
        raise CommandError(f"{option} is for one event, and {len(rows)} were chosen: give PARTITION/OFFSET/INDEX.")
    return rows[0]


def _check_reason(reason: str | None) -> None:
    codes = [known.code for known in Reason]
    if reason is not None and reason not in codes:
        raise CommandError(f"--reason {reason}: there is no such reason; choose from {', '.join(codes)}.")
