"""Bounds of what a device can have done."""

import pytest
from fleetmeter_producers.device.traits import Counted, DeviceTraits, LocalModel, estimate
from fleetmeter_schemas import DeviceReportV1
from hypothesis import given
from hypothesis import strategies as st

TRAITS = DeviceTraits("laptop-16gb", memory_bandwidth_mbps=100_000)
MODEL = LocalModel("small-3b", "q4_k_m", pass_bytes=2_000_000_000)  # 50 tokens/s


def test_the_speed_of_a_published_model_by_hand() -> None:
    # Llama 3.2 1B: 1,235,814,400 weights of 4.5 bits are 695,145,600 bytes; at 34 * 10^9 bytes/s that is 48.91 times a
    # second: in 10 s at most 490 tokens, the last one in part.
    model = LocalModel.of_catalogue("llama-3.2-1b", "q4_0")
    assert model.pass_bytes == 695_145_600
    assert DeviceTraits("phone", 34_000).most_output_tokens(model, 10_000) == 490


def test_of_a_mixture_of_experts_only_the_active_weights_are_read() -> None:
    # 16 * 10^9 weights, of which 1.4 * 10^9 are active, of 8 bits.
    assert LocalModel.of_catalogue("llada2.0-mini", "int8").pass_bytes == 1_400_000_000


def test_a_pass_may_give_many_tokens() -> None:
    block = LocalModel("d", None, pass_bytes=2_000_000_000, tokens_per_pass=32)
    assert TRAITS.most_output_tokens(block, 1_000) == 1_600


def test_all_is_told() -> None:
    counted = Counted(4, 800, 4, 200, 4, 10_000, 4)
    assert estimate(counted, MODEL, TRAITS, elapsed_ms=10**9) == {
        "queries": 4,
        "queries_lower": 4,
        "input_tokens": 800,
        "input_tokens_lower": 800,
        "output_tokens": 200,
        "output_tokens_lower": 200,
        "output_tokens_upper": 500,
        "active_ms": 10_000,
        "memory_bandwidth_mbps": 100_000,
        "usage_fidelity": "measured",
    }


def test_what_some_queries_did_not_tell_is_bounded_and_not_guessed() -> None:
    counted = Counted(4, 800, 3, 150, 3, 10_000, 4)
    got = estimate(counted, MODEL, TRAITS, elapsed_ms=10**9)
    assert not {"input_tokens", "output_tokens"} & set(got)
    assert (got["output_tokens_lower"], got["output_tokens_upper"]) == (150, 500)
    assert got["usage_fidelity"] == "estimated"


def test_a_floor_bounds_from_below_what_nobody_counted() -> None:
    floor = DeviceTraits("laptop-16gb", 100_000, floor_tokens_per_s=20)
    assert estimate(Counted(4, 0, 4, 50, 1, 10_000, 4), MODEL, floor, 10**9)["output_tokens_lower"] == 200
    counted = estimate(Counted(4, 0, 4, 50, 4, 10_000, 4), MODEL, floor, 10**9)
    assert counted["output_tokens_lower"] == 50, "what was counted needs no floor"


def test_without_a_time_the_period_bounds() -> None:
    got = estimate(Counted(4, 0, 4, 50, 4, 9, 3), MODEL, TRAITS, elapsed_ms=60_000)
    assert "active_ms" not in got
    assert got["output_tokens_upper"] == 3_000


def test_a_count_that_is_impossible_is_left_out() -> None:
    got = estimate(Counted(1, 0, 1, 501, 1, 10_000, 1), MODEL, TRAITS, 10**9)
    assert "output_tokens" not in got
    assert (got["output_tokens_lower"], got["output_tokens_upper"]) == (0, 500)


def test_without_traits_there_is_no_upper_bound() -> None:
    for traits, model in ((DeviceTraits("x"), MODEL), (TRAITS, LocalModel("unknown"))):
        got = estimate(Counted(1, 5, 1, 501, 1, 10, 1), model, traits, 10)
        assert got["output_tokens"] == 501
        assert "output_tokens_upper" not in got


count = st.integers(0, 2**41)


@given(
    st.builds(Counted, count, count, count, count, count, count, count),
    st.builds(DeviceTraits, st.just("x"), st.none() | st.integers(1, 10**7), floor_tokens_per_s=st.integers(0, 10_000)),
    st.builds(LocalModel, st.just("m"), st.none(), st.none() | st.integers(1, 10**12), st.integers(1, 256)),
    st.integers(0, 2**40),
)
def test_whatever_was_counted_the_contract_takes_it(
    counted: Counted, traits: DeviceTraits, model: LocalModel, elapsed_ms: int
) -> None:
    DeviceReportV1(
        kind="estimate",
        model="m",
        period_hash="0" * 32,
        period_start="2026-01-01T00:00:00Z",
        period_end="2026-01-02T00:00:00Z",
        **estimate(counted, model, traits, elapsed_ms),
    )


@pytest.mark.parametrize("name", ["alice@example.com", "my model", "", "a" * 101, "naïve", "x\n"])
def test_names_are_names(name: str) -> None:
    with pytest.raises(ValueError, match="must match"):
        LocalModel(name)
    with pytest.raises(ValueError, match="must match"):
        DeviceTraits(name)


def test_a_model_that_the_catalogue_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="give LocalModel"):
        LocalModel.of_catalogue("llama-3.2-1b", "q2_odd")
