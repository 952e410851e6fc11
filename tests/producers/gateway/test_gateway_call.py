"""One call of a model: what is emitted, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from fleetmeter_doubles.emitter import KeepingEmitter
from fleetmeter_producers import OutboxFullError
from fleetmeter_producers.gateway import NOTES, Gateway

ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "model": "gpt-x-2026-05-01",
    "choices": [{"index": 0, "message": {"content": "Hello there"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
}


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def emitter() -> KeepingEmitter:
    return KeepingEmitter()


@pytest.fixture
def gateway(emitter: KeepingEmitter, clock: Clock) -> Gateway:
    return Gateway(emitter, clock_ns=clock, region="eu-1", count_tokens=lambda text: len(text.split()))


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


def test_an_answer_is_one_generation(gateway: Gateway, emitter: KeepingEmitter, clock: Clock) -> None:
    with gateway.call("acct-1", "gpt-x", provider="openai", user="u-7") as call:
        clock.pass_ms(250)
        call.answered(ANSWER)
    assert emitter.last == {
        "model": "gpt-x",
        "model_version": "gpt-x-2026-05-01",
        "generation_mode": "autoregressive",
        "provider": "openai",
        "region": "eu-1",
        "route": "direct",
        "user": "u-7",
        "request_id": "chatcmpl-1",
        "status": "ok",
        "finish_reason": "stop",
        "usage_fidelity": "provider_reported",
        "input_tokens": 9,
        "output_tokens": 2,
        "latency_ms": 250,
    }
    assert emitter.events[-1].subject == "acct-1"
    assert call.event_id == emitter.events[-1].id
    call.finish()
    assert len(emitter.events) == 1


def test_a_stream_tells_its_first_token(gateway: Gateway, emitter: KeepingEmitter, clock: Clock) -> None:
    with gateway.call("acct-1", "gpt-x") as call:
        clock.pass_ms(10)
        call.chunk(says(""))
        clock.pass_ms(90)
        call.chunk(says("Hello"))
        clock.pass_ms(400)
        call.chunk({"choices": [], "usage": ANSWER["usage"]})
    got = emitter.last
    assert (got["time_to_first_token_ms"], got["latency_ms"], got["output_tokens"]) == (100, 500, 2)


@pytest.mark.parametrize(
    ("error", "status"),
    [(asyncio.CancelledError(), "cancelled"), (GeneratorExit(), "cancelled"), (ValueError("no"), "error")],
)
def test_an_exception_goes_its_way_and_what_is_known_counts(
    gateway: Gateway, emitter: KeepingEmitter, error: BaseException, status: str
) -> None:
    def run() -> None:
        with gateway.call("acct-1", "qwen", convention="vllm") as call:
            call.chunk(says("one two three", usage={"prompt_tokens": 9, "completion_tokens": 4}))
            raise error

    with pytest.raises(type(error)):
        run()
    got = emitter.last
    assert (got["status"], got["input_tokens"], got["output_tokens"]) == (status, 9, 4)
    assert got.get("delivered_output_tokens") == (3 if status == "cancelled" else None)


def test_what_is_generated_after_the_caller_left_is_not_delivered(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.call("acct-1", "gpt-x") as call:
        call.chunk(says("one two "))
        call.caller_left()
        call.chunk(says("three four five"))
        call.chunk({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}})
    got = emitter.last
    assert (got["status"], got["output_tokens"], got["delivered_output_tokens"]) == ("cancelled", 6, 2)
    assert got["usage_fidelity"] == "provider_reported"


def test_a_stream_without_usage_is_counted_here_and_marked(gateway: Gateway, emitter: KeepingEmitter) -> None:
    before = NOTES.counts().get(("openai-chat", "estimated"), 0)
    with gateway.call("acct-1", "gpt-x") as call:
        for word in ("one ", "two ", "three"):
            call.chunk(says(word))
    got = emitter.last
    assert (got["output_tokens"], got["usage_fidelity"]) == (3, "estimated")
    assert "input_tokens" not in got
    assert NOTES.counts()["openai-chat", "estimated"] == before + 1


def test_a_stream_of_anthropic_that_is_cut_is_counted_here(gateway: Gateway, emitter: KeepingEmitter) -> None:
    """What it tells of output at its beginning is not what was generated."""
    begun = {"usage": {"input_tokens": 25, "output_tokens": 1}}
    text = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "word "}}
    with gateway.call("acct-1", "claude-x", convention="anthropic") as call:
        call.chunk({"type": "message_start", "message": begun})
        for _ in range(100):
            call.chunk(text)
        call.failed(asyncio.CancelledError())
    got = emitter.last
    assert (got["status"], got["input_tokens"], got["output_tokens"]) == ("cancelled", 25, 100)
    assert (got["delivered_output_tokens"], got["usage_fidelity"]) == (100, "estimated")


def test_without_a_count_tokens_nothing_is_made_up(emitter: KeepingEmitter) -> None:
    with Gateway(emitter).call("acct-1", "gpt-x") as call:
        call.chunk(says("one two"))
    assert not {"output_tokens", "usage_fidelity", "delivered_output_tokens"} & set(emitter.last)


@pytest.mark.parametrize("count", [lambda _: 1 / 0, lambda _: -1, lambda _: "3"])
def test_a_count_tokens_that_fails_fails_no_request(emitter: KeepingEmitter, count: Any) -> None:
    with Gateway(emitter, count_tokens=count).call("acct-1", "gpt-x") as call:
        call.chunk(says("one two"))
    assert "output_tokens" not in emitter.last


def test_a_call_that_never_came_back_is_a_failed_generation(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with pytest.raises(ConnectionError), gateway.call("acct-1", "gpt-x"):
        raise ConnectionError
    assert emitter.last["status"] == "error"
    assert "input_tokens" not in emitter.last


def test_what_the_operator_knows_wins(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.call("acct-1", "gpt-x") as call:
        call.answered(ANSWER)
        call.used(output_tokens=3, quality_ppm=900_000, service_tier="flex")
    assert (emitter.last["output_tokens"], emitter.last["service_tier"]) == (3, "flex")


def test_a_field_that_the_contract_refuses_costs_itself_alone(gateway: Gateway, emitter: KeepingEmitter) -> None:
    with gateway.call("acct-1", "gpt-x", user="u" * 300, labels={"k": ""}, service_tier="gold") as call:
        call.answered(ANSWER)
    assert not {"user", "labels", "service_tier"} & set(emitter.last)
    assert emitter.last["output_tokens"] == 2


def test_a_misspelt_field_is_told_to_who_wrote_it(gateway: Gateway) -> None:
    with pytest.raises(TypeError, match="no field usr"):
        gateway.call("acct-1", "gpt-x", usr="u")
    with pytest.raises(TypeError, match="no field regoin"):
        Gateway(KeepingEmitter(), regoin="eu")


def test_an_event_that_is_refused_fails_no_request(clock: Clock) -> None:
    before = NOTES.counts().get(("openai-chat", "not_emitted"), 0)
    with Gateway(KeepingEmitter(refuse=OutboxFullError("full"))).call("acct-1", "gpt-x") as call:
        call.answered(ANSWER)
    with Gateway(KeepingEmitter()).call("", "gpt-x") as other:  # no account
        other.answered(ANSWER)
    assert call.event_id is None
    assert other.event_id is None
    assert NOTES.counts()["openai-chat", "not_emitted"] == before + 2


@pytest.mark.parametrize(
    ("model", "convention", "mode"),
    [
        ("mercury-coder-small", "openai-chat", "diffusion"),  # the catalogue knows it
        ("inception/mercury-coder-small", "litellm", "diffusion"),
        ("mercury-9", "mercury", "diffusion"),  # the API has nothing else
        ("gpt-x", "openai-chat", "autoregressive"),
    ],
)
def test_how_text_comes_about(
    gateway: Gateway, emitter: KeepingEmitter, model: str, convention: str, mode: str
) -> None:
    with gateway.call("acct-1", model, convention=convention):
        pass
    assert emitter.last["generation_mode"] == mode


STREAMS: dict[str, list[dict[str, Any]]] = {
    "openai-chat": [says("one "), says("two")],
    "openai-responses": [
        {"type": "response.output_text.delta", "delta": "one "},
        {"type": "response.output_text.delta", "delta": "two"},
        {
            "type": "response.completed",
            "response": {"output": [{"content": [{"type": "output_text", "text": "one two"}]}]},
        },
    ],
    "anthropic": [
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "one "}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "two"}},
    ],
    "gemini": [{"candidates": [{"content": {"parts": [{"text": "one "}, {"text": "two"}]}}]}],
    "bedrock-converse": [{"contentBlockDelta": {"delta": {"text": text}}} for text in ("one ", "two")],
    "ollama": [{"message": {"content": "one "}, "done": False}, {"response": "two", "done": False}],
    "llama.cpp": [{"content": "one ", "stop": False}, {"content": "two", "stop": False}],
}


@pytest.mark.parametrize("convention", STREAMS)
def test_the_text_of_every_stream_can_be_counted(gateway: Gateway, emitter: KeepingEmitter, convention: str) -> None:
    with gateway.call("acct-1", "m", convention=convention) as call:
        for chunk in STREAMS[convention]:
            call.chunk(chunk)
    assert emitter.last["output_tokens"] == 2


def test_an_sdk_object_that_cannot_be_read_fails_no_request(gateway: Gateway, emitter: KeepingEmitter) -> None:
    class Odd:
        def model_dump(self) -> dict[str, Any]:
            raise RuntimeError

    with gateway.call("acct-1", "m") as call:
        call.answered(Odd())
    assert emitter.last["status"] == "ok"


def test_a_generator_that_is_closed_is_a_cancelled_call(gateway: Gateway, emitter: KeepingEmitter) -> None:
    def stream() -> Iterator[str]:
        with gateway.call("acct-1", "m") as call:
            for word in ("one ", "two "):
                call.chunk(says(word))
                yield word

    words = stream()
    next(words)
    words.close()  # type: ignore[attr-defined]
    assert emitter.last["status"] == "cancelled"
    assert emitter.last["delivered_output_tokens"] == 1
