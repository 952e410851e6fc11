"""What servers answer, in the shapes of their sources, as fields that the contract takes."""

from collections.abc import Callable
from typing import Any

import pytest
from fleetmeter_producers.diffusion import reported
from fleetmeter_producers.diffusion.reported import FastDllmCache, FastDllmSettings
from fleetmeter_producers.matrix import MatrixShape
from fleetmeter_schemas import GenerationV1
from hypothesis import given
from hypothesis import strategies as st

SMALL = MatrixShape(active_parameters=10**9, layers=2, heads=3, head_size=5)
UNREPORTED = {"denoising_steps", "max_denoising_steps", "function_evaluations", "blocks", "matrix_gflop"}


def wire(fields: dict[str, Any]) -> dict[str, Any]:
    return GenerationV1(**fields).to_wire()


def fast_dllm(nfe: int, settings: FastDllmSettings) -> dict[str, Any]:
    return wire(
        reported.fast_dllm(nfe, settings, model="llada-8b-instruct", input_tokens=10, output_tokens=20, shape=SMALL)
    )


def test_fast_dllm_counts_passes_and_each_is_a_step() -> None:
    got = fast_dllm(17, FastDllmSettings(gen_length=32, block_length=8, steps=32, threshold=0.9))
    assert (got["denoising_steps"], got["function_evaluations"], got["blocks"]) == (17, 17, 4)
    assert (got["decoding_strategy"], got["usage_fidelity"]) == ("confidence_threshold", "measured")
    # 17 passes over 42 positions: 2 * 10^9 * 42 operations each, and some millions for the attention.
    assert (got["matrix_formula"], got["matrix_gflop"]) == ("diffusion-full@1", 17 * 84)


@pytest.mark.parametrize("spread", [[1, 1, 1, 14], [5, 4, 4, 4], [14, 1, 1, 1]])
def test_with_the_dual_cache_nfe_determines_the_operations(spread: list[int]) -> None:
    """Pass by pass, however the steps were spread over the blocks."""
    got = fast_dllm(17, FastDllmSettings(gen_length=32, block_length=8, steps=32, threshold=0.9, cache="dual"))
    positions = sum(42 + 8 * (steps - 1) for steps in spread)
    assert got["matrix_gflop"] == 2 * positions


def test_with_a_prefix_cache_it_does_not_unless_there_is_one_block() -> None:
    several = FastDllmSettings(gen_length=32, block_length=8, steps=32, threshold=0.9, cache="prefix")
    assert "matrix_gflop" not in fast_dllm(17, several)
    one = FastDllmSettings(gen_length=32, block_length=32, steps=32, threshold=0.9, cache="prefix")
    assert fast_dllm(17, one)["matrix_gflop"] == 2 * (42 + 16 * 32)


@pytest.mark.parametrize(
    ("cache", "threshold", "steps", "fewest", "most"),
    [
        ("none", None, 16, 4, 16),
        ("none", 0.9, 16, 4, 32),  # with a threshold, `steps` is not looked at
        ("dual", 0.9, 16, 8, 32),  # the step that fills the cache is always followed by another one
        ("prefix", None, 16, 8, 16),
    ],
)
def test_an_nfe_that_the_settings_cannot_give_is_refused(
    cache: FastDllmCache, threshold: float | None, steps: int, fewest: int, most: int
) -> None:
    settings = FastDllmSettings(32, 8, steps, threshold=threshold, cache=cache)
    for good in (fewest, most):
        assert fast_dllm(good, settings)["max_denoising_steps"] == most
    for bad in (fewest - 1, most + 1):
        with pytest.raises(ValueError, match=f"from {fewest} to {most} forward passes"):
            fast_dllm(bad, settings)


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of block_length 5"):
        FastDllmSettings(gen_length=32, block_length=5, steps=32)


