"""Local first: one request, its attempts, and exactly one event with billable tokens."""

from __future__ import annotations

from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers.gateway import Gateway
from fleetmeter_schemas import FallbackV1
from hypothesis import given
from hypothesis import strategies as st

LOCAL = {"model": "gemma", "done": True, "prompt_eval_count": 50, "eval_count": 20, "done_reason": "stop"}
CLOUD = {"id": "c1", "choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 60, "completion_tokens": 30}}


class Clock:
    """Goes on by 100 ms with each look."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 100_000_000
        return self.now_ns


@pytest.fixture
def emitter() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def gateway(emitter: KeepingEmitter) -> Gateway:
    return Gateway(emitter, clock_ns=Clock(), region="eu-1")


def kinds(emitter: KeepingEmitter) -> list[str]:
    return [event.data.SHORT for event in emitter.events]


def test_an_answer_near_the_caller(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.request("acct-1", user="u") as request:
        with request.local("gemma-3n-e4b", convention="ollama", quantization="q4_k_m") as attempt:
            attempt.answered(LOCAL)
        assert not request.needs_cloud
    (event,) = emitter.events
    got = event.data.to_wire()
    assert (got["model"], got["route"], got["placement"]) == ("gemma-3n-e4b", "local_first", "device")
    assert (got["input_tokens"], got["output_tokens"], got["quantization"]) == (50, 20, "q4_k_m")


def test_a_fallback_records_reason_and_waste_and_links_the_generation(
    gateway: Gateway, emitter: KeepingEmitter
) -> None:
    with gateway.request("acct-1", user="u", query_class="complex", trace_id="t-1") as request:
        with request.local("gemma-3n-e4b", convention="ollama", device_class="phone-flagship") as attempt:
            attempt.answered(LOCAL)
            attempt.used(matrix_gflop=99, active_ms=1234)
            attempt.fall_back("low_confidence")
        assert request.needs_cloud
        with request.cloud("gpt-x", provider="openai") as call:
            call.answered(CLOUD)
        assert not request.needs_cloud
    assert kinds(emitter) == ["generation", "fallback"]
    generation, fallback = (event.data.to_wire() for event in emitter.events)
    assert (generation["model"], generation["route"], generation["placement"]) == ("gpt-x", "fallback", "cloud")
    assert (generation["input_tokens"], generation["output_tokens"]) == (60, 30)
    assert fallback == {
        "model": "gemma-3n-e4b",
        "fallback_reason": "low_confidence",
        "fallback_model": "gpt-x",
        "generation_id": emitter.events[0].id,
        "device_class": "phone-flagship",
        "query_class": "complex",
        "region": "eu-1",
        "trace_id": "t-1",
        "user": "u",
        "wasted_input_tokens": 50,
        "wasted_output_tokens": 20,
        "wasted_matrix_gflop": 99,
        "wasted_active_ms": 1234,
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimeoutError(), "timeout"), (MemoryError(), "out_of_memory"), (RuntimeError("no"), "error")],
)
def test_an_exception_is_a_reason(gateway: Gateway, emitter: KeepingEmitter, error: Exception, reason: str) -> None:
    with gateway.request("acct-1") as request:
        with request.local("gemma-3n-e4b", convention="ollama") as attempt:
            raise error
        assert attempt.error is error
        with request.cloud("gpt-x") as call:
            call.answered(CLOUD)
    assert emitter.last["fallback_reason"] == reason
    assert "wasted_output_tokens" not in emitter.last
    assert emitter.last["wasted_active_ms"] > 0


def test_an_exception_that_nobody_answers_leaves_the_request(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with (
        pytest.raises(RuntimeError, match="no model"),
        gateway.request("acct-1") as request,
        request.local("gemma-3n-e4b"),
    ):
        raise RuntimeError("no model")
    assert kinds(emitter) == ["generation"]
    assert (emitter.last["status"], emitter.last["finish_reason"]) == ("error", "error")


def test_a_device_that_is_not_asked_wastes_nothing(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.request("acct-1") as request:
        request.skip_local("gemma-3n-e4b", "battery", device_class="laptop-16gb")
        with request.cloud("gpt-x") as call:
            call.answered(CLOUD)
    assert kinds(emitter) == ["generation", "fallback"]
    assert emitter.last["device_class"] == "laptop-16gb"
    assert not [name for name in emitter.last if name.startswith("wasted_")]


def test_a_second_place_near_the_caller_can_take_over(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.request("acct-1") as request:
        with request.local("gemma-3n-e4b", convention="ollama") as attempt:
            attempt.fall_back("context_too_long")
        with request.local("qwen3-32b", convention="vllm", placement="on_prem") as second:
            second.answered(CLOUD)
        assert not request.needs_cloud
    assert kinds(emitter) == ["generation", "fallback"]
    assert emitter.last["fallback_model"] == "qwen3-32b"
    assert emitter.last["generation_id"] == emitter.events[0].id


def test_a_cloud_that_fails_too(gateway: Gateway, emitter: KeepingEmitter) -> None:
    def ask() -> None:
        with gateway.request("acct-1") as request:
            with request.local("gemma-3n-e4b") as attempt:
                attempt.fall_back("capability")
            with request.cloud("gpt-x"):
                raise ConnectionError

    with pytest.raises(ConnectionError):
        ask()
    assert kinds(emitter) == ["generation", "fallback"]
    assert emitter.events[0].data.to_wire()["status"] == "error"
    assert emitter.last["generation_id"] == emitter.events[0].id


def test_without_a_device_it_is_a_direct_call(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.request("acct-1") as request, request.cloud("gpt-x") as call:
        call.answered(CLOUD)
    assert kinds(emitter) == ["generation"]
    assert emitter.last["route"] == "direct"


def test_a_request_that_is_cancelled_on_the_device(gateway: Gateway, emitter: KeepingEmitter) -> None:
    def ask() -> None:
        with (
            gateway.request("acct-1") as request,
            request.local("gemma-3n-e4b", convention="ollama") as attempt,
        ):
            attempt.chunk({"message": {"content": "Per"}, "done": False})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask()
    assert kinds(emitter) == ["generation"]
    assert (emitter.last["status"], emitter.last["placement"]) == ("cancelled", "device")


def test_a_reason_that_the_contract_does_not_know(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.request("acct-1") as request:
        request.skip_local("gemma-3n-e4b", "moon phase")  # type: ignore[arg-type]
        with request.cloud("gpt-x") as call:
            call.answered(CLOUD)
    assert emitter.last["fallback_reason"] == "other"


@given(
    attempts=st.lists(st.sampled_from(["answers", "unsure", "raises", "skipped"]), max_size=4),
    cloud=st.sampled_from(["answers", "raises", "unused"]),
)
def test_exactly_one_event_has_billable_tokens(attempts: list[str], cloud: str) -> None:
    emitter = KeepingEmitter()
    answered = _play(Gateway(emitter), attempts, cloud)
    generations = [event for event in emitter.events if event.data.SHORT == "generation"]
    fallbacks = [event for event in emitter.events if event.data.SHORT == "fallback"]
    assert len(generations) == (1 if attempts or cloud != "unused" else 0)
    assert [event.data.to_wire().get("status") for event in generations] == ["ok" if answered else "error"] * len(
        generations
    )
    for event in fallbacks:
        assert isinstance(event.data, FallbackV1)
        assert event.data.generation_id == generations[0].id
    # Every place that was tried has one event: one is the generation, the others are fallbacks.
    tried = attempts.index("answers") + 1 if "answers" in attempts else len(attempts)
    asked = cloud != "unused" and "answers" not in attempts
    assert len(fallbacks) + len(generations) == tried + asked


def _play(gateway: Gateway, attempts: list[str], cloud: str) -> bool:
    """Play a request; whether it got an answer."""
    answered = False

    def play() -> None:
        nonlocal answered
        with gateway.request("acct-1") as request:
            for what in attempts:
                if what == "skipped":
                    request.skip_local("gemma-3n-e4b", "policy")
                    continue
                with request.local("gemma-3n-e4b", convention="ollama") as attempt:
                    _attempt(attempt, what)
                if not request.needs_cloud:
                    answered = True
                    return
            if cloud != "unused":
                with request.cloud("gpt-x") as call:
                    if cloud == "raises":
                        raise ConnectionError
                    call.answered(CLOUD)
                    answered = True

    try:
        play()
    except (ConnectionError, RuntimeError):
        assert not answered
    return answered


def _attempt(attempt: Any, what: str) -> None:
    if what == "raises":
        raise RuntimeError
    attempt.answered(LOCAL)
    if what == "unsure":
        attempt.fall_back("low_confidence")
