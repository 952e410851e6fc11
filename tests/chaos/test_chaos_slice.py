"""A slice of the chaos campaign, with a fresh seed each time; `make chaos` runs as much of it as wanted."""

from __future__ import annotations

import secrets
import time
from contextlib import closing
from pathlib import Path

import pytest
from fleetmeter_chaos.campaign import Campaign
from fleetmeter_chaos.story import Story, told

pytestmark = [pytest.mark.kafka, pytest.mark.clickhouse, pytest.mark.timeout(420)]

AT_MOST = 40
SLICE_S = 60.0


def test_nothing_is_lost_or_counted_twice_whatever_is_killed(tmp_path: Path) -> None:
    first = secrets.randbelow(2**31)
    print(f"schedules from seed {first}")
    began, done = time.monotonic(), 0
    campaign = Campaign(tmp_path, range(first, first + AT_MOST), lanes=2)
    with closing(campaign.outcomes()) as outcomes:
        for outcome in outcomes:
            story = told(Story(campaign.failed_folder(outcome.seed) / "story.jsonl").entries())
            again = f"make chaos SCHEDULES=1 SEED={outcome.seed}"
            assert not outcome.problems, "\n".join([again, *outcome.problems, *story])
            done += 1
            if time.monotonic() - began > SLICE_S:
                break
    assert done >= 4, "too few schedules to tell anything"
