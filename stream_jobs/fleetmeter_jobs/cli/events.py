"""`fleetmeter events`: raw records, read from Kafka by their coordinates while retention keeps them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.coordinates import parse_coordinates
from fleetmeter_jobs.cli.kafka import read_records
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, print_json

app = command_app(help="Read raw records from Kafka by their coordinates.")

Where = Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="The record, such as 0/1542.")]
Count = Annotated[int, typer.Option("--count", "-n", min=1, max=10_000, help="How many records from there on.")]


@app.callback()
def events() -> None:
    """Read raw records from Kafka by their coordinates."""


@app.command("show")
def show(
    where: Where, count: Count = 1, as_json: Json = False, data_dir: DataDir = None, setting: Given = None
) -> None:
    """Show raw records as they lie in Kafka. Quarantine rows and rollup rows name their offsets.

    Example: fleetmeter events show 0/1542 --count 3
    """
    settings = settings_of_stack(data_dir, setting)
    at = parse_coordinates(where)
    messages = read_records(settings, settings.topic, at.partition, at.offset, count)
    if as_json:
        print_json([_as_dict(message) for message in messages])
        return
    for message in messages:
        record = _as_dict(message)
        head = f"{record['topic']}/{record['partition']}/{record['offset']}"
        console.print(Text(head, "bold"), Text(f"appended {record['append_time']}, key {record['key']!r}", "dim"))
        for name, value in record["headers"].items():
            console.print(Text(f"  {name}: {value}", "dim"))
        console.print(Text("(no value)" if record["value"] is None else record["value"]), soft_wrap=True)


def _as_dict(message: Any) -> dict[str, Any]:
    kind_and_ms = message.timestamp()
    value = message.value()
    return {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "append_time": datetime.fromtimestamp(kind_and_ms[1] / 1000, UTC).isoformat(timespec="milliseconds"),
        "key": None if message.key() is None else message.key().decode(errors="replace"),
        "headers": {name: value.decode(errors="replace") for name, value in message.headers() or []},
        "bytes": 0 if value is None else len(value),
        "value": None if value is None else value.decode(errors="replace"),
    }