def test_sglang_generate() -> None:
    answer = {
        "text": "never looked at",
        "output_ids": [3, 4],
        "meta_info": {
            "id": "e7f2",
            "finish_reason": {"type": "length", "length": 128},
            "prompt_tokens": 57,
            "completion_tokens": 128,
            "cached_tokens": 32,
            "e2e_latency": 0.2514,
            "weight_version": "default",
        },
    }
    assert wire(reported.sglang(answer, model="llada2.0-mini", dllm_algorithm="JointThreshold")) == {
        "model": "llada2.0-mini",
        "generation_mode": "block_diffusion",
        "decoding_strategy": "joint_threshold",
        "usage_fidelity": "provider_reported",
        "status": "ok",
        "finish_reason": "length",
        "input_tokens": 57,
        "cache_read_input_tokens": 32,
        "output_tokens": 128,
        "latency_ms": 251,
        "request_id": "e7f2",
    }


def test_sglang_says_that_a_request_was_aborted() -> None:
    meta = {"finish_reason": {"type": "abort", "message": "..."}, "prompt_tokens": 5, "completion_tokens": 2}
    assert wire(reported.sglang({"meta_info": meta}, model="llada2.0-mini"))["status"] == "cancelled"


CHAT: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "mercury-2",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "..."}, "finish_reason": "stop"}],
    "usage": {
        "prompt_tokens": 40,
        "completion_tokens": 300,
        "total_tokens": 340,
        "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": None},
        "completion_tokens_details": {"reasoning_tokens": 120, "accepted_prediction_tokens": None},
        "something_new": {"deep": 1},
    },
}
SERVERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "mercury": reported.mercury,
    "vllm": lambda answer: reported.vllm(answer, model="diffusiongemma-26b-a4b", selection_policy="leftmost"),
    "sglang": lambda answer: reported.sglang(answer, model="llada2.0-mini", dllm_algorithm="LowConfidence"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_openai_compatible_usage(server: str) -> None:
    got = wire(SERVERS[server](CHAT))
    assert (got["input_tokens"], got["cache_read_input_tokens"]) == (40, 16)
    assert (got["output_tokens"], got["reasoning_tokens"]) == (300, 120)
    assert (got["usage_fidelity"], got["status"], got["finish_reason"]) == ("provider_reported", "ok", "stop")
    assert not UNREPORTED & set(got)


def test_who_and_how() -> None:
    got = {name: wire(make(CHAT)) for name, make in SERVERS.items()}
    assert (got["mercury"]["model"], got["mercury"]["provider"]) == ("mercury-2", "inception")
    assert got["mercury"]["generation_mode"] == "diffusion"
    assert (got["vllm"]["decoding_strategy"], got["vllm"]["generation_mode"]) == ("leftmost", "block_diffusion")
    assert got["sglang"]["decoding_strategy"] == "low_confidence"


def test_parts_that_do_not_fit_never_cost_the_event() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 41}, "completion_tokens_details": {"reasoning_tokens": 301}}
    got = wire(reported.mercury({**CHAT, "usage": {**CHAT["usage"], **details}}))
    assert (got["input_tokens"], got["output_tokens"]) == (40, 300)
    assert not {"cache_read_input_tokens", "reasoning_tokens"} & set(got)


@pytest.mark.parametrize("server", SERVERS)
@given(
    without=st.sets(st.sampled_from([*CHAT, "prompt_tokens", "prompt_tokens_details", "completion_tokens_details"])),
    nulls=st.booleans(),
)
def test_what_is_missing_stays_absent(server: str, without: set[str], nulls: bool) -> None:
    usage, answer = dict(CHAT["usage"]), dict(CHAT)
    for place in (usage, answer):
        for name in without & set(place):
            if nulls:
                place[name] = None
            else:
                del place[name]
    if "usage" not in without:
        answer["usage"] = usage
    got = wire(SERVERS[server](answer))
    assert ("cache_read_input_tokens" in got) == (not {"usage", "prompt_tokens", "prompt_tokens_details"} & without)
    assert ("output_tokens" in got) == ("usage" not in without)
    assert ("reasoning_tokens" in got) == (not {"usage", "completion_tokens_details"} & without)
    assert not UNREPORTED & set(got)
