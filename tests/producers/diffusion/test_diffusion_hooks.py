"""Counting the passes of a module by its hook.

The module is a stand-in with torch's `register_forward_hook` contract (torch itself is too large for the tests).
"""

import threading
from collections.abc import Generator, Mapping
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_doubles.tiny_transformer import TinyTransformer
from fleetmeter_producers.diffusion import DiffusionMeter, DiffusionRun, counting_passes
from fleetmeter_producers.diffusion.hooks import each_is_a_pass


@pytest.fixture
def kept() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def meter(kept: KeepingEmitter) -> DiffusionMeter:
    return DiffusionMeter(kept, model="llada-8b-instruct")


def test_each_pass_within_the_block_is_a_step(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    model = TinyTransformer()
    model([1, 2])
    with meter.generation("acct") as run:
        with counting_passes(model, run):
            for _ in range(3):
                model([1, 2])
        model([1, 2])
    assert model.calls == 5
    assert (kept.last["denoising_steps"], kept.last["function_evaluations"]) == (3, 3)


def test_the_loop_counts_steps_and_the_hook_passes(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    model = TinyTransformer()
    with meter.generation("acct") as run, counting_passes(model, run, each_is_a_pass):
        for _ in range(3):
            model([1, 2])  # with guidance: once with the prompt,
            model([1])  # and once without
            run.step(passes=0)
    assert (kept.last["denoising_steps"], kept.last["function_evaluations"]) == (3, 6)


def test_shapes_come_from_the_arguments(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    model = TinyTransformer()

    def report(run: DiffusionRun, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        run.step(new_positions=len(args[0]), context=output[1][0][0].shape[1])

    with meter.generation("acct") as run, counting_passes(model, run, report):
        _, cache = model([1, 2, 3])
        model([4], 3, cache)
    # LLaDA 8B: 4 positions, over 3 and 4: 2 * 8,015,581,184 * 4 operations and a few for the attention.
    assert (kept.last["matrix_gflop"], kept.last["matrix_formula"]) == (64, "recorded-passes@1")


def test_a_batch_counts_for_each_of_its_requests(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    model, runs = TinyTransformer(), [meter.generation("a"), meter.generation("b")]
    with counting_passes(model, runs):
        model([1])
    for run in runs:
        run.finish(1)
    assert [event.data.to_wire()["denoising_steps"] for event in kept.events] == [1, 1]


def test_threads_that_share_a_model_do_not_count_for_each_other(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    model, together = TinyTransformer(), threading.Barrier(2, timeout=20)

    def serve(account: str, passes: int) -> None:
        with meter.generation(account) as run, counting_passes(model, run):
            together.wait()
            for _ in range(passes):
                model([1, 2])
            together.wait()

    threads = [threading.Thread(target=serve, args=(account, passes)) for account, passes in (("a", 3), ("b", 5))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    counted = {event.subject: event.data.to_wire()["denoising_steps"] for event in kept.events}
    assert counted == {"a": 3, "b": 5}


def test_a_pass_that_cannot_be_attributed_leaves_the_counts_unknown(
    meter: DiffusionMeter, kept: KeepingEmitter
) -> None:
    model = TinyTransformer()
    with meter.generation("acct") as run, counting_passes(model, run):
        model([1, 2])
        stranger = threading.Thread(target=model, args=([1, 2],))
        stranger.start()
        stranger.join(20)
    assert not {"denoising_steps", "function_evaluations", "blocks"} & set(kept.last)


def test_a_generator_that_is_closed_elsewhere_leaves_no_hook(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    model = TinyTransformer()

    def stream() -> Generator[int]:
        with meter.generation("acct") as run, counting_passes(model, run):
            while True:
                model([1, 2])
                yield 1

    tokens = stream()
    next(tokens)
    closer = threading.Thread(target=tokens.close)
    closer.start()
    closer.join(20)
    assert kept.last["status"] == "cancelled"
    assert kept.last["denoising_steps"] == 1
    model([1])  # nobody listens any more
    assert not model._hooks


def test_a_run_that_saw_no_pass_says_nothing(meter: DiffusionMeter, kept: KeepingEmitter) -> None:
    with meter.generation("acct") as run, counting_passes(TinyTransformer(), run):
        pass
    assert "function_evaluations" not in kept.last


def test_what_takes_no_hooks_is_refused(meter: DiffusionMeter) -> None:
    with (
        pytest.raises(TypeError, match="int has no register_forward_hook"),
        counting_passes(3, meter.generation("a")),  # type: ignore[arg-type]
    ):
        pass
