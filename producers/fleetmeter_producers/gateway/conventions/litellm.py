"""LiteLLM's standard logging payload: whatever the provider, numbers as OpenAI means them, with price and times."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from fleetmeter_producers.gateway.answer import Answer, merged
from fleetmeter_producers.gateway.block import Block
from fleetmeter_producers.gateway.convention import Convention
from fleetmeter_producers.gateway.conventions import openai_chat

_STATUS: Final = {"success": "ok", "failure": "error"}
_COUNTS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
_BESIDE: Final = ("startTime", "endTime", "completionStartTime", "response_cost")


def digest(payload: Block) -> Answer:
    """A StandardLoggingPayload. (An answer of LiteLLM has OpenAI's form: `openai-chat` reads it.)"""
    found = Answer()
    usage_object = payload.part("metadata").raw("usage_object")
    counts = {name: payload.raw(name) for name in _COUNTS if payload.raw(name)}
    # Zeros alone are LiteLLM's word for unknown. The usage object has the details.
    if counts:
        found.usage = merged(counts, usage_object) if isinstance(usage_object, dict) else dict(counts)
        found.usage.update({name: payload.raw(name) for name in _BESIDE if payload.has(name)})
        # A model without a price costs 0.0 here, and that is no price.
        if payload.has("response_cost_failure_debug_info") and not payload.raw("response_cost"):
            found.usage.pop("response_cost", None)
    provider, model = payload.text("custom_llm_provider"), payload.text("model")
    found.learn(
        # With a router, the model's name has the provider's before it.
        model=model.removeprefix(f"{provider}/") if model else None,
        requested_model=payload.text("model_group"),
        provider=provider,
        request_id=payload.text("litellm_call_id", "id"),
        trace_id=payload.text("trace_id"),
        status=_STATUS.get(payload.text("status") or ""),
    )
    response = payload.raw("response")
    if isinstance(response, dict):
        answer = openai_chat.digest(Block(response, payload.notes, "response"))
        found.learn(**{name: answer.facts.get(name) for name in ("finish_reason", "service_tier")})
        found.tool_calls |= answer.tool_calls
        found.say(answer.text)
    return found


def read(usage: Block) -> dict[str, Any]:
    """The measures of a usage object, with what stands beside it in the payload."""
    begin, end, first = (usage.number(name) for name in ("startTime", "endTime", "completionStartTime"))
    search = usage.part("server_tool_use").quantity("web_search_requests")
    if search is None:
        search = usage.part("prompt_tokens_details").quantity("web_search_requests")
    return {
        **openai_chat.read(usage),
        "web_search_requests": search,
        "latency_ms": _ms_between(begin, end),
        "time_to_first_token_ms": _ms_between(begin, first),
        "upstream_cost_nanousd": nanousd(usage.number("response_cost")),
    }


def nanousd(dollars: float | None) -> int | None:
    """A price in 10^-9 dollars, as the decimal that it was written as."""
    if dollars is None:
        return None
    return int((Decimal(str(dollars)) * 1_000_000_000).to_integral_value(ROUND_HALF_UP))


def _ms_between(begin: float | None, end: float | None) -> int | None:
    return None if begin is None or end is None or end < begin else round((end - begin) * 1000)


LITELLM: Final = Convention(
    name="litellm",
    title="LiteLLM's logging payload",
    provider="",
    cached="part of prompt_tokens, reads and writes, whatever the provider's own convention",
    reasoning="part of completion_tokens; beside it (xAI) if only that gives total_tokens",
    stream="the payload comes once, after the stream",
    sources=(
        "litellm 1.106, types/utils.py (StandardLoggingPayload, Usage)",
        "litellm 1.106, llms/anthropic/chat/transformation.py and llms/bedrock/chat/converse_transformation.py",
    ),
    digest=digest,
    read=read,
)
