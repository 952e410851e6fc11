"""What people see of a campaign."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fleetmeter_chaos.campaign import Tally
from fleetmeter_chaos.schedule import Outcome
from fleetmeter_chaos.story import Entry, told

_SHOWN_LINES = 60


def progress_bar(console: Console) -> Progress:
    """Schedules done, failed, and how long it may still take."""
    return Progress(
        TextColumn("[progress.description]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]} failed"),
        console=console,
    )


def summary_table(tally: Tally) -> Table:
    """Faults injected and survived."""
    table = Table("fault", title=f"{len(tally.outcomes)} schedules, {len(tally.failed)} failed", title_style="bold")
    for name in ("schedules with it", "injected", "survived"):
        table.add_column(name, justify="right")
    injected, survived, schedules = tally.injected(), tally.survived(), tally.schedules_with()
    for fault in sorted(injected):
        style = "" if survived[fault] == injected[fault] else "red"
        row = (fault, f"{schedules[fault]:,}", f"{injected[fault]:,}", f"{survived[fault]:,}")
        table.add_row(*(Text(cell, style) for cell in row))
    table.add_section()
    table.add_row("all", "", f"{injected.total():,}", f"{survived.total():,}")
    return table


def effects_table(tally: Tally) -> Table:
    """What the pipeline did about them, and what else was in the logs."""
    table = Table("what happened", title="What workers did about it, and what lay in the logs", title_style="bold")
    for name in ("schedules with it", "times"):
        table.add_column(name, justify="right")
    effects, schedules = tally.effects(), tally.schedules_with_effect()
    for effect in sorted(effects):
        table.add_row(effect, f"{schedules[effect]:,}", f"{effects[effect]:,}")
    table.add_section()
    for kind, times in sorted(tally.bad_input().items()):
        table.add_row(kind, f"{sum(kind in one.bad_input for one in tally.outcomes):,}", f"{times:,}")
    return table


def show_failure(console: Console, outcome: Outcome, entries: Sequence[Entry], folder: str) -> None:
    """The seed, what is wrong, and what happened, in order."""
    console.print(Text(f"Schedule {outcome.seed} failed:", "bold red"))
    for problem in outcome.problems:
        console.print(Text(f"  {problem}", "red"))
    lines = told(entries)
    if len(lines) > _SHOWN_LINES:
        console.print(Text(f"  ... {len(lines) - _SHOWN_LINES} lines before, all in {folder}/story.jsonl"))
    for line in lines[-_SHOWN_LINES:]:
        console.print(Text(f"  {line}"))
    console.print(Text(f"  Logs: {folder}. Again: make chaos SCHEDULES=1 SEED={outcome.seed}"))
