"""Moments as people type them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fleetmeter_jobs.cli.exits import CommandError
from fleetmeter_jobs.cli.times import check_span, parse_moment
from fleetmeter_sql.errors import BadParameterError

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("now-90m", datetime(2026, 3, 1, 10, 30, tzinfo=UTC)),
        ("now-7d", datetime(2026, 2, 22, 12, tzinfo=UTC)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-02-28T23:30:00+01:00", datetime(2026, 2, 28, 22, 30, tzinfo=UTC)),
        ("2026-02-28T23:30:00.123456Z", datetime(2026, 2, 28, 23, 30, 0, 123456, tzinfo=UTC)),
    ],
)
def test_the_forms(text: str, moment: datetime) -> None:
    assert parse_moment("--from", text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "2026-02-28 12:00", "now-5y", "2026-02-28T12:00:00"])
def test_anything_else_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadParameterError, match="--from"):
        parse_moment("--from", text, NOW)


def test_a_span_that_ends_before_it_begins_is_refused() -> None:
    earlier = parse_moment("--to", "now-1h", NOW)
    for end in (earlier, NOW):
        with pytest.raises(CommandError, match=r"--from \(2026-03-01 12:00:00 UTC\) must be before --to"):
            check_span(NOW, end)
    check_span(earlier, NOW)
    check_span(None, earlier)
    check_span(NOW, None)
