"""Two schedules of the chaos campaign, with a fresh seed each time; `make chaos` runs as many as wanted, and CI does.

The seed stands at the end of each run of the tests, whatever came of it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fleetmeter_chaos.campaign import Campaign, Tally
from fleetmeter_chaos.story import Story, told

pytestmark = [pytest.mark.long, pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(420)]

SCHEDULES = 2


def test_nothing_is_lost_or_counted_twice_whatever_is_killed(tmp_path: Path, tell: Callable[[str], None]) -> None:
    first = secrets.randbelow(2**31)
    tally = Tally()
    campaign = Campaign(tmp_path, range(first, first + SCHEDULES), jobs=1)
    try:
        with closing(campaign.outcomes()) as outcomes:
            for outcome in outcomes:
                story = told(Story(campaign.failed_folder(outcome.seed) / "story.jsonl").entries())
                again = f"make chaos SCHEDULES=1 SEED={outcome.seed}"
                assert not outcome.problems, "\n".join([again, *outcome.problems, *story])
                tally.outcomes.append(outcome)
    finally:
        tell(
            f"chaos: {len(tally.outcomes)} schedules from seed {first} survived {tally.injected().total()} faults "
            f"(again: make chaos SCHEDULES={SCHEDULES} SEED={first})"
        )
    assert len(tally.outcomes) == SCHEDULES
    assert tally.injected(), "no fault struck"
