"""Answers of hosted APIs, as they are documented or were seen in public, and what each means."""

from __future__ import annotations

from typing import Any

Case = tuple[str, dict[str, Any], dict[str, int]]
"""The convention, an answer or a bare usage block, and the quantities above zero that it means."""

HOSTED: dict[str, Case] = {
    # discuss.ai.google.dev/t/98760, an answer of GPT-5
    "OpenAI chat with cache and reasoning": (
        "openai-chat",
        {
            "prompt_tokens": 1486,
            "completion_tokens": 651,
            "total_tokens": 2137,
            "prompt_tokens_details": {"cached_tokens": 1408, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 512,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        {"input_tokens": 1486, "cache_read_input_tokens": 1408, "output_tokens": 651, "reasoning_tokens": 512},
    ),
    # openai-python, types/completion_usage.py: all parts at once, rejected tokens inside the completion
    "OpenAI chat with audio, images and a prediction": (
        "openai-chat",
        {
            "prompt_tokens": 500,
            "completion_tokens": 300,
            "total_tokens": 800,
            "prompt_tokens_details": {
                "cached_tokens": 100,
                "cache_write_tokens": 50,
                "audio_tokens": 40,
                "image_tokens": 60,
            },
            "completion_tokens_details": {
                "audio_tokens": 20,
                "accepted_prediction_tokens": 120,
                "rejected_prediction_tokens": 80,
            },
        },
        {
            "input_tokens": 500,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens_5m": 50,
            "audio_input_tokens": 40,
            "image_input_tokens": 60,
            "output_tokens": 300,
            "audio_output_tokens": 20,
            "accepted_prediction_tokens": 120,
            "rejected_prediction_tokens": 80,
        },
    ),
    # Wei-Shaw/sub2api#5771: 10120 + 1499 + 2809 = 14428, and xAI charged for all of it
    "xAI, whose completion lacks the reasoning": (
        "openai-chat",
        {
            "prompt_tokens": 10120,
            "completion_tokens": 1499,
            "total_tokens": 14428,
            "prompt_tokens_details": {"cached_tokens": 128},
            "completion_tokens_details": {"reasoning_tokens": 2809},
        },
        {"input_tokens": 10120, "cache_read_input_tokens": 128, "output_tokens": 4308, "reasoning_tokens": 2809},
    ),
    # DeepSeek's API: prompt_tokens = prompt_cache_hit_tokens + prompt_cache_miss_tokens (browser-use/browser-use#5684)
    "DeepSeek": (
        "openai-chat",
        {
            "prompt_tokens": 84,
            "completion_tokens": 66,
            "total_tokens": 150,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 20,
        },
        {"input_tokens": 84, "cache_read_input_tokens": 64, "output_tokens": 66},
    ),
    # a recorded answer of gpt-4.1 in coder/aibridge, fixtures/openai/responses/blocking/cached_input_tokens.txtar
    "OpenAI responses": (
        "openai-responses",
        {
            "id": "resp_0cd5",
            "status": "completed",
            "model": "gpt-4.1-2025-04-14",
            "service_tier": "default",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "..."}]}],
            "usage": {
                "input_tokens": 12033,
                "input_tokens_details": {"cached_tokens": 11904},
                "output_tokens": 44,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 12077,
            },
        },
        {"input_tokens": 12033, "cache_read_input_tokens": 11904, "output_tokens": 44},
    ),
    # openai-python, types/responses/response_usage.py: lifetimes of 30 minutes and 12 hours
    "OpenAI responses with cache writes, tools and searches": (
        "openai-responses",
        {
            "status": "completed",
            "output": [{"type": "function_call"}, {"type": "web_search_call"}, {"type": "function_call"}, {"type": []}],
            "usage": {
                "input_tokens": 4000,
                "input_tokens_details": {
                    "cached_tokens": 1000,
                    "cache_write_tokens": 2500,
                    "cache_write_tokens_details": {"ttl_30m_tokens": 2000, "ttl_12h_tokens": 500},
                },
                "output_tokens": 90,
                "output_tokens_details": {"reasoning_tokens": 64},
                "total_tokens": 4090,
            },
        },
        {
            "input_tokens": 4000,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens_5m": 2000,
            "cache_creation_input_tokens_1h": 500,
            "output_tokens": 90,
            "reasoning_tokens": 64,
            "tool_calls": 2,
            "web_search_requests": 1,
        },
    ),
    # tokenmiser.uk/blog/prompt-caching-basics, a call of Sonnet 4.6
    "Anthropic, nearly all from the cache": (
        "anthropic",
        {
            "input_tokens": 1,
            "output_tokens": 67,
            "cache_creation_input_tokens": 287,
            "cache_read_input_tokens": 30433,
        },
        {
            "input_tokens": 30721,
            "cache_read_input_tokens": 30433,
            "cache_creation_input_tokens_5m": 287,
            "output_tokens": 67,
        },
    ),
    # the usage of a transcript of Claude, with writes of an hour and two searches, in a message around it
    "Anthropic with lifetimes and searches": (
        "anthropic",
        {
            "id": "msg_1",
            "type": "message",
            "stop_reason": "tool_use",
            "content": [{"type": "text", "text": "..."}, {"type": "tool_use"}, {"type": "server_tool_use"}],
            "usage": {
                "input_tokens": 6,
                "cache_creation_input_tokens": 29911,
                "cache_read_input_tokens": 18460,
                "output_tokens": 68,
                "output_tokens_details": {"thinking_tokens": 40},
                "service_tier": "standard",
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 29911},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
            },
        },
        {
            "input_tokens": 48377,
            "cache_read_input_tokens": 18460,
            "cache_creation_input_tokens_1h": 29911,
            "output_tokens": 68,
            "reasoning_tokens": 40,
            "web_search_requests": 2,
            "tool_calls": 1,
        },
    ),
    # platform.claude.com, "Compaction", quoted in pydantic/pydantic-ai#5065: billed are 203,000 and 4,500
    "Anthropic with a compaction": (
        "anthropic",
        {
            "usage": {
                "input_tokens": 23000,
                "output_tokens": 1000,
                "iterations": [
                    {"type": "compaction", "input_tokens": 180000, "output_tokens": 3500},
                    {"type": "message", "input_tokens": 23000, "output_tokens": 1000},
                ],
            }
        },
        {"input_tokens": 203000, "output_tokens": 4500},
    ),
    # vercel/ai, google-language-model.test.ts: 12 + 65 + 71 + 89 = 237
    "Gemini with thoughts and tool results": (
        "gemini",
        {
            "candidates": [{"content": {"parts": [{"text": "Blue."}], "role": "model"}, "finishReason": "STOP"}],
            "usageMetadata": {
                "promptTokenCount": 12,
                "cachedContentTokenCount": 4,
                "candidatesTokenCount": 71,
                "toolUsePromptTokenCount": 65,
                "thoughtsTokenCount": 89,
                "totalTokenCount": 237,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 12, "nestedSentinel": "prompt"}],
                "serviceTier": "standard",
            },
        },
        {"input_tokens": 77, "cache_read_input_tokens": 4, "output_tokens": 160, "reasoning_tokens": 89},
    ),
    # QuantumNous/new-api, TestBillusage_FromGemini_AggregatesModalitiesAndThoughts: 35 and 15 of 50
    "Gemini with audio and an image": (
        "gemini",
        {
            "promptTokenCount": 30,
            "toolUsePromptTokenCount": 5,
            "candidatesTokenCount": 12,
            "thoughtsTokenCount": 3,
            "cachedContentTokenCount": 7,
            "totalTokenCount": 50,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 10}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 2}],
        },
        {
            "input_tokens": 35,
            "cache_read_input_tokens": 7,
            "audio_input_tokens": 10,
            "output_tokens": 15,
            "reasoning_tokens": 3,
            "image_output_tokens": 2,
        },
    ),
    # the names of google-genai's objects; the total says that candidates include the thoughts
    "Gemini whose candidates include the thoughts": (
        "gemini",
        {
            "usage_metadata": {
                "prompt_token_count": 10,
                "candidates_token_count": 100,
                "thoughts_token_count": 80,
                "total_token_count": 110,
            }
        },
        {"input_tokens": 10, "output_tokens": 100, "reasoning_tokens": 80},
    ),
    # tensorzero/tensorzero#5688, two real answers of Claude Haiku 4.5
    "Bedrock writing a cache": (
        "bedrock-converse",
        {
            "cacheDetails": [{"inputTokens": 7502, "ttl": "5m"}],
            "cacheReadInputTokenCount": 0,
            "cacheReadInputTokens": 0,
            "cacheWriteInputTokenCount": 7502,
            "cacheWriteInputTokens": 7502,
            "inputTokens": 18,
            "outputTokens": 386,
            "serverToolUsage": {},
            "totalTokens": 7906,
        },
        {"input_tokens": 7520, "cache_creation_input_tokens_5m": 7502, "output_tokens": 386},
    ),
    "Bedrock reading a cache": (
        "bedrock-converse",
        {
            "stopReason": "end_turn",
            "metrics": {"latencyMs": 1275},
            "usage": {
                "cacheReadInputTokens": 7502,
                "cacheWriteInputTokens": 0,
                "inputTokens": 18,
                "outputTokens": 503,
                "totalTokens": 8023,
            },
        },
        {"input_tokens": 7520, "cache_read_input_tokens": 7502, "output_tokens": 503, "latency_ms": 1275},
    ),
}
