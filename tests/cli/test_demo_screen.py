"""The demo's last screen says what happened, good or bad."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from fleetmeter_jobs.cli.demo_screen import draw
from fleetmeter_jobs.cli.demo_story import Answered, Story
from fleetmeter_jobs.cli.oracle import Comparison
from fleetmeter_jobs.ledger.position import PartitionId
from fleetmeter_jobs.reconcile import Line, PartitionReport, Report
from fleetmeter_producers.simulator import SimulationSummary
from rich.console import Console


def row(**values: Any) -> Counter[str]:
    """A row of usage whose other measures are 0."""
    return Counter(values)


LINE = Line(
    kafka_records=1000,
    events_in=1000,
    accepted=960,
    duplicates=30,
    rejected=10,
    offsets_span=1000,
    offsets_committed=1000,
)
STORY = Story(
    summary=SimulationSummary(1000, 960, 30, 10, 20, 1000, 900_000, 2.0, 7, "2026-03-01T12:00:00.000000Z", "o.json"),
    report=Report((PartitionReport(PartitionId("t", 0), LINE, ()),)),
    comparison=Comparison(4_321, ()),
    workers=2,
    counted_s=2.5,
    commits=12,
    rollup_rows=345,
    top_accounts=(row(account_id="acct-[7]", requests=800, gpu_ms=12_345),),
    by_model=(
        row(
            model="llada-8b-instruct",
            generation_mode="diffusion",
            placement="cloud",
            requests=100,
            output_tokens=20_000,
            denoising_steps=1_500,
            denoising_steps_samples=100,
        ),
        row(model="mercury", generation_mode="diffusion", placement="cloud", requests=50, output_tokens=9_000),
    ),
    answered=Answered(9_000, 8_000, 11_000, 1_000, 0, 250),
    refused=(("negative", 10, "data.input_tokens: is -1; quantities are at least 0"),),
)


def drawn(story: Story) -> str:
    console = Console(width=140, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as capture:
        console.print(draw(story, seconds=42.0))
    return capture.get()


def test_a_good_run() -> None:
    screen = drawn(STORY)
    for words in (
        "1,000 events of a simulated fleet",
        "960 accepted + 30 duplicates + 10 refused = 1,000",
        "Reconciliation: 0 lost / 0 double-counted",
        "all 4,321 figures",
        "345 rollup rows",
        "400 events/s",
        "acct-[7]",
        "data.input_tokens: is -1",
        "97.3% of what devices tried",  # 9,000 / (9,000 + 250)
        "8,000 to 11,000",
        "90.0%",
        "nothing is left running",
    ):
        assert words in screen, words


def test_steps_that_were_not_reported_are_not_zero() -> None:
    lines = {
        line.split()[0]: line.split() for line in drawn(STORY).splitlines() if line.startswith(("llada", "mercury"))
    }
    assert lines["llada-8b-instruct"][-4:] == ["200", "15.0", "7.5", "-"]
    assert lines["mercury"][-4:] == ["180", "-", "-", "-"]


@pytest.mark.parametrize(
    ("story", "words"),
    [
        (
            replace(STORY, comparison=Comparison(4_321, ("acct / m: requests is 1, must be 2 (-1)",))),
            "1 of 4,321 figures",
        ),
        (
            replace(STORY, report=Report((PartitionReport(PartitionId("t", 0), replace(LINE, lost=3), ("3 lost",)),))),
            "3 lost / 0 double-counted",
        ),
        (
            replace(STORY, report=Report((PartitionReport(PartitionId("t", 0), replace(LINE, pending=5), ()),))),
            "5 not counted in time",
        ),
    ],
)
def test_a_bad_run_says_so(story: Story, words: str) -> None:
    assert STORY.ok
    assert not story.ok
    assert words in drawn(story)
