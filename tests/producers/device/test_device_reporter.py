"""Counting on a device, and what a report says of it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.device import DeviceReporter

from .conftest import DAY_US, MODEL, FakeClock, report

Make = Callable[..., DeviceReporter]


def test_a_month_in_one_estimate(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter()
    clock.go(DAY_US)
    assert reporter.count(MODEL.name, input_tokens=300, output_tokens=90, active_ms=3_000)
    reporter.count(MODEL.name, input_tokens=200, output_tokens=60, active_ms=2_000)
    clock.go(DAY_US)
    (estimate,) = report(reporter, kept, clock)
    assert len(estimate.pop("period_hash")) == 32
    assert estimate == {
        "kind": "estimate",
        "period_start": "2026-03-10T12:00:00.000000Z",
        "period_end": "2026-03-12T12:00:00.000000Z",
        "model": "small-3b",
        "quantization": "q4_k_m",
        "device_class": "laptop-16gb",
        "usage_fidelity": "measured",
        "queries": 2,
        "queries_lower": 2,
        "input_tokens": 500,
        "input_tokens_lower": 500,
        "output_tokens": 150,
        "output_tokens_lower": 150,
        "output_tokens_upper": 250,
        "active_ms": 5_000,
        "memory_bandwidth_mbps": 100_000,
    }
    assert kept.events[0].subject == "acct"
    assert report(reporter, kept, clock) == []


def test_without_permission_nothing_leaves(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter(allowed=False)
    reporter.count(MODEL.name, output_tokens=5)
    reporter.seat_seen()
    reporter.deployed(MODEL.name, "1.0")
    assert report(reporter, kept, clock) == []
    clock.go(DAY_US)
    reporter.allow()
    reporter.count(MODEL.name, output_tokens=7, active_ms=900)
    came = report(reporter, kept, clock)
    assert [data["kind"] for data in came] == ["download", "deploy", "estimate"], "as things stand, from now on"
    assert (came[2]["queries"], came[2]["output_tokens"]) == (1, 7)
    reporter.count(MODEL.name)
    reporter.withdraw()
    assert report(reporter, kept, clock) == []
    reporter.allow()
    assert [data["kind"] for data in report(reporter, kept, clock)] == ["download", "deploy"]


def test_the_life_of_a_model(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter()
    for _ in range(3):  # an app tells it at each start
        reporter.downloaded(MODEL.name, "1.0")
        reporter.deployed(MODEL.name, "1.0")
    reporter.downloaded(MODEL.name, "1.1")
    reporter.deployed(MODEL.name, "1.1")
    reporter.removed(MODEL.name)
    reporter.removed(MODEL.name)
    came = report(reporter, kept, clock)
    told = [(data["kind"], data["model_version"], data.get("previous_model_version")) for data in came]
    assert told == [
        ("download", "1.0", None),
        ("deploy", "1.0", None),
        ("download", "1.1", None),
        ("upgrade", "1.1", "1.0"),
        ("remove", "1.1", None),
    ]
    assert {data["installation"] for data in came} == {reporter.installation}


def test_an_estimate_names_the_version_that_was_in_use(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock
) -> None:
    reporter = make_reporter()
    for version in ("1.0", "1.1"):
        reporter.deployed(MODEL.name, version)
        reporter.count(MODEL.name)
    estimates = [data for data in report(reporter, kept, clock) if data["kind"] == "estimate"]
    assert [(data["model_version"], data["queries"]) for data in estimates] == [("1.0", 1), ("1.1", 1)]
    assert len({data["period_hash"] for data in estimates}) == 1, "one device in this period"


def test_a_seat_counts_once_a_month(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter(user_key=b"k" * 16)
    for _ in range(4):
        reporter.seat_seen()
        reporter.seat_seen("alice@example.com")
        clock.go(7 * DAY_US)  # 10, 17, 24 and 31 March
    reporter.seat_seen()  # 7 April
    seats = report(reporter, kept, clock)
    assert Counter((seat["seat_kind"], seat["period_start"][:7]) for seat in seats) == {
        ("device", "2026-03"): 1,
        ("user", "2026-03"): 1,
        ("device", "2026-04"): 1,
    }
    assert {seat.get("user", "")[:2] for seat in seats} == {"", "u-"}


def test_one_user_is_one_seat_on_several_devices(tmp_path: Path, make_reporter: Make, kept: KeepingEmitter) -> None:
    reporters = [make_reporter(account, user_key=b"k" * 16) for account in ("a", "b")]
    for reporter in reporters:
        reporter.seat_seen("alice@example.com")
        reporter.report(kept)
    one, other = (event.data.to_wire() for event in kept.events)
    assert one["user"] == other["user"]
    assert one["installation"] != other["installation"], "another account is another installation"


def test_the_hash_rotates_and_the_installation_stays(make_reporter: Make, kept: KeepingEmitter) -> None:
    installations, hashes = set(), set()
    for _ in range(3):
        reporter = make_reporter()
        reporter.count(MODEL.name)
        reporter.report(kept)
        hashes.add(kept.last["period_hash"])
        installations.add(reporter.installation)
        reporter.close()
    assert (len(installations), len(hashes)) == (1, 3)
    assert not any("installation" in event.data.to_wire() for event in kept.events)


@pytest.mark.parametrize(
    "options",
    [{"queries": -1}, {"input_tokens": 1.5}, {"output_tokens": True}, {"active_ms": "9"}, {"queries": 2**41}],
)
def test_quantities_are_whole_numbers(make_reporter: Make, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="whole number"):
        make_reporter().count(MODEL.name, **options)


def test_sums_stay_whole_numbers_however_large(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter(models=[type(MODEL)("small-3b")])
    for _ in range(5):
        reporter.count(MODEL.name, queries=2**40, input_tokens=2**40, output_tokens=2**40, active_ms=2**40)
    (estimate,) = report(reporter, kept, clock)
    assert estimate["queries"] == estimate["output_tokens"] == 2**40


def test_users_need_a_key(make_reporter: Make) -> None:
    with pytest.raises(ValueError, match="user_key"):
        make_reporter().seat_seen("alice")
    with pytest.raises(ValueError, match="at least 16 random bytes"):
        make_reporter(user_key=b"short")
