"""The recorded export is what the reference says of the recorded input, in every wire format."""

from __future__ import annotations

from collections import Counter

import pytest
from fleetmeter_golden.by_reference import expected
from fleetmeter_golden.canonical import KINDS, read_export
from fleetmeter_golden.formats import FORMATS_OF_VALUES, Format, in_format
from fleetmeter_golden.recording import moved, read_input
from fleetmeter_schemas.reasons import Reason


@pytest.mark.parametrize("format_", FORMATS_OF_VALUES)
def test_every_format_says_the_same(format_: Format) -> None:
    export, recorded = expected(in_format(format_, read_input())), read_export()
    for kind in KINDS:
        assert export[kind].splitlines() == recorded[kind].splitlines(), kind


def test_the_formats_hold_most_events_in_their_own_way() -> None:
    """Else a run in Arrow would only be another run in JSON."""
    starts = {
        format_: Counter((sent.value or b"")[:1] for sent in in_format(format_, read_input()))
        for format_ in FORMATS_OF_VALUES
    }
    records = {format_: sum(counter.values()) for format_, counter in starts.items()}
    assert starts["array"][b"["] > 50
    assert starts["arrow"][b"\xff"] > 50
    assert sum(bool(sent.headers) for sent in in_format("binary", read_input())) > 400
    assert max(records["array"], records["ndjson"], records["arrow"]) < records["json"] / 2


def test_the_input_is_worth_recording() -> None:

    quarantine = read_export()["quarantine"]
    assert [reason.code for reason in Reason if f'"reason":"{reason.code}"' not in quarantine] == []
    rollups = read_export()["rollups"]
    assert '"event_type":"fallback"' in rollups
    assert '"generation_mode":"hybrid"' in rollups
    assert len(read_export()["facts"].splitlines()) > 10


def test_times_move_by_whole_days_and_back() -> None:
    """Across the end of a month, and not where only the form is a time's."""
    value = b'{"time":"2026-02-28T23:59:59.5Z","period_end":"2026-02-27T00:00:00Z","model":"2026-02-30T12:00:00Z"}'
    there = b'{"time":"2026-03-02T23:59:59.5Z","period_end":"2026-03-01T00:00:00Z","model":"2026-02-30T12:00:00Z"}'
    assert moved(value, 2) == there
    assert moved(there, -2) == value
    assert moved(None, 2) is None
