"""A producer's pace, by a clock that goes when it pauses: what is due is emitted, no more, and made up for."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest
from fleetmeter_doubles.kafka_broker import FakeBroker
from fleetmeter_producers import ClientSettings, UsageClient
from fleetmeter_producers.load import LoadConfig, Progress
from fleetmeter_producers.load.drive import drive
from fleetmeter_producers.load.report import Driven, report_of
from fleetmeter_schemas import parse_event


class Clock:
    """Goes on by what is paused, and by `more` once."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.more = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds + self.more
        self.more = 0.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(broker: FakeBroker) -> Iterator[UsageClient]:
    made = UsageClient(
        "kafka:9092", "urn:test:load", settings=ClientSettings(retry_wait_s=0.01), connect=broker.connect
    )
    yield made
    made.close(0)


def test_the_rate_is_kept(client: UsageClient, clock: Clock, broker: FakeBroker) -> None:
    told: list[Progress] = []
    driven = drive(client, 400, 2.5, drain_s=10, tell=told.append, clock=clock, pause=clock.pause)
    assert (driven.ended.emitted, driven.drained.delivered, driven.drained.waiting) == (1_000, 1_000, 0)
    assert driven.ended.seconds == pytest.approx(2.5)
    assert max(clock.pauses) <= 0.05
    assert [round(progress.seconds, 1) for progress in told] == [0.5, 1.0, 1.5, 2.0, 2.5]
    # At each moment as many as are due: those told at 0.5 s, one in 2.5 ms.
    assert told[0].emitted == pytest.approx(200, abs=2)
    events = [parse_event(orjson.loads(value or b"")) for value in broker.values()]
    assert {event.subject for event in events} == {f"load-{number:02}" for number in range(20)}
    assert sum(driven.latencies) == 1_000


def test_what_a_pause_held_up_is_made_up_for(client: UsageClient, clock: Clock) -> None:
    clock.more = 1.2
    driven = drive(client, 1_000, 2, drain_s=10, tell=lambda _: None, clock=clock, pause=clock.pause)
    assert driven.ended.emitted == 2_000
    assert driven.ended.seconds == pytest.approx(2, abs=0.05)


def test_what_was_not_possible_in_time_is_missing(client: UsageClient, clock: Clock) -> None:
    clock.more = 3.0
    driven = drive(client, 1_000, 2, drain_s=10, tell=lambda _: None, clock=clock, pause=clock.pause)
    assert driven.ended.emitted < 10
    report = report_of(LoadConfig(events_per_s=1_000, duration_s=2), [driven])
    assert report.events_per_s < 5
    assert report.ok


def test_it_ends_early_when_told(client: UsageClient, clock: Clock) -> None:
    driven = drive(
        client,
        100,
        60,
        drain_s=10,
        tell=lambda _: None,
        stopped=lambda: clock.now > 1_001,
        clock=clock,
        pause=clock.pause,
    )
    assert driven.ended.emitted == pytest.approx(100, abs=6)
    assert driven.ended.seconds == pytest.approx(1, abs=0.06)


def test_a_broker_that_is_away_shows_as_backlog(client: UsageClient, clock: Clock, broker: FakeBroker) -> None:
    broker.away = True
    driven = drive(client, 500, 1, drain_s=0, tell=lambda _: None, clock=clock, pause=clock.pause)
    report = report_of(LoadConfig(events_per_s=1_000, duration_s=1), [driven, _another(driven.latencies)])
    assert (report.emitted, report.delivered, report.backlog, report.left) == (700, 150, 550, 550)
    assert report.most_backlog == 500 + 90
    assert (report.producers, report.events_per_s, report.ok) == (2, 500 + 100, False)


def _another(latencies: tuple[int, ...]) -> Driven:
    """200 events in two seconds, 50 of which still wait."""
    return Driven(Progress(2.0, 200, 150, 0, 50), Progress(2.5, 200, 150, 0, 50), 90, latencies)
