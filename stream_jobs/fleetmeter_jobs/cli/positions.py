"""`fleetmeter positions`: where each partition stands, and the two decisions that only a person can make about it."""

from __future__ import annotations

from typing import Annotated

import typer

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.ledger import decision_context
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import print_json
from fleetmeter_jobs.cli.position_rows import change_as_dict, print_changes, print_view, view_as_dict
from fleetmeter_jobs.cli.this_user import this_user
from fleetmeter_jobs.clickhouse_access import clickhouse_store
from fleetmeter_jobs.kafka_logs import headers_before
from fleetmeter_jobs.kafka_topic import KafkaTopic
from fleetmeter_jobs.ledger.clickhouse_store import ClickHouseStore
from fleetmeter_jobs.ledger.context import CommitContext
from fleetmeter_jobs.ledger.decisions import Batch, Change, Decided, LogNow, decide, plan_new_epoch, plan_skip
from fleetmeter_jobs.positions import PartitionView, Standing, TopicView, look
from fleetmeter_jobs.settings import Settings

app = command_app(help="Show where each partition stands, and decide about one that stands still.")

Partition = Annotated[int, typer.Argument(min=0, metavar="PARTITION", help="The Kafka partition.")]
Partitions = Annotated[
    list[int] | None, typer.Argument(min=0, metavar="[PARTITION]...", help="The Kafka partitions; or give --all.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; written down beside the decision.")]
