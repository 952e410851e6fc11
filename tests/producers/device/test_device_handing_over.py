"""Months offline, and handing reports over: each arrives, once, whatever the network does."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, OutboxFullError, UsageClient
from fleetmeter_producers.device import DeviceReporter
from fleetmeter_schemas import GenerationV1

from .conftest import DAY_US, MODEL, FakeClock, report

Make = Callable[..., DeviceReporter]


def test_what_the_user_withdraws_during_a_report_stays(make_reporter: Make, kept: KeepingEmitter) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    reporter.seat_seen()

    class Withdrawing(KeepingEmitter):
        def emit(self, *args: Any, **options: Any) -> str:
            reporter.withdraw()
            return super().emit(*args, **options)

    withdrawing = Withdrawing()
    assert reporter.report(withdrawing) == 1


def test_what_a_full_client_drops_is_kept(make_reporter: Make, broker: FakeBroker) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    reporter.seat_seen()
    broker.away = True
    settings = ClientSettings(outbox="memory", outbox_limit_bytes=2**20, retry_wait_s=0.001, retry_wait_limit_s=0.01)
    client = UsageClient("kafka:9092", "urn:test:app", settings=settings, connect=broker.connect)
    assert settings.when_full == "drop_newest"
    while not client.stats().dropped:
        client.emit("acct", GenerationV1(model="m", generation_mode="diffusion"))
    with pytest.raises(OutboxFullError, match="is kept"):
        reporter.report(client)
    others = client.stats().emitted
    broker.away = False
    assert client.flush(60).events == 0
    assert reporter.report(client) == 2
    assert client.close(60).events == 0
    assert len(broker.log) == others + 2


def test_ids_of_one_device_share_nothing(make_reporter: Make, kept: KeepingEmitter) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    reporter.seat_seen()
    reporter.report(kept)
    ulids = [event.id.removesuffix("-0") for event in kept.events]
    assert len({ulid[10:] for ulid in ulids}) == len(ulids) == 2


def test_offline_for_a_year(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock, tmp_path: Path) -> None:
    reporter = make_reporter()
    for _ in range(380):
        reporter.count(MODEL.name, input_tokens=10, output_tokens=5, active_ms=200)
        clock.go(DAY_US)
    reporter.close()
    assert sum(path.stat().st_size for path in (tmp_path / "counts").iterdir()) < 24 * 1024
    came = report(make_reporter(), kept, clock)
    assert sum(data["queries"] for data in came) == 380
    assert len(came) == 13
    spans = sorted((data["period_start"], data["period_end"]) for data in came)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans)), "they are disjoint"
    assert len({data["period_hash"] for data in came}) == 13


def test_offline_for_years_the_file_stays_small(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock, tmp_path: Path
) -> None:
    reporter = make_reporter()
    for _ in range(60):
        reporter.count(MODEL.name)
        clock.go(30 * DAY_US)
    reporter.close()
    assert sum(path.stat().st_size for path in (tmp_path / "counts").iterdir()) < 24 * 1024
    came = report(make_reporter(), kept, clock)
    # Periods whose end is more than 399 days ago are gone; the last 14 months are there.
    assert sum(data["queries"] for data in came) in {13, 14}


def test_what_was_not_taken_is_sent_again_under_its_id(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock
) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    reporter.seat_seen()

    class Interrupted(KeepingEmitter):
        """Takes the event, and never says so."""

        def emit(self, *args: Any, **options: Any) -> str:
            super().emit(*args, **options)
            raise OSError("connection reset")

    lost = Interrupted()
    with pytest.raises(OSError, match="connection reset"):
        reporter.report(lost)
    reporter.count(MODEL.name)
    clock.go(DAY_US)
    assert reporter.report(kept) == 3
    assert kept.events[0] == lost.events[0], "the same event, to the microsecond"
    assert sum(event.data.to_wire().get("queries", 0) for event in kept.events) == 2


def test_trying_to_report_every_day_does_not_shorten_periods(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock
) -> None:
    reporter = make_reporter()
    offline = KeepingEmitter(refuse=OSError("no network"))
    for _ in range(14):
        reporter.count(MODEL.name)
        clock.go(DAY_US)
        with pytest.raises(OSError, match="no network"):
            reporter.report(offline)
    came = report(reporter, kept, clock)
    assert [data["queries"] for data in came] == [1, 13]


def test_a_report_that_waited_for_long_gets_a_new_time(
    make_reporter: Make, kept: KeepingEmitter, clock: FakeClock
) -> None:
    """Workers remember ids for 35 days, and refuse what is older."""
    reporter = make_reporter()
    reporter.count(MODEL.name)
    clock.go(DAY_US)
    with pytest.raises(OSError, match="no network"):
        reporter.report(KeepingEmitter(refuse=OSError("no network")))
    clock.go(31 * DAY_US)
    reporter.report(kept)
    assert kept.events[0].time_us == clock.wall_us
    assert kept.events[0].data.to_wire()["period_end"] == "2026-03-11T12:00:00.000000Z"


def test_a_report_that_waited_too_long_is_dropped(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    with pytest.raises(OSError, match="no network"):
        reporter.report(KeepingEmitter(refuse=OSError("no network")))
    clock.go(401 * DAY_US)
    assert reporter.report(kept) == 0
    reporter.count(MODEL.name)
    assert reporter.report(kept) == 1


def test_one_at_a_time(make_reporter: Make, kept: KeepingEmitter) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name)
    reporter.seat_seen()
    assert [reporter.report(kept, most=1) for _ in range(3)] == [1, 1, 0]


def test_a_preview_changes_nothing(make_reporter: Make, kept: KeepingEmitter, clock: FakeClock) -> None:
    reporter = make_reporter()
    reporter.count(MODEL.name, output_tokens=4)
    shown = reporter.preview()
    assert shown == reporter.preview()
    came = report(reporter, kept, clock)
    assert came == shown
