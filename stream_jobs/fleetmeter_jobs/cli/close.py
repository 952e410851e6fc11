"""`fleetmeter close`: freeze a billing period, so that invoices can be made of it."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Annotated

import typer
from fleetmeter_billing.accounts.published import cards_of
from fleetmeter_billing.errors import IncompleteError
from fleetmeter_billing.periods.close import CloseRules, CloseWorld, Outcome, close_period
from fleetmeter_billing.rates.store import published_cards
from fleetmeter_billing.usage.frozen import Unbilled, corrections, unbilled

from fleetmeter_jobs.cli.app import command_app
from fleetmeter_jobs.cli.clickhouse import connect_to_write
from fleetmeter_jobs.cli.close_rows import close_as_dict
from fleetmeter_jobs.cli.exits import CommandError, Exit
from fleetmeter_jobs.cli.kafka import log_ends
from fleetmeter_jobs.cli.options import DataDir, Given, Json, settings_of_stack
from fleetmeter_jobs.cli.output import console, counted, print_json, print_table, progress
from fleetmeter_jobs.cli.this_user import this_user
from fleetmeter_jobs.errors import KafkaAccessError, TopicRefusedError
from fleetmeter_jobs.settings import Settings

app = command_app()

UNBILLED_SHOWN = 10

Period = Annotated[
    str,
    typer.Option("--period", help="A month, 2026-11, or the day on which periods of anniversary accounts begin."),
]
Retired = Annotated[
    list[str] | None,
    typer.Option("--retired-topic", help="A topic that nobody writes to any more: its watermarks are not waited for."),
]
WithoutKafka = Annotated[
    bool,
    typer.Option(
        "--without-kafka",
        help="Do not ask Kafka whether it has partitions that no worker ever took: for when it is gone for good.",
    ),
]
By = Annotated[str | None, typer.Option("--by", help="Who closes (default: this user and machine).")]


@app.command()
def close(
    period: Period,
    retired_topics: Retired = None,
    without_kafka: WithoutKafka = False,
    by: By = None,
    as_json: Json = False,
    data_dir: DataDir = None,
    setting: Given = None,
) -> None:
    """Freeze a billing period, once every minute of it is complete.

    Until then it refuses, with exit code 1, and says which partition lacks what. Kafka is asked for partitions that no
    worker ever took. What came late of earlier periods is frozen with it, as corrections. Closing twice, at once, or
    again after a crash changes nothing.

    Example: fleetmeter close --period 2026-11
    """
    settings = settings_of_stack(data_dir, setting)
    rules = CloseRules(
        lateness_s=int(settings.close_lateness_s),
        window_days=settings.correction_window_days,
        retired_topics=frozenset(retired_topics or ()),
        by=by or this_user(),
    )
    with connect_to_write(settings) as client, progress(quiet=as_json) as bar:
        task = bar.add_task(f"Closing {period}", total=None, detail="completeness")

        def show(doing: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, detail=doing)

        try:
            world = CloseWorld(progress=show, log_ends=None if without_kafka else partial(_log_ends, settings))
            outcome = close_period(client, period, lambda: cards_of(published_cards(client)), rules, world)
        except IncompleteError as error:
            bar.stop()
            if as_json:
                print_json({"period": period, "closed": False, "reason": str(error)})
            else:
                console.print(str(error), soft_wrap=True)
            raise typer.Exit(Exit.NO) from error
        corrected = corrections(client, outcome.close)
        listed = unbilled(client, outcome.close)
    if as_json:
        print_json(
            {
                **close_as_dict(outcome.close),
                "closed": True,
                "ours": outcome.ours,
                "corrections": corrected,
                "unbilled": [{name: getattr(one, name) for name in Unbilled.__slots__} for one in listed],
            }
        )
        return
    _tell(outcome, corrected, listed)


def _log_ends(settings: Settings, counted: Collection[str]) -> dict[tuple[str, int], int]:
    """How long Kafka's partitions are, of what is counted and what should be. Raises CommandError if it doesn't say."""
    try:
        ends = log_ends(settings, {settings.topic, *counted})
    except (CommandError, KafkaAccessError, TopicRefusedError) as error:
        raise CommandError(
            f"Nothing was closed: only Kafka knows of partitions that no worker ever took. {error} Where it is gone "
            "for good, or its partitions are known to be counted, close with --without-kafka.",
            Exit.KAFKA,
        ) from error
    return {where: found.end for where, found in ends.items()}


def _tell(outcome: Outcome, corrected: dict[str, tuple[str, ...]], listed: list[Unbilled]) -> None:
    one = outcome.close
    if outcome.ours:
        console.print(f"Closed {one.period}: {counted(one.accounts, 'account')}, close {one.seq}.")
    else:
        console.print(f"{one.period} was closed before, by {one.closed_by} at {one.closed_at:%Y-%m-%d %H:%M} UTC.")
    for period, accounts in corrected.items():
        console.print(f"Late usage of {period}: {counted(len(accounts), 'account')} to correct.")
    if listed:
        console.print(
            f"{counted(len(listed), 'account')} with usage that no subscription covers; nobody is charged.",
            style="yellow",
        )
        columns = ("account", "reason", "requests", "fallbacks", "input_tokens", "output_tokens", "facts")
        print_table(columns, [[getattr(row, name) for name in columns] for row in listed[:UNBILLED_SHOWN]])
        if len(listed) > UNBILLED_SHOWN:
            console.print(f"`fleetmeter closes --unbilled {one.period}` lists them all.")