Who = Annotated[
    str | None, typer.Option("--who", help="Who decides (default: this user and machine).", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without, only tell what would be done.")]
Force = Annotated[bool, typer.Option("--force", help="Even where nothing is wrong: read such a log again.")]


@app.command("show")
def show(as_json: Json = False, data_dir: DataDir = None, setting: Given = None) -> None:
    """Show each partition's position beside Kafka's log, and say in words what is wrong. Exits 1 if anything is.

    Example: fleetmeter positions show
    """
    settings = settings_of_stack(data_dir, setting)
    store = clickhouse_store(settings)
    view = _look(settings, store)
    if view.topic is None and not view.partitions:
        raise CommandError(
            f"Kafka has no topic {settings.topic}, and nothing of it was ever counted. Create it, or give the right "
            "one with -s topic=NAME.",
            Exit.KAFKA,
        )
    reasons = store.reasons()
    if as_json:
        print_json(view_as_dict(view, reasons))
    else:
        print_view(settings.topic, view, reasons)
    if view.problems:
        raise typer.Exit(Exit.NO)


@app.command("set")
def set_position(
    partition: Partition,
    reason: Reason,
    to: Annotated[str, typer.Option("--to", metavar="OFFSET|start|end", help="Where counting shall go on.")],
    who: Who = None,
    yes: Yes = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Move a position forward on purpose. What lies between is not counted, and written down as skipped.

    For offsets that can't be counted: retention took them (--to start), or a record batch is damaged. Safe beside
    running workers: if one commits first, nothing is changed. Exits 1 then.

    Example: fleetmeter positions set 3 --to start --reason 'retention was too short in May' --yes
    """
    settings = settings_of_stack(data_dir, setting)
    store = clickhouse_store(settings)
    topic, view = _partition(settings, store, partition)
    log = _log_now(topic, view)
    there = {"start": log.start, "end": log.end}
    if to not in there and not to.isdecimal():
        raise CommandError(f"--to {to}: give an offset, start or end.")
    assert view.position is not None  # noqa: S101  (_partition has seen to it; told to the type checker)
    change = plan_skip(view.partition, view.position, log, there[to] if to in there else int(to))
    _carry_out(settings, store, [change], who, reason, yes=yes, as_json=as_json)


@app.command("new-epoch")
def new_epoch(
    reason: Reason,
    partitions: Partitions = None,
    every: Annotated[bool, typer.Option("--all", help="Every partition that stands still for it.")] = False,
    at: Annotated[
        int | None,
        typer.Option(
            "--at", min=0, metavar="OFFSET", help="Begin here and not at the log's start; the rest is skipped."
        ),
    ] = None,
    who: Who = None,
    force: Force = False,
    yes: Yes = False,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Begin a new log epoch: the topic was recreated or truncated, and the log that was counted is gone.

    The present log is read from its start. What was counted before is recognised and not counted again. Workers pick
    the new epoch up by themselves, and none can commit to the old one any more.

    Example: fleetmeter positions new-epoch --all --reason 'topic recreated after the disk failure' --yes
    """
    settings = settings_of_stack(data_dir, setting)
    store = clickhouse_store(settings)
    if every == bool(partitions):
        raise CommandError("Say which partitions: their numbers, or --all.")
    if every:
        found = _look(settings, store)
        views = [one for one in found.partitions if one.mismatch is not None and one.mismatch.remedy == "new-epoch"]
        topic = _existing(settings, found)
    else:
        chosen = [_partition(settings, store, number) for number in dict.fromkeys(partitions or [])]
        topic, views = chosen[0][0], [view for _, view in chosen]
    changes = []
    for view in views:
        if view.standing is not Standing.MISMATCH and not force:
            raise CommandError(
                f"{view.partition}: nothing is wrong between its position and its log; a new epoch would only read "
                "the log again. --force does it all the same."
            )
        assert view.position is not None  # noqa: S101  (_partition has seen to it; told to the type checker)
        changes.append(plan_new_epoch(view.partition, view.position, _log_now(topic, view), at))
    _carry_out(settings, store, changes, who, reason, yes=yes, as_json=as_json)


def _look(settings: Settings, store: ClickHouseStore) -> TopicView:
    return look(store, settings.kafka_access, settings.topic, store.partitions(settings.topic))


def _existing(settings: Settings, view: TopicView) -> KafkaTopic:
    if view.topic is None:
        raise CommandError(f"Kafka has no topic {settings.topic}: create it first, then decide.", Exit.KAFKA)
    return view.topic


def _partition(settings: Settings, store: ClickHouseStore, number: int) -> tuple[KafkaTopic, PartitionView]:
    """A partition that has both a log and a position."""
    found = _look(settings, store)
    topic = _existing(settings, found)
    view = next((one for one in found.partitions if one.partition.partition == number), None)
    if view is None or view.log is None:
        raise CommandError(f"Kafka has no partition {number} of topic {settings.topic}.")
    if view.position is None:
        raise CommandError(f"{view.partition} has no position yet: a worker begins at its log's start by itself.")
    return topic, view


def _log_now(topic: KafkaTopic, view: PartitionView) -> LogNow:
    assert view.log is not None  # noqa: S101  (a partition that stands still has one; told to the type checker)
    return LogNow(topic.topic_id, view.log.start, view.log.end)


def _carry_out(
    settings: Settings,
    store: ClickHouseStore,
    changes: list[Change],
    who: str | None,
    reason: str,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    if not reason.strip():
        raise CommandError("--reason is empty; say why, for whoever reads the audit.")
    decider = who or this_user()
    targets = {change.partition.partition: change.next_offset for change in changes}
    headers = headers_before(settings.kafka_access, settings.topic, targets) if targets and yes else {}
    context = decision_context(settings)
    outcomes: list[tuple[Change, str]] = []
    for change in changes:
        header = headers.get(change.partition.partition)
        batch = Batch(header.leader_epoch, header.crc) if header else Batch()
        outcomes.append((change, _outcome(store, change, batch, decider, reason, context) if yes else "dry run"))
    if as_json:
        print_json(
            {"done": yes, "who": decider, "reason": reason, "changes": [change_as_dict(*one) for one in outcomes]}
        )
    else:
        print_changes(outcomes, done=yes)
    if any(outcome.startswith("overtaken") for _, outcome in outcomes):
        raise typer.Exit(Exit.NO)


def _outcome(
    store: ClickHouseStore, change: Change, batch: Batch, who: str, reason: str, context: CommitContext
) -> str:
    outcome = decide(store, change, batch, who, reason, context)
    if isinstance(outcome, Decided):
        return "done"
    return f"overtaken: the position is {outcome.position.next_offset} now; nothing was changed"
