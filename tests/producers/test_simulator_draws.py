"""The simulator's distributions against the figures that they are to have."""

from random import Random
from statistics import median, quantiles

from fleetmeter_producers.simulator import draws


def percentile(values: list[int], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def test_steps_of_a_block_are_bimodal() -> None:
    rng = Random(1)
    steps = [draws.steps_of_block(rng) for _ in range(20_000)]
    assert 8 <= percentile(steps, 10) <= 12
    assert 21 <= median(steps) <= 25
    assert percentile(steps, 90) == max(steps) == 48
    assert min(steps) >= 1
    # Two humps with a valley between: far fewer need 38 to 44 steps than 16 to 22, or all 48.
    around_20, valley, at_48 = (sum(low <= s <= high for s in steps) for low, high in ((16, 22), (38, 44), (48, 48)))
    assert valley < around_20 / 5
    assert valley < at_48 / 5


def test_steps_of_answers() -> None:
    rng = Random(1)
    simple = {draws.steps_of_answer(rng, complex_query=False) for _ in range(2_000)}
    complex_ones = {draws.steps_of_answer(rng, complex_query=True) for _ in range(2_000)}
    assert simple == set(range(5, 11))
    assert complex_ones == set(range(20, 31))


def test_tokens_have_their_median_and_90th_percentile() -> None:
    rng = Random(1)
    values = [draws.tokens(rng, 900, 4_000, 180_000) for _ in range(20_000)]
    assert 850 <= median(values) <= 950
    assert 3_600 <= percentile(values, 90) <= 4_400
    assert 1 <= min(values) <= max(values) <= 180_000
    assert {draws.tokens(rng, 900, 4_000, 10) for _ in range(100)} <= set(range(1, 11))


def test_speeds() -> None:
    rng = Random(1)
    parallel = [draws.parallel_tokens_per_s(rng, published) for published in (1109, 737) for _ in range(2_000)]
    assert 700 <= min(parallel) < 760
    assert 1_050 < max(parallel) <= 1_100
    sequential = [draws.sequential_tokens_per_s(rng) for _ in range(5_000)]
    assert 95 <= median(sequential) <= 105
    assert 60 <= min(sequential) <= max(sequential) <= 140


def test_zipf_weights_fall_with_the_rank() -> None:
    weights = draws.zipf_weights(100)
    assert weights == sorted(weights, reverse=True)
    assert abs(weights[0] / weights[9] - 10**1.1) < 1e-9


def test_picks_reach_every_option_alike() -> None:
    rng = Random(1)
    picked = [draws.pick(rng, "abcd") for _ in range(40_000)]
    assert all(9_500 < picked.count(option) < 10_500 for option in "abcd")
