"""What is timed is real: every event of the workload is valid and new, and all wire formats say the same."""

import pytest
from fleetmeter_bench.measure import speed
from fleetmeter_bench.native_speed import NOW_US
from fleetmeter_bench.workload import EVENTS_A_RECORD, FORMATS, Format, Ids, records
from fleetmeter_reference.aggregator import Group, Reference

EVENTS = 500


@pytest.mark.parametrize("ids", ["sequenced", "foreign"])
def test_every_format_says_the_same(ids: Ids) -> None:
    usage: list[dict[tuple[object, ...], dict[str, int]]] = []
    for format_ in FORMATS:
        reference = Reference()
        values = records(format_, EVENTS, ids, now_us=NOW_US)
        assert len(values) == -(-EVENTS // EVENTS_A_RECORD[format_])
        counters = reference.ingest(values, 0, NOW_US).counters
        assert (counters.accepted, counters.events_in, counters.unknown_fields) == (EVENTS, EVENTS, 0)
        usage.append({key: _sums(group) for key, group in reference.flush().usage.items()})
    assert all(one == usage[0] for one in usage)


def _sums(group: Group) -> dict[str, int]:
    return {name: amount for name, amount in group.sums.items() if amount}


@pytest.mark.parametrize("format_", FORMATS)
def test_later_events_are_new(format_: Format) -> None:
    reference = Reference()
    for start in (0, EVENTS):
        reference.ingest(records(format_, EVENTS, "sequenced", now_us=NOW_US, start=start), start, NOW_US)
    assert reference.flush().counters.duplicates == 0


def test_speed_is_the_median_of_the_runs() -> None:
    processor = iter([1.0, 2.0, 2.0, 6.0])
    wall = iter([0.0, 5.0, 6.5])  # start, after the first run, after the second: over
    one = speed(lambda: lambda: 100, seconds=6.5, clock=lambda: next(processor), wall_clock=lambda: next(wall))
    assert (one.runs, one.events, one.lowest, one.highest, one.median) == (2, 100, 25.0, 100.0, 62.5)
