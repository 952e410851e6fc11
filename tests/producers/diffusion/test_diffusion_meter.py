"""The meter counts what it is told, says nothing of the rest, and never makes an event that the contract refuses."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers import matrix
from fleetmeter_producers.diffusion import DiffusionMeter, DiffusionRun
from fleetmeter_schemas import EventRejected
from hypothesis import given
from hypothesis import strategies as st

MODEL = "llada-8b-instruct"


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 10**15

    def __call__(self) -> int:
        return self.now_ns

    def wait_ms(self, ms: float) -> None:
        self.now_ns += int(ms * 1_000_000)


@pytest.fixture
def kept() -> KeepingEmitter:
    return KeepingEmitter()


def test_a_generation_by_hand(kept: KeepingEmitter) -> None:
    clock = Clock()
    meter = DiffusionMeter(kept, model=MODEL, schedule=matrix.DUAL_CACHE, region="eu-1", clock_ns=clock)
    run = meter.generation("acct", input_tokens=100, canvas_tokens=28, max_denoising_steps=16, user="u-1")
    run.begin_block(20)
    run.step(tokens=5)
    clock.wait_ms(30)
    run.first_token()
    run.step(tokens=15)
    run.begin_block(8)
    run.step(tokens=8)
    run.step()
    clock.wait_ms(12)
    event_id = run.finish(finish_reason="stop", gpu_ms=40)
    # Each block's first step computes all 128 positions, its second step the block alone, 20 and 8, over 128.
    #   2 * 8,015,581,184 * (128 + 20 + 128 + 8) + 4 * 32 * 32 * 128 * 128 * (128 + 20 + 128 + 8)
    #   = 4,552,850,112,512 + 19,058,917,376 = 4,571,909,029,888
    assert kept.last == {
        "model": MODEL,
        "generation_mode": "diffusion",
        "region": "eu-1",
        "usage_fidelity": "measured",
        "status": "ok",
        "finish_reason": "stop",
        "user": "u-1",
        "input_tokens": 100,
        "output_tokens": 28,
        "denoising_steps": 4,
        "max_denoising_steps": 16,
        "function_evaluations": 4,
        "blocks": 2,
        "matrix_formula": "diffusion-dual-cache@1",
        "matrix_gflop": 4_572,
        "gpu_ms": 40,
        "latency_ms": 42,
        "time_to_first_token_ms": 30,
    }
    assert (kept.events[0].subject, kept.events[0].id) == ("acct", event_id)


def test_what_nobody_told_is_absent_and_not_zero(kept: KeepingEmitter) -> None:
    with DiffusionMeter(kept, model=MODEL).generation("acct"):
        pass
    assert set(kept.last) == {"model", "generation_mode", "usage_fidelity", "status", "latency_ms"}


def test_steps_alone_are_enough(kept: KeepingEmitter) -> None:
    with DiffusionMeter(kept, model=MODEL).generation("acct", input_tokens=9) as run:
        run.step()
        run.step(passes=2)  # classifier-free guidance
    assert (kept.last["denoising_steps"], kept.last["function_evaluations"]) == (2, 3)
    assert not {"blocks", "matrix_gflop", "matrix_formula", "max_denoising_steps"} & set(kept.last)


def test_the_formula_is_named_after_what_happened(kept: KeepingEmitter) -> None:
    """A server that also caches the last block does one pass more than the named schedule says."""
    meter = DiffusionMeter(kept, model="fast-dllm-v2-7b", schedule=matrix.BLOCK_CAUSAL)
    for last_too in (False, True):
        with meter.generation("acct", input_tokens=10) as run:
            run.prefill()
            run.begin_block(4)
            run.step()
            run.write_cache()
            run.begin_block(4)
            run.step()
            if last_too:
                run.write_cache()
    names = [event.data.to_wire()["matrix_formula"] for event in kept.events]
    assert names == [matrix.BLOCK_CAUSAL, matrix.RECORDED]
    assert [event.data.to_wire()["function_evaluations"] for event in kept.events] == [4, 5]


def test_shapes_that_the_caller_gives_win(kept: KeepingEmitter) -> None:
    meter = DiffusionMeter(kept, model="mine", generation_mode="diffusion", shape=matrix.MatrixShape(10**9, 1, 1, 1))
    with meter.generation("acct") as run:
        run.step(new_positions=3, context=10)
        run.forward_pass(2, 10)
    # 2 * 10^9 operations a position: 10 * 10^9, and 4 * (3 * 10 + 2 * 10) = 200 more.
    assert (kept.last["matrix_gflop"], kept.last["matrix_formula"]) == (10, matrix.RECORDED)
    assert kept.last["denoising_steps"] == 1


def test_a_pass_of_unknown_shape_leaves_the_sum_unknown(kept: KeepingEmitter) -> None:
    with DiffusionMeter(kept, model=MODEL).generation("acct") as run:
        run.step(new_positions=3, context=10)
        run.forward_pass()
    assert "matrix_gflop" not in kept.last
    assert kept.last["function_evaluations"] == 2


def test_more_steps_than_the_setting_says_are_counted_all_the_same(kept: KeepingEmitter) -> None:
    with DiffusionMeter(kept, model=MODEL).generation("acct", max_denoising_steps=1) as run:
        run.step()
        run.step()
    assert kept.last["denoising_steps"] == 2
    assert "max_denoising_steps" not in kept.last


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError, "error"), (asyncio.CancelledError, "cancelled"), (GeneratorExit, "cancelled")]
)
def test_work_of_a_request_that_failed_is_counted(
    kept: KeepingEmitter, error: type[BaseException], status: str
) -> None:
    def serve() -> None:
        with DiffusionMeter(kept, model=MODEL).generation("acct", input_tokens=5) as run:
            run.step(tokens=3)
            raise error

    with pytest.raises(error):
        serve()
    assert (kept.last["status"], kept.last["denoising_steps"], kept.last["output_tokens"]) == (status, 1, 3)


def test_the_request_s_own_exception_is_the_one_to_see(kept: KeepingEmitter) -> None:
    kept.refuse = EventRejected.__new__(EventRejected)
    with pytest.raises(ZeroDivisionError), DiffusionMeter(kept, model=MODEL).generation("acct"):
        raise ZeroDivisionError


def test_an_event_is_emitted_once(kept: KeepingEmitter) -> None:
    with DiffusionMeter(kept, model=MODEL).generation("acct") as run:
        run.finish(3)
        with pytest.raises(RuntimeError, match="emitted already"):
            run.finish(3)
    assert len(kept.events) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "llama-3.1-8b"}, "token by token"),
        ({"model": "unheard-of"}, "name its generation_mode"),
        ({"model": MODEL, "schedule": "full"}, "schedule is 'full'"),
        ({"model": MODEL, "placement": "moon"}, "placement"),
    ],
)
def test_bad_settings_are_found_before_the_first_request(
    kept: KeepingEmitter, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DiffusionMeter(kept, **options)


def test_a_canvas_must_be_named_and_is_not_exceeded(kept: KeepingEmitter) -> None:
    meter = DiffusionMeter(kept, model=MODEL, schedule=matrix.DIFFUSION)
    with pytest.raises(ValueError, match="name input_tokens and canvas_tokens"):
        meter.generation("acct", input_tokens=4)
    run = meter.generation("acct", input_tokens=4, canvas_tokens=8)
    run.begin_block(6)
    with pytest.raises(ValueError, match="the blocks have 9 positions, the canvas 8"):
        run.begin_block(3)


CALLS: list[Callable[[DiffusionRun, int], None]] = [
    lambda run, n: run.begin_block(n),
    lambda run, n: run.step(tokens=n),
    lambda run, n: run.step(passes=n % 3),
    lambda run, n: run.step(new_positions=n),
    lambda run, n: run.step(new_positions=n, context=n + 5),
    lambda run, n: run.prefill(passes=n % 3),
    lambda run, n: run.forward_pass(n),
    lambda run, n: run.lose_count(f"the test says so {n} times"),
    lambda run, n: run.write_cache() if n % 2 else run.first_token(),
]


@given(
    st.sampled_from([None, matrix.BLOCK_CAUSAL, matrix.DIFFUSION, matrix.PREFIX_CACHE, matrix.DUAL_CACHE]),
    st.lists(st.tuples(st.sampled_from(CALLS), st.integers(1, 9)), max_size=30),
    st.integers(0, 12),
)
def test_whatever_is_called_the_contract_takes_the_event(
    schedule: str | None, calls: list[tuple[Callable[[DiffusionRun, int], None], int]], most: int
) -> None:
    kept = KeepingEmitter()
    meter = DiffusionMeter(kept, model=MODEL, schedule=schedule)
    with meter.generation("acct", input_tokens=40, canvas_tokens=400, max_denoising_steps=most) as run:
        for call, number in calls:
            call(run, number)
    assert len(kept.events) == 1  # judged by parse_event
    data = kept.last
    if "matrix_gflop" in data:
        assert data["function_evaluations"] >= data.get("blocks", 1)
