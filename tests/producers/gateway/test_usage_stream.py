"""Streams: cumulative counts, late usage, usage that never comes."""

from __future__ import annotations

from typing import Any

import pytest
from fleetmeter_producers.gateway import NoteCode, Usage, UsageStream


def stream(convention: str, *chunks: dict[str, Any]) -> Usage:
    collected = UsageStream(convention)
    for chunk in chunks:
        collected.add(chunk)
    return collected.usage()


def tokens(usage: Usage) -> tuple[int | None, int | None]:
    return usage.fields.get("input_tokens"), usage.fields.get("output_tokens")


def chat_chunk(**more: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "gpt-x", "object": "chat.completion.chunk", "choices": [], "usage": None, **more}


def delta(content: str, **more: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": {"content": content}, "finish_reason": None, **more}]


def test_openai_tells_in_the_last_chunk() -> None:
    usage = stream(
        "openai-chat",
        chat_chunk(choices=delta("Hel")),
        chat_chunk(choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "a"}]}}]),
        chat_chunk(choices=[{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}}]),
        chat_chunk(choices=[{"index": 0, "delta": {"tool_calls": [{"index": 1, "id": "b"}]}}]),
        chat_chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]),
        chat_chunk(usage={"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}),
    )
    assert tokens(usage) == (9, 12)
    assert usage.fields["tool_calls"] == 2
    assert (usage.fields["finish_reason"], usage.fields["status"]) == ("tool_calls", "ok")
    assert usage.fields["request_id"] == "c1"


def test_vllm_tells_in_each_chunk_so_that_a_cut_stream_is_counted() -> None:
    usage = stream(
        "vllm",
        chat_chunk(choices=delta("a"), usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}),
        chat_chunk(choices=delta("b"), usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}),
    )
    assert tokens(usage) == (9, 4)
    assert "status" not in usage.fields  # nobody said how it ended


# Anthropic's page on streaming messages, with prompt caching
ANTHROPIC: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_4QpJur2dWWDjF6C758FbBw5vm12BaVipnK",
            "type": "message",
            "content": [],
            "model": "claude-opus-4-6",
            "stop_reason": None,
            "usage": {
                "input_tokens": 472,
                "output_tokens": 2,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 300,
                "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Okay"}},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "input": {}}},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 89}},
    {"type": "message_stop"},
]


def test_anthropic_tells_at_the_start_and_at_the_end() -> None:
    usage = stream("anthropic", *ANTHROPIC)
    assert tokens(usage) == (1772, 89)
    assert usage.fields["cache_creation_input_tokens_5m"] == 100
    assert usage.fields["cache_creation_input_tokens_1h"] == 200
    assert (usage.fields["tool_calls"], usage.fields["finish_reason"]) == (1, "tool_use")


def test_anthropic_cut_after_the_first_words() -> None:
    usage = stream("anthropic", *ANTHROPIC[:4])
    assert tokens(usage) == (1772, None)  # 2 were there when it began
    assert "status" not in usage.fields
    assert [note.code for note in usage.notes] == [NoteCode.NO_USAGE]


def test_gemini_tells_in_each_chunk() -> None:
    usage = stream(
        "gemini",
        {"usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8}},
        {
            "candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}}],
            "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 3, "totalTokenCount": 11},
        },
        {
            "candidates": [{"content": {"parts": [{"functionCall": {"name": "f"}}]}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 8,
                "candidatesTokenCount": 20,
                "thoughtsTokenCount": 5,
                "totalTokenCount": 33,
            },
        },
    )
    assert tokens(usage) == (8, 25)
    assert usage.fields["tool_calls"] == 2
    assert usage.notes == ()


def test_bedrock_tells_in_its_metadata() -> None:
    usage = stream(
        "bedrock-converse",
        {"messageStart": {"role": "assistant"}},
        {"contentBlockStart": {"start": {"toolUse": {"name": "f"}}, "contentBlockIndex": 1}},
        {"messageStop": {"stopReason": "tool_use"}},
        {
            "metadata": {
                "usage": {"inputTokens": 5, "outputTokens": 7, "totalTokens": 112, "cacheReadInputTokens": 100},
                "metrics": {"latencyMs": 321},
            }
        },
    )
    assert tokens(usage) == (105, 7)
    assert (usage.fields["latency_ms"], usage.fields["tool_calls"]) == (321, 1)
    assert usage.fields["finish_reason"] == "tool_use"


def test_responses_tell_when_they_end() -> None:
    usage = stream(
        "openai-responses",
        {"type": "response.created", "response": {"id": "r1", "status": "in_progress", "usage": None}},
        {"type": "response.output_text.delta", "delta": "Hi"},
        {
            "type": "response.incomplete",
            "response": {
                "id": "r1",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "usage": {"input_tokens": 37, "output_tokens": 11, "total_tokens": 48},
            },
        },
    )
    assert tokens(usage) == (37, 11)
    assert (usage.fields["finish_reason"], usage.fields["status"]) == ("max_output_tokens", "ok")


def test_ollama_tells_when_it_is_done() -> None:
    usage = stream(
        "ollama",
        {"model": "gemma4", "message": {"role": "assistant", "content": "He"}, "done": False},
        {"model": "gemma4", "done": True, "done_reason": "stop", "prompt_eval_count": 11, "eval_count": 18},
    )
    assert tokens(usage) == (11, 18)


@pytest.mark.parametrize("convention", ["openai-chat", "anthropic", "gemini", "bedrock-converse", "ollama", "sglang"])
def test_a_stream_that_ends_without_usage(convention: str) -> None:
    usage = stream(convention, {"id": "x", "choices": [{"delta": {"content": "Hel"}}]}, {})
    assert not usage.has_tokens
    assert "usage_fidelity" not in usage.fields
    assert [note.code for note in usage.notes] == [NoteCode.NO_USAGE]
