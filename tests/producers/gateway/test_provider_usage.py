"""What documented answers mean: tokens, parts of them, and facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from fleetmeter_doubles.provider_answers import ANSWERS
from fleetmeter_producers.gateway import read_usage
from fleetmeter_schemas import GenerationV1


def measures(fields: Mapping[str, Any]) -> dict[str, int]:
    """The quantities among the fields, those above zero, after the contract took them."""
    event = GenerationV1.model_validate({"model": "m", "generation_mode": "autoregressive", **fields})
    return {name: value for name, value in event.to_wire().items() if isinstance(value, int) and value}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_documented_answer(name: str) -> None:
    convention, answer, expected = ANSWERS[name]
    usage = read_usage(convention, answer)
    assert measures(usage.fields) == expected
    assert usage.fields["usage_fidelity"] == "provider_reported"
    assert usage.notes == ()


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("OpenAI responses", {"service_tier": "standard", "model": "gpt-4.1-2025-04-14", "status": "ok"}),
        ("Anthropic with lifetimes and searches", {"finish_reason": "tool_use", "request_id": "msg_1", "status": "ok"}),
        ("Gemini with thoughts and tool results", {"finish_reason": "STOP", "provider": "google", "status": "ok"}),
        ("Bedrock reading a cache", {"finish_reason": "end_turn", "status": "ok"}),
        ("Mercury", {"provider": "inception", "model": "mercury-2", "finish_reason": "stop"}),
        ("SGLang generate", {"finish_reason": "length", "request_id": "e7f2"}),
        ("llama.cpp completion, before cache_n", {"finish_reason": "limit", "status": "ok"}),
        ("Ollama", {"model": "gemma4", "finish_reason": "stop", "status": "ok"}),
        ("LiteLLM's payload", {"provider": "anthropic", "request_id": "5c1e", "status": "ok"}),
    ],
)
def test_facts(name: str, facts: dict[str, str]) -> None:
    convention, answer, _ = ANSWERS[name]
    fields = read_usage(convention, answer).fields
    assert {key: fields.get(key) for key in facts} == facts


def test_nothing_is_said_of_what_was_not_reported() -> None:
    fields = read_usage("mercury", ANSWERS["Mercury"][1]).fields
    unreported = {"denoising_steps", "function_evaluations", "blocks", "cache_read_input_tokens", "audio_input_tokens"}
    assert not unreported & set(fields)


@pytest.mark.parametrize(
    ("convention", "answer", "status"),
    [
        ("sglang", {"meta_info": {"finish_reason": {"type": "abort"}, "completion_tokens": 3}}, "cancelled"),
        ("openai-responses", {"status": "failed", "error": {"code": "server_error"}, "usage": None}, "error"),
        ("openai-responses", {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "ok"),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error"}}, "error"),
        ("llama.cpp", {"stop": True, "stop_type": "none", "tokens_predicted": 3}, "cancelled"),
        ("litellm", {"status": "failure", "prompt_tokens": 0}, "error"),
    ],
)
def test_ends_that_are_no_success(convention: str, answer: dict[str, Any], status: str) -> None:
    assert read_usage(convention, answer).fields["status"] == status
