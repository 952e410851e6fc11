"""A slice of the chaos campaign, with a fresh seed each time; `make chaos` runs as much of it as wanted.

The seed stands at the end of each run of the tests, whatever came of it.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fleetmeter_chaos.campaign import Campaign, Tally
from fleetmeter_chaos.story import Story, told

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(420)]

AT_MOST = 40
AT_LEAST = 4
SLICE_S = 45.0


def test_nothing_is_lost_or_counted_twice_whatever_is_killed(tmp_path: Path, tell: Callable[[str], None]) -> None:
    first = secrets.randbelow(2**31)
    tally, began = Tally(), time.monotonic()
    campaign = Campaign(tmp_path, range(first, first + AT_MOST), jobs=2)
    try:
        with closing(campaign.outcomes()) as outcomes:
            for outcome in outcomes:
                story = told(Story(campaign.failed_folder(outcome.seed) / "story.jsonl").entries())
                again = f"make chaos SCHEDULES=1 SEED={outcome.seed}"
                assert not outcome.problems, "\n".join([again, *outcome.problems, *story])
                tally.outcomes.append(outcome)
                if len(tally.outcomes) >= AT_LEAST and time.monotonic() - began > SLICE_S:
                    break
    finally:
        tell(
            f"chaos: {len(tally.outcomes)} schedules from seed {first} survived {tally.injected().total()} faults "
            f"(again: make chaos SCHEDULES={AT_MOST} SEED={first})"
        )
    assert len(tally.outcomes) >= AT_LEAST, "too few schedules to tell anything"
    assert tally.injected(), "no fault struck"
