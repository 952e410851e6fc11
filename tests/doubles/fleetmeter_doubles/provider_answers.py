"""Answers of all conventions, and what each means; those of serving software and gateways stand here."""

from __future__ import annotations

from fleetmeter_doubles.hosted_answers import HOSTED, Case

SERVERS: dict[str, Case] = {
    # LiteLLM's documentation of the provider Inception: OpenAI's form
    # Clarifai/clarifai-python#978
    "Gemini's OpenAI-compatible endpoint": (
        "gemini-openai",
        {"usage": {"prompt_tokens": 20, "completion_tokens": 424, "total_tokens": 1016}},
        {"input_tokens": 20, "output_tokens": 996, "reasoning_tokens": 572},
    ),
    "Gemini's OpenAI-compatible endpoint, thoughts alone": (
        "gemini-openai",
        {"usage": {"prompt_tokens": 21, "total_tokens": 81}},
        {"input_tokens": 21, "output_tokens": 60, "reasoning_tokens": 60},
    ),
    "Gemini's OpenAI-compatible endpoint, without thoughts": (
        "gemini-openai",
        {"usage": {"prompt_tokens": 26, "completion_tokens": 11, "total_tokens": 37}},
        {"input_tokens": 26, "output_tokens": 11},
    ),
    "Mercury": (
        "mercury",
        {
            "id": "chatcmpl-1",
            "model": "mercury-2",
            "choices": [{"index": 0, "message": {"content": "..."}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 40,
                "completion_tokens": 300,
                "total_tokens": 340,
                "completion_tokens_details": {"reasoning_tokens": 120},
            },
        },
        {"input_tokens": 40, "output_tokens": 300, "reasoning_tokens": 120},
    ),
    # vllm-project/vllm#16162, the V0 output
    "vLLM": (
        "vllm",
        {
            "usage": {
                "completion_tokens": 73,
                "prompt_tokens": 24,
                "total_tokens": 97,
                "completion_tokens_details": None,
                "prompt_tokens_details": {"audio_tokens": None, "cached_tokens": 16, "created_cache_tokens": 0},
            }
        },
        {"input_tokens": 24, "cache_read_input_tokens": 16, "output_tokens": 73},
    ),
    # sgl-project/sglang, usage_processor.py: 30 of 100 drafts were kept, and the 70 others are no output
    "SGLang with speculative decoding": (
        "sglang",
        {
            "usage": {
                "prompt_tokens": 57,
                "completion_tokens": 40,
                "total_tokens": 97,
                "reasoning_tokens": 12,
                "prompt_tokens_details": {"cached_tokens": 32},
                "completion_tokens_details": {"accepted_prediction_tokens": 30, "rejected_prediction_tokens": 70},
            }
        },
        {
            "input_tokens": 57,
            "cache_read_input_tokens": 32,
            "output_tokens": 40,
            "reasoning_tokens": 12,
            "draft_tokens": 100,
            "accepted_draft_tokens": 30,
        },
    ),
    "SGLang generate": (
        "sglang",
        {
            "text": "never looked at",
            "meta_info": {
                "id": "e7f2",
                "finish_reason": {"type": "length", "length": 128},
                "prompt_tokens": 57,
                "completion_tokens": 128,
                "cached_tokens": 32,
                "e2e_latency": 0.2514,
            },
        },
        {"input_tokens": 57, "cache_read_input_tokens": 32, "output_tokens": 128, "latency_ms": 251},
    ),
    # the form of an answer of llama-server that a gateway keeps in its tests, with most of the prompt cached
    "llama.cpp chat": (
        "llama.cpp",
        {
            "choices": [{"finish_reason": "stop", "index": 0, "message": {"role": "assistant", "content": "2"}}],
            "usage": {"completion_tokens": 2, "prompt_tokens": 26, "total_tokens": 28},
            "timings": {
                "cache_n": 20,
                "prompt_n": 6,
                "prompt_ms": 119.027,
                "predicted_n": 2,
                "draft_n": 3,
                "draft_n_accepted": 3,
            },
        },
        {
            "input_tokens": 26,
            "cache_read_input_tokens": 20,
            "output_tokens": 2,
            "draft_tokens": 3,
            "accepted_draft_tokens": 3,
        },
    ),
    # ggml-org/llama.cpp, tools/server: tokens_cached is what the slot holds (tokens_evaluated + tokens_predicted - 1)
    "llama.cpp completion, before cache_n": (
        "llama.cpp",
        {
            "content": "...",
            "stop": True,
            "stop_type": "limit",
            "tokens_predicted": 64,
            "tokens_evaluated": 251,
            "tokens_cached": 314,
            "timings": {"prompt_n": 51, "predicted_n": 64},
        },
        {"input_tokens": 251, "cache_read_input_tokens": 200, "output_tokens": 64},
    ),
    # ollama/ollama, docs/api/usage.mdx
    "Ollama": (
        "ollama",
        {
            "model": "gemma4",
            "created_at": "2025-10-17T23:14:07.414671Z",
            "response": "Hello! How can I help you today?",
            "done": True,
            "done_reason": "stop",
            "total_duration": 174560334,
            "load_duration": 101397084,
            "prompt_eval_count": 11,
            "prompt_eval_duration": 13074791,
            "eval_count": 18,
            "eval_duration": 52479709,
        },
        {"input_tokens": 11, "output_tokens": 18, "latency_ms": 175},
    ),
    # litellm 1.106, types/utils.py: StandardLoggingPayload of a call to Claude
    "LiteLLM's payload": (
        "litellm",
        {
            "id": "chatcmpl-9",
            "litellm_call_id": "5c1e",
            "status": "success",
            "model": "claude-sonnet-4-6",
            "custom_llm_provider": "anthropic",
            "prompt_tokens": 30721,
            "completion_tokens": 67,
            "total_tokens": 30788,
            "response_cost": 0.0102140,
            "startTime": 1763845200.0,
            "endTime": 1763845201.25,
            "completionStartTime": 1763845200.5,
            "metadata": {
                "usage_object": {
                    "prompt_tokens": 30721,
                    "completion_tokens": 67,
                    "total_tokens": 30788,
                    "cache_creation_input_tokens": 287,
                    "cache_read_input_tokens": 30433,
                    "prompt_tokens_details": {
                        "cached_tokens": 30433,
                        "cache_creation_tokens": 287,
                        "cache_creation_token_details": {
                            "ephemeral_5m_input_tokens": 0,
                            "ephemeral_1h_input_tokens": 287,
                        },
                    },
                }
            },
        },
        {
            "input_tokens": 30721,
            "cache_read_input_tokens": 30433,
            "cache_creation_input_tokens_1h": 287,
            "output_tokens": 67,
            "latency_ms": 1250,
            "time_to_first_token_ms": 500,
            "upstream_cost_nanousd": 10_214_000,
        },
    ),
}

ANSWERS: dict[str, Case] = {**HOSTED, **SERVERS}
