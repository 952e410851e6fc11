"""What two wrong clocks and a right one say about a period."""

from fleetmeter_producers.device.clock import DeviceClock, Reading, bounded, elapsed_between, step_between
from hypothesis import given
from hypothesis import strategies as st

HOUR = 3_600_000_000


def step(wall: int, elapsed: int, *, boot: str = "a", sees_sleep: bool = True) -> int:
    return step_between(Reading(0, 10 * HOUR, "a"), Reading(wall, 10 * HOUR + elapsed, boot), sees_sleep=sees_sleep)


def test_a_step_is_what_the_clocks_disagree_about() -> None:
    assert step(HOUR, HOUR) == 0
    assert step(HOUR + 1_500_000, HOUR) == 0, "drift"
    assert step(-5 * HOUR, HOUR) == -6 * HOUR
    assert step(7 * HOUR, HOUR) == 6 * HOUR


def test_a_clock_that_sleeps_with_the_device_shows_only_steps_back() -> None:
    assert step(7 * HOUR, HOUR, sees_sleep=False) == 0
    assert step(-HOUR, HOUR, sees_sleep=False) == -2 * HOUR


def test_across_a_boot_only_a_step_back_shows() -> None:
    assert step(7 * HOUR, -9 * HOUR, boot="b") == 0
    assert step(-7 * HOUR, HOUR, boot="b") == -7 * HOUR
    assert elapsed_between(Reading(0, 0, "a"), Reading(0, HOUR, "b")) == 0


moment = st.integers(0, 10**15)


@given(moment, moment, st.integers(0, 10**14), moment, moment, moment)
def test_a_period_lies_between_the_bounds(
    begin: int, end: int, elapsed: int, latest: int, oldest: int, reported: int
) -> None:
    span = bounded(begin, end, elapsed_us=elapsed, latest_us=latest, oldest_us=oldest, reported_us=reported)
    if span is None:
        assert min(end, latest) <= oldest
        return
    assert oldest <= span[0] <= span[1] <= latest
    assert span[0] >= min(reported, span[1]), "what was reported is not reported again"
    room = span[1] - max(oldest, min(reported, span[1]))
    assert span[1] - span[0] >= min(elapsed, room), "it lasts as long as was counted"


def test_the_clocks_of_this_machine() -> None:
    clock, again = DeviceClock(), DeviceClock()
    first, second = clock.read(), again.read()
    assert second.elapsed_us >= first.elapsed_us
    assert step_between(first, second, sees_sleep=clock.sees_sleep) == 0
