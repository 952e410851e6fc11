"""`fleetmeter topic grow`: add partitions to a topic while it is counted, so that nothing is counted twice."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.text import Text

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.ledger import decision_context
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, notes, print_json
from fleetmeter_jobs.cli.positions import Who
from fleetmeter_jobs.cli.this_user import this_user
from fleetmeter_jobs.clickhouse_access import clickhouse_store
from fleetmeter_jobs.growing import Grower
from fleetmeter_jobs.kafka_partitions import TopicPartitions
from fleetmeter_jobs.ledger.growth import Growth
from fleetmeter_jobs.settings import Settings

app = command_app(help="Add partitions to the topic while it is counted.")

SETTLE_S = 660
"""How long most producers need at most: five minutes until a client asks for partitions again (`metadata.max.age.ms`,
`topic.metadata.refresh.interval.ms`), and five until it gives a record up that waits for an old one."""


@app.callback()
def topic() -> None:
    """Without it Typer would make the only command the group itself."""


@app.command("grow")
def grow(
    partitions: Annotated[int, typer.Option("--partitions", min=2, help="How many the topic shall have.")],
    settle_s: Annotated[
        int | None,
        typer.Option(
            "--settle-s",
            min=0,
            max=86_400,
            help="How long producers may take, at most, to learn of the partitions and to give up what waits for an "
            f"old one, in seconds (default: {SETTLE_S}). Too short counts events twice that are sent again.",
            show_default=False,
        ),
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0, help="How long to wait for workers to have counted all meanwhile.")
    ] = 600.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do it. Without, only tell what would be done.")] = False,
    who: Who = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Add partitions while events flow. Sources move between partitions then; what is sent again is still recognised.

    Counting waits until all producers know of the partitions (--settle-s), while Kafka keeps what comes in; then it
    goes on, first one partition after the other, soon all at once. Killed anywhere, the same command goes on where it
    was. Exits 1 while workers are still behind.

    Example: fleetmeter topic grow --partitions 8 --yes
    """
    settings = settings_of_stack(data_dir, setting)
    grower = _grower(settings, who, as_json=as_json)
    growth = grower.find(partitions, SETTLE_S if settle_s is None else settle_s)
    if settle_s not in {None, growth.settle_s}:
        raise CommandError(
            f"This growth was begun with --settle-s {growth.settle_s}: leave the option out to go on with it. To give "
            "producers more time than that, go on later."
        )
    if not yes:
        _tell(settings, growth, done=False, as_json=as_json)
        return
    growth = grower.grow(growth)
    if wait_s:
        growth = grower.wait_for_workers(growth, wait_s)
    _tell(settings, growth, done=True, as_json=as_json)
    if not growth.over:
        raise typer.Exit(Exit.NO)


def _grower(settings: Settings, who: str | None, *, as_json: bool) -> Grower:
    return Grower(
        clickhouse_store(settings),
        TopicPartitions(settings.kafka_access, settings.topic),
        who or this_user(),
        report=(lambda _step: None) if as_json else _Steps(),
        context=decision_context(settings),
    )


class _Steps:
    """Says each step once, and one that repeats itself only now and then."""

    _AGAIN_S = 10.0

    def __init__(self) -> None:
        self._kind, self._said_at = "", 0.0

    def __call__(self, step: str) -> None:
        kind, now = step.partition(":")[0], time.monotonic()
        if kind != self._kind or now - self._said_at >= self._AGAIN_S:
            notes.print(Text(step))
            self._kind, self._said_at = kind, now


def _tell(settings: Settings, growth: Growth, *, done: bool, as_json: bool) -> None:
    if as_json:
        print_json({"topic": settings.topic, "done": done, **as_dict(growth)})
        return
    what = f"{settings.topic}: {growth.old_partitions} partitions to {growth.new_partitions}"
    if not done:
        under_way = " (under way; the command would go on with it)" if growth.fenced else ""
        console.print(f"{what}{under_way}. All workers have to be of a version that knows of growing.")
        console.print(
            f"Counting would stop, the partitions be made, and counting go on {growth.settle_s} s later, when every "
            "producer knows of them. What comes in meanwhile stays in Kafka and is counted then."
        )
        console.print(Text("Nothing was changed. The same command with --yes does it.", "bold"))
    elif growth.over:
        console.print(Text(f"{what}: done, every partition is counted by itself.", "bold green"))
    else:
        waiting = sorted(set(range(growth.new_partitions)) - growth.done)
        console.print(
            Text(
                f"{what}: the partitions are there, and workers have still to count what came in while sources moved: "
                f"partitions {', '.join(map(str, waiting))}. They go on without this command; `fleetmeter status` "
                "and `fleetmeter positions show` tell how far they are.",
                "yellow",
            )
        )


def as_dict(growth: Growth) -> dict[str, Any]:
    """For `--json`."""
    return {
        "growth": growth.name,
        "over": growth.over,
        "old_partitions": growth.old_partitions,
        "new_partitions": growth.new_partitions,
        "settle_s": growth.settle_s,
        "fenced": growth.fenced,
        "section_ends": growth.ends,
        "partitions_done": growth.done,
    }
