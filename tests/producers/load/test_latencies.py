"""The histogram against the sorted list of the same times."""

from fleetmeter_producers.load import Latencies
from hypothesis import given
from hypothesis import strategies as st

TIMES = st.lists(st.integers(0, 1 << 36), min_size=1, max_size=200)


@given(TIMES, st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_share_of_the_calls_is_within_the_time_told_which_is_hardly_too_high(times: list[int], share: float) -> None:
    latencies = Latencies()
    for ns in times:
        latencies.add(ns)
    # The smallest time such that at least this share of the calls took no longer, by counting them.
    exact = min(ns for ns in times if sum(other <= ns for other in times) >= share * len(times))
    assert exact <= round(latencies.at(share) * 1000) <= exact * (1 + 1 / 32) + 1
    assert latencies.calls == len(times)


@given(TIMES, TIMES)
def test_those_of_two_processes_add_up(mine: list[int], others: list[int]) -> None:
    one, two, both = Latencies(), Latencies(), Latencies()
    for ns in mine:
        one.add(ns)
        both.add(ns)
    for ns in others:
        two.add(ns)
        both.add(ns)
    assert one.merge(Latencies(two.counts)).counts == both.counts


def test_nothing_and_too_much() -> None:
    assert Latencies().at(0.99) == 0
    latencies = Latencies()
    latencies.add(10**15)
    assert latencies.at(0.5) == ((1 << 40) - 1) / 1000
